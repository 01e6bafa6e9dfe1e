"""Images that stay in their files until a batch needs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paddle_darts.data.crops import centre_crop, resized_crop
from paddle_darts.data.images import in_threads, open_image, to_array
from paddle_darts.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageList:
    """Image files below ``root`` and their labels; a `Dataset` that decodes a batch at a time, in a few threads.

    ``paths`` bytes [N]: relative to ``root``, in the file system's encoding (an array of bytes takes a third of the
    memory of Python texts: 40 MB for ImageNet). ``labels`` int64 [N]. What is handed out has ``image_size`` x
    ``image_size`` pixels: for training a random resized crop, else the middle of the image after its shorter side
    was made ``resize`` (default: 256 for 224, and in this proportion for other sizes). Raises DataError when paths
    and labels do not fit, and naming the file when an image is missing or damaged, at the batch that needs it.
    """

    root: Path
    paths: np.ndarray
    labels: np.ndarray
    image_size: int = 224
    channels: int = 3
    resize: int | None = None

    def __post_init__(self) -> None:
        if self.paths.dtype.kind != "S" or self.paths.ndim != 1:
            raise DataError(f"paths must be bytes [N], got {self.paths.dtype} {list(self.paths.shape)}")
        if self.labels.shape != self.paths.shape or self.labels.dtype != np.int64:
            raise DataError(
                f"labels must be int64 [{len(self.paths)}] for {len(self.paths)} images, "
                f"got {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: np.ndarray | slice) -> ImageList:
        """The images at ``indices``, in that order; no file is touched."""
        return ImageList(
            self.root, self.paths[indices], self.labels[indices], self.image_size, self.channels, self.resize
        )

    def path(self, index: int) -> Path:
        """The file of one image."""
        return self.root / os.fsdecode(self.paths[index].item())

    def pixels(self, indices: np.ndarray, crops: np.ndarray | None = None) -> np.ndarray:
        """uint8 [B, C, H, W], decoded now; see `Dataset.pixels`."""
        size = self.image_size
        short = round(size * 256 / 224) if self.resize is None else self.resize
        out = np.empty((len(indices), self.channels, size, size), np.uint8)

        def fill(i: int) -> None:
            image = open_image(self.path(int(indices[i])), self.channels)
            view = centre_crop(image, size, short) if crops is None else resized_crop(image, crops[i], (size, size))
            out[i] = to_array(view)

        for _ in in_threads(fill, range(len(indices))):
            pass
        return out
