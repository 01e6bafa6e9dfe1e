"""AutoAugment: one of 25 pairs of image operations per image, with the published policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from paddle_darts.data.images import edit_images

if TYPE_CHECKING:
    from PIL.Image import Image


class Step(NamedTuple):
    """One operation of a sub-policy: applied with ``probability``, ``magnitude`` 0..9 in `MAGNITUDES`."""

    probability: float
    name: str
    magnitude: int


Policy = tuple[tuple[Step, Step], ...]


def _policy(table: str) -> Policy:
    """Lines of sub-policies "p op m, p op m", parted by bars."""

    def step(words: str) -> Step:
        probability, name, magnitude = words.split()
        return Step(float(probability), name, int(magnitude))

    pairs = (entry.split(",") for line in table.strip().splitlines() for entry in line.split("|"))
    return tuple((step(first), step(second)) for first, second in pairs)


#: arXiv 1805.09501, as FairDARTS and D-DARTS apply them (CDARTS: the second equalize of "equalize 8, equalize 4" in
#: cifar10 with probability .6, else the same).
POLICIES: dict[str, Policy] = {
    "cifar10": _policy("""
.1 invert 7, .2 contrast 6 | .7 rotate 2, .3 translate_x 9 | .8 sharpness 1, .9 sharpness 3
.5 shear_y 8, .7 translate_y 9 | .5 autocontrast 8, .9 equalize 2 | .2 shear_y 7, .3 posterize 7
.4 color 3, .6 brightness 7 | .3 sharpness 9, .7 brightness 9 | .6 equalize 5, .5 equalize 1
.6 contrast 7, .6 sharpness 5 | .7 color 7, .5 translate_x 8 | .3 equalize 7, .4 autocontrast 8
.4 translate_y 3, .2 sharpness 6 | .9 brightness 6, .2 color 8 | .5 solarize 2, 0 invert 3
.2 equalize 0, .6 autocontrast 0 | .2 equalize 8, .8 equalize 4 | .9 color 9, .6 equalize 6
.8 autocontrast 4, .2 solarize 8 | .1 brightness 3, .7 color 0 | .4 solarize 5, .9 autocontrast 3
.9 translate_y 9, .7 translate_y 9 | .9 autocontrast 2, .8 solarize 3 | .8 equalize 8, .1 invert 3
.7 translate_y 9, .9 autocontrast 1
"""),
    "imagenet": _policy("""
