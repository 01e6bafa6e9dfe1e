"""The sizes in the registry's files are what the networks count."""

import re

import pytest

from paddle_darts.analysis.complexity import complexity
from paddle_darts.genotypes import entry, list_genotypes
from paddle_darts.networks import build_network

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
SIZES = [(name, key) for name in list_genotypes() for key in entry(name).params]


# Families of many cells of one form, of which one will do.
ALIKE = {"sgas": "Cri1_CIFAR_1", "fair_darts_analysis": "DARTS_ID2_1"}


def quick(name, key):
    """CIFAR-10 for most; the other data sets change the classifier or the stem, so one cell of a form will do."""
    if key == "cifar10_C36_L20":
        return name == ALIKE.get(entry(name).family, name)
    return name in ("DARTS_PADDLE", "PDARTS_CARD_SEED1", "FairDARTS_c", "DrNAS_imagenet")


@pytest.mark.parametrize(
    "name, key", [pytest.param(*size, marks=() if quick(*size) else pytest.mark.slow) for size in SIZES]
)
def test_sizes_of_the_registry(name, key):
    data, channels, layers = re.fullmatch(r"(\w+)_C(\d+)_L(\d+)", key).groups()
    stem, pixels = ("imagenet", 224) if data == "imagenet" else ("cifar", 32)
    network = build_network(name, CLASSES[data], int(channels), int(layers), auxiliary=True, stem=stem)
    counted = complexity(network, [3, pixels, pixels])
    one = entry(name)
    assert one.params[key] == (counted.params, counted.params_with_aux)
    assert one.macs[key] == (counted.macs, counted.macs_paper)


def test_nothing_is_left_uncounted():
    for name, key in SIZES:
        assert None not in (*entry(name).params[key], *entry(name).macs[key]), (name, key)


@pytest.mark.parametrize(
    "name, key, params, macs",
    [
        ("DARTS_PADDLE", "cifar10_C36_L20", 3767302, 589101696),
        ("DARTS_PADDLE", "imagenet_C48_L14", 5235904, 585936192),
        ("DARTS_V2", "cifar10_C36_L20", 3349342, 528359040),
        ("DARTS_V2", "imagenet_C48_L14", 4718752, 529911552),
        ("PDARTS", "cifar10_C64_L20", 10521802, 1615865856),
        ("FairDARTS_a", "cifar10_C36_L20", 2360782, 371455200),
        ("FairDARTS_c", "cifar10_C36_L20", 2598814, 399987936),
        ("DrNAS_cifar10", "cifar10_C36_L20", 4099294, 635135616),
        ("DrNAS_imagenet", "imagenet_C48_L14", 5726368, 624405504),
        ("DDSAS_cifar100", "cifar100_C36_L20", 4214728, 633528576),
        ("DDSAS_imagenet", "imagenet_C46_L14", 5333573, 581456560),
    ],
)
def test_published_sizes(name, key, params, macs):
    assert (entry(name).params[key].no_aux, entry(name).macs[key].conv_linear) == (params, macs)
