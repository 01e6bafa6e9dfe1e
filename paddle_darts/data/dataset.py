"""What a batch stream needs from a data set, and its plainest kinds: arrays in memory, an absent part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

from paddle_darts.data.crops import resized_crop
from paddle_darts.data.images import in_threads, to_array, to_image
from paddle_darts.errors import DataError


class Dataset(Protocol):
    """Labelled images that are handed out as uint8 arrays of one size, from memory or from files.

    ``labels`` int64 [N]; ``channels`` and ``image_size`` (height = width) [pixels] of what `pixels` returns.
    """

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def channels(self) -> int: ...

    @property
    def image_size(self) -> int: ...

    def __len__(self) -> int: ...

    def subset(self, indices: np.ndarray | slice) -> Dataset:
        """The images at ``indices``, in that order."""
        ...

    def pixels(self, indices: np.ndarray, crops: np.ndarray | None = None) -> np.ndarray:
        """uint8 [B, C, H, W] of the images at ``indices``; must not be written to.

        ``crops``: one row of `paddle_darts.data.crops.draw_crops` per image asks for a random resized crop, None
        for the plain view that test images get. The result depends on nothing but the arguments.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """Images uint8 [N, C, H, W] in memory and their labels int64 [N]; raises DataError when the two do not fit."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != np.uint8:
            raise DataError(f"images must be uint8 [N, C, H, W], got {images.dtype} {list(images.shape)}")
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            raise DataError(
                f"labels must be int64 [{len(images)}] for {len(images)} images, "
                f"got {labels.dtype} {list(labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def image_size(self) -> int:
        return self.images.shape[2]

    def subset(self, indices: np.ndarray | slice) -> ArrayDataset:
        """The images at ``indices``, in that order (a slice shares memory)."""
        return ArrayDataset(self.images[indices], self.labels[indices])

    def pixels(self, indices: np.ndarray, crops: np.ndarray | None = None) -> np.ndarray:
        """The images as they are, or random resized crops of them at their own size."""
        images = self.images[indices]
        if crops is None:
            return images
        size = (images.shape[3], images.shape[2])
        cropped = in_threads(lambda i: to_array(resized_crop(to_image(images[i]), crops[i], size)), range(len(images)))
        return np.stack(list(cropped)) if len(images) else images


class MissingDataset:
    """A part that the data do not have: whatever is asked of it is a DataError with ``reason``.

    A search never looks at test images, so that it can do without them; a training finds out before its first step.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __len__(self) -> int:
        self._refuse()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python itself asks, for copying and the like
            raise AttributeError(name)
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError(self.reason)
