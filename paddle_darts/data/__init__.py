"""Data sets, their splits, augmentation and reproducible batches (NumPy and Pillow, no Paddle import).

Sources: `digits` (inside scikit-learn), `cifar10` and `cifar100` (official archives or Paddle's download),
`folder` (any images, one folder per class; all of them in memory), `imagenet` (folders or lists of any number of
images, decoded batch by batch).
"""

from __future__ import annotations

from paddle_darts.data import cifar, digits, folder, imagenet  # noqa: F401  (they enter themselves in the registry)
from paddle_darts.data.augment import Augmentation, augment, cutout_mask, normalize
from paddle_darts.data.bundle import DataBundle
from paddle_darts.data.dataset import ArrayDataset, Dataset
from paddle_darts.data.image_list import ImageList
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
    "augment",
    "cutout_mask",
    "list_datasets",
    "load_dataset",
    "normalize",
    "register_dataset",
    "split_search",
    "stratified_indices",
]
