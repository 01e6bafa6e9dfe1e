"""Data sets, their splits, augmentation and reproducible batches (NumPy and Pillow, no Paddle import).

Sources: `digits` (inside scikit-learn), `cifar10` and `cifar100` (official archives or Paddle's download),
`imagenet16-120` (official batches), `folder` (any images, one folder per class; all of them in memory), `imagenet`
(folders or lists of any number of images, decoded batch by batch).
"""

from __future__ import annotations

# they enter themselves in the registry
from paddle_darts.data import cifar, digits, folder, imagenet, imagenet16  # noqa: F401
from paddle_darts.data.augment import Augmentation, augment, cutout_mask, normalize
from paddle_darts.data.bundle import DataBundle
from paddle_darts.data.dataset import ArrayDataset, Dataset
from paddle_darts.data.image_list import ImageList
from paddle_darts.data.nats_splits import NatsSplit, nats_bundle, nats_split
from paddle_darts.data.registry import list_datasets, load_dataset, register_dataset
from paddle_darts.data.split import split_search, stratified_indices
from paddle_darts.data.stream import Batch, BatchStream

__all__ = [
    "ArrayDataset",
    "Augmentation",
    "Batch",
    "BatchStream",
    "DataBundle",
    "Dataset",
    "ImageList",
    "NatsSplit",
    "augment",
    "cutout_mask",
    "list_datasets",
    "load_dataset",
    "nats_bundle",
    "nats_split",
    "normalize",
    "register_dataset",
    "split_search",
    "stratified_indices",
]