.4 posterize 8, .6 rotate 9 | .6 solarize 5, .6 autocontrast 5 | .8 equalize 8, .6 equalize 3
.6 posterize 7, .6 posterize 6 | .4 equalize 7, .2 solarize 4 | .4 equalize 4, .8 rotate 8
.6 solarize 3, .6 equalize 7 | .8 posterize 5, 1 equalize 2 | .2 rotate 3, .6 solarize 8
.6 equalize 8, .4 posterize 6 | .8 rotate 8, .4 color 0 | .4 rotate 9, .6 equalize 2
0 equalize 7, .8 equalize 8 | .6 invert 4, 1 equalize 8 | .6 color 4, 1 contrast 8
.8 rotate 8, 1 color 2 | .8 color 8, .8 solarize 7 | .4 sharpness 7, .6 invert 8
.6 shear_x 5, 1 equalize 9 | .4 color 0, .6 equalize 3 | .4 equalize 7, .2 solarize 4
.6 solarize 5, .6 autocontrast 5 | .6 invert 4, 1 equalize 8 | .6 color 4, 1 contrast 8
.8 equalize 8, .6 equalize 3
"""),
}
_ENHANCE = {name: np.linspace(0, 0.9, 10) for name in ("color", "contrast", "sharpness", "brightness")}
#: What a magnitude 0..9 means: shear, translation as share of the side, degrees, 1 +- factor, bits, threshold.
MAGNITUDES: dict[str, np.ndarray] = {
    "shear_x": np.linspace(0, 0.3, 10),
    "shear_y": np.linspace(0, 0.3, 10),
    "translate_x": np.linspace(0, 150 / 331, 10),
    "translate_y": np.linspace(0, 150 / 331, 10),
    "rotate": np.linspace(0, 30, 10),
    **_ENHANCE,
    "posterize": np.rint(np.linspace(8, 4, 10)),
    "solarize": np.linspace(256, 0, 10),
    **{name: np.zeros(10) for name in ("autocontrast", "equalize", "invert")},
}


def auto_augment(images: np.ndarray, rng: np.random.Generator, policy: str = "cifar10") -> np.ndarray:
    """A sub-policy of `POLICIES`, chosen uniformly per image, on a batch uint8 [B, C, H, W]; the input is left alone.

    Draws from ``rng``: the sub-policies [B], [B, 2] whether their steps are applied, [B, 2] the signs (used by
    shear, translation, colour, contrast, sharpness and brightness; rotation is always counter-clockwise, as in the
    official programs).
    """
    count = len(images)
    chosen = rng.integers(len(POLICIES[policy]), size=count)
    applied = rng.random((count, 2))
    signs = 2 * rng.integers(2, size=(count, 2)) - 1

    def edit(image: Image, i: int) -> Image:
        for step, u, sign in zip(POLICIES[policy][chosen[i]], applied[i], signs[i], strict=True):
            if u < step.probability:
                image = apply(image, step.name, float(MAGNITUDES[step.name][step.magnitude]), int(sign))
        return image

    return edit_images(images, [lambda image, i=i: edit(image, i) for i in range(count)])


def apply(image: Image, name: str, value: float, sign: int = 1) -> Image:
    """One operation on a grey or RGB image; ``value`` as in `MAGNITUDES`. What is shifted in is grey (128)."""
    return _OPERATIONS[name](image, value, sign)


def _affine(coefficients: Callable[[Image, float], tuple[float, ...]], resampling: str) -> Callable[..., Image]:
    def operation(image: Image, value: float, sign: int) -> Image:
        from PIL import Image as pillow

        method, filling = pillow.Transform.AFFINE, _grey(image)
        return image.transform(
            image.size, method, coefficients(image, sign * value), pillow.Resampling[resampling], fillcolor=filling
        )

    return operation


def _enhance(name: str) -> Callable[..., Image]:
    def operation(image: Image, value: float, sign: int) -> Image:
        from PIL import ImageEnhance

        return getattr(ImageEnhance, name)(image).enhance(1 + sign * value)

    return operation


def _plain(name: str, number: Callable[[float], Any] | None = None) -> Callable[..., Image]:
    def operation(image: Image, value: float, sign: int) -> Image:
        from PIL import ImageOps

        return getattr(ImageOps, name)(image, *([] if number is None else [number(value)]))

    return operation


def _rotate(image: Image, value: float, sign: int) -> Image:
    return image.rotate(value, fillcolor=_grey(image))


def _grey(image: Image) -> int | tuple[int, int, int]:
    return 128 if image.mode == "L" else (128, 128, 128)


_OPERATIONS: dict[str, Callable[[Any, float, int], Any]] = {
    "shear_x": _affine(lambda image, v: (1, v, 0, 0, 1, 0), "BICUBIC"),
    "shear_y": _affine(lambda image, v: (1, 0, 0, v, 1, 0), "BICUBIC"),
    "translate_x": _affine(lambda image, v: (1, 0, v * image.width, 0, 1, 0), "NEAREST"),
    "translate_y": _affine(lambda image, v: (1, 0, 0, 0, 1, v * image.height), "NEAREST"),
    "rotate": _rotate,
    **{name: _enhance(name.capitalize()) for name in _ENHANCE},
    "posterize": _plain("posterize", int),
    "solarize": _plain("solarize", float),
    **{name: _plain(name) for name in ("autocontrast", "equalize", "invert")},
}
