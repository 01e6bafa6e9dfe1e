"""Small trees of image files: classes as folders, images of different sizes and formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("n01", "n02", "n03")
SIZES = ((40, 30), (30, 44), (36, 36), (61, 33))
SUFFIXES = (".JPEG", ".png", ".jpg")


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    """A noisy picture of (width, height) whose brightness belongs to the seed."""
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0]) + (() if mode == "L" else (3,))
    pixels = np.clip(rng.normal(40 + 37 * (seed % 6), 30, shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG" if path.suffix == ".png" else "JPEG")
    return path


def write_classes(folder: Path, per_class: int, classes: Sequence[str] = CLASSES, seed: int = 0) -> Path:
    """``per_class`` images in each class folder; every fifth is grey."""
    for label, name in enumerate(classes):
        for i in range(per_class):
            number = seed + 100 * label + i
            file = folder / name / f"{name}_{i:03d}{SUFFIXES[i % len(SUFFIXES)]}"
            write_image(file, number, SIZES[number % len(SIZES)], "L" if i % 5 == 4 else "RGB")
    return folder


def write_imagenet(root: Path, train: int = 8, val: int = 3) -> Path:
    """``root/train`` and ``root/val`` as ImageNet has them."""
    write_classes(root / "train", train)
    write_classes(root / "val", val, seed=1000)
    return root
