"""The settings of each tool as dataclasses: their fields are YAML keys, flags and keyword arguments alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class RunSettings:
    """Where a run lives and what it runs on.

    Args:
        run_dir: directory of the run (default: runs/<tool>-<what>-<data>-<time>).
        resume: continue the run in run_dir from its latest checkpoint.
        seed: seed of every random number.
        device: cpu, gpu or gpu:N (default: gpu when this Paddle has one, else cpu).
        threads: CPU threads (default: OMP_NUM_THREADS, else all cores).
        report_freq: log a line every so many steps.
        save_minutes: checkpoint at least this often, besides after every epoch.
    """

    run_dir: str | None = None
    resume: bool = False
    seed: int = 0
    device: str | None = None
    threads: int | None = None
    report_freq: int = 50
    save_minutes: float = 10.0


@dataclass
class DataSettings:
    """What is learned from.

    Args:
        dataset: name of the data set.
        data: folder or archive with the data (default: downloaded where possible).
        image_size: pixels; images are resized (default: as they are; 16 for digits, 224 for imagenet).
        batch_size: images per step.
        crop_padding: random crop after padding by so many pixels (default: by data set).
        flip: random horizontal flips (default: by data set).
        random_resized_crop: train on a random part of every image, resized (default: for imagenet).
        color_jitter: change brightness, contrast, saturation (0.4) and hue (0.2) of training images at random.
        auto_aug: AutoAugment; the ImageNet policy for imagenet, else that for CIFAR-10.
        cutout: zero a random box of every training image.
        cutout_length: side of that box in pixels.
        mean: mean per channel of images in [0, 1] (default: by data set).
        std: standard deviation per channel (default: by data set).
    """

    dataset: str = "cifar10"
    data: str | None = None
    image_size: int | None = None
    batch_size: int = 64
    crop_padding: int | None = None
    flip: bool | None = None
    random_resized_crop: bool | None = None
    color_jitter: bool = False
    auto_aug: bool = False
    cutout: bool = False
    cutout_length: int = 16
    mean: list[float] | None = None
    std: list[float] | None = None


@dataclass
class SearchConfig(RunSettings, DataSettings):
    """Settings of a search; those of the method stand in its own options class.

    Args:
        method: search method.
        space: search space, darts or nas_bench_201.
        seed: seed of every random number.
        epochs: passes over the training half.
        init_channels: channels of the first cells of the supernet.
        layers: cells of the supernet (default: 8; NAS-Bench-201: 17, residual blocks included).
        steps: intermediate nodes per cell (default: 4; NAS-Bench-201: 3).
        multiplier: nodes that a cell's output joins (default: 4; NAS-Bench-201: 1).
        stem_multiplier: channels of the stem over init_channels (default: 3; NAS-Bench-201: 1).
        affine: batch norms of the candidates have scale and shift.
        track_running_stats: the supernet is measured with running statistics instead of those of each batch (default:
            yes; NAS-Bench-201: no).
        stem: cifar (small images) or imagenet (large images; default from 96 pixels on).
        train_portion: share of the training images that trains the weights; the rest trains the architecture.
        split: contiguous, stratified or nats: the parts of NATS-Bench, whatever train_portion (default: contiguous for
            CIFAR as in the papers, else stratified).
        fidelity: clean, or official: the quirks of the authors' program, as far as not set one by one.
        valid_batches: iterator (reshuffled passes) or fresh (a new random batch per step).
        max_skip_connect: skip connections that the derived normal cell may have (default: any number).
        nats_table: results of all cells of NAS-Bench-201 (a CSV or NPZ file, or the official folder); history,
            dashboard and report then tell the true accuracy of the present cell, which the search itself never sees.
        retrain: recipe named by the retraining command that is printed at the end.
    """

    method: str = "darts"
    space: str = "darts"
    seed: int = 2
    epochs: int = 50
    init_channels: int = 16
    layers: int | None = None
    steps: int | None = None
    multiplier: int | None = None
    stem_multiplier: int | None = None
    affine: bool = False
    track_running_stats: bool | None = None
    stem: Literal["cifar", "imagenet"] | None = None
    train_portion: float = 0.5
    split: Literal["contiguous", "stratified", "nats"] | None = None
    fidelity: Literal["clean", "official"] = "clean"
    valid_batches: Literal["iterator", "fresh"] = "iterator"
    max_skip_connect: int | None = None
    nats_table: str | None = None
    retrain: str | None = None


@dataclass
class TrainConfig(RunSettings, DataSettings):
    """Settings of the training of a genotype.

    Args:
        arch: genotype: a registered name, a file, a run directory or the printed text.
        split: nats: train, validate and test on the parts of NATS-Bench (default: all training and test images).
        epochs: passes over the training images.
        batch_size: images per step.
        init_channels: channels of the first cells (default: 36; NAS-Bench-201: 16).
        layers: cells of the network (default: 20; NAS-Bench-201: 17, reductions included).
        channels: widths of a network of the NATS-Bench size space, such as 8:16:8:24:16, in place of the two.
        stem: cifar (small images) or imagenet (large images; default from 96 pixels on, never for NAS-Bench-201).
        learning_rate: rate of the first epoch.
        learning_rate_min: rate that a cosine ends at.
        lr_schedule: cosine, exponential, linear or constant.
        lr_gamma: factor of the exponential schedule per lr_period epochs.
        lr_period: epochs between two decays of the exponential schedule.
        warmup_epochs: first epochs with a rising rate.
        warmup: override (rise to learning_rate) or scale (the scheduled rate).
        momentum: of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: L2 added to the gradient of every weight.
        grad_clip: limit of the global gradient norm (0: no clipping).
        auxiliary: train with the auxiliary head.
        auxiliary_weight: weight of its loss.
        drop_path_prob: drop-path probability reached at the end; it rises linearly from 0 (default: 0.2;
            NAS-Bench-201: none).
        label_smooth: label smoothing.
        bn_init: scale of the batch norms at the start: ones, or uniform in [0, 1) as in the papers' PyTorch.
    """

    arch: str | None = None
    split: Literal["nats"] | None = None
    epochs: int = 600
    batch_size: int = 96
    init_channels: int | None = None
    layers: int | None = None
    channels: str | None = None
    stem: Literal["cifar", "imagenet"] | None = None
    learning_rate: float = 0.025
    learning_rate_min: float = 0.0
    lr_schedule: Literal["cosine", "exponential", "linear", "constant"] = "cosine"
    lr_gamma: float = 0.97
    lr_period: int = 1
    warmup_epochs: int = 0
    warmup: Literal["override", "scale"] = "override"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    grad_clip: float = 5.0
    auxiliary: bool = False
    auxiliary_weight: float = 0.4
    drop_path_prob: float | None = None
    label_smooth: float = 0.0
    bn_init: Literal["ones", "uniform"] = "ones"


@dataclass
class EvaluateConfig:
    """Settings of the evaluation of a trained run.

    Args:
        run: run directory of a training.
        checkpoint: best or latest.
        data: folder or archive with the data (default: where the training found them).
        batch_size: images per step.
        device: cpu, gpu or gpu:N.
        threads: CPU threads (default: OMP_NUM_THREADS, else all cores).
        latency_runs: timed passes of one image for the latency (0: none).
    """

    run: str | None = None
    checkpoint: Literal["best", "latest"] = "best"
    data: str | None = None
    batch_size: int = 96
    device: str | None = None
    threads: int | None = None
    latency_runs: int = 20


#: Settings of a run that may change when it is resumed: they do not touch its numbers (device and threads may, in
#: the last bits: a warning says so).
FREE_ON_RESUME = (
    *("run_dir", "resume", "device", "threads", "report_freq", "save_minutes", "data", "nats_table", "retrain"),
)
