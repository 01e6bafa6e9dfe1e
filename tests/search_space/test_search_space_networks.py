"""The networks that tokens build, and the supernets of the spaces."""

import pickle

import numpy as np
import paddle
import pytest

from paddle_darts.networks import NetworkCIFAR, SupernetSpec, build_network
from paddle_darts.networks.supernets import build_supernet
from paddle_darts.nn.layers import trainable
from paddle_darts.search_space import DartsCellSpace, DartsSpace, NB201Space
from paddle_darts.search_space.darts_channels import WidthNetwork

TINY = {"init_channels": 4, "layers": 5}
PUBLISHED = [5, 5, 0, 5, 5, 10, 7, 7, 5, 7, 7, 11, 10, 12, 10, 0, 5, 3, 10, 8]


def images(size=16, batch=2):
    return paddle.to_tensor(np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype("float32"))


def shapes(network):
    return {name: tuple(p.shape) for name, p in network.named_parameters()}


def count(network):
    return sum(p.size for p in trainable(network).values())


@pytest.mark.parametrize("cls", [DartsCellSpace, NB201Space], ids=lambda cls: cls.__name__)
def test_tokens_build_the_network_of_their_genotype(cls):
    space = cls()
    tokens = space.random_tokens(3)
    arch = space.token2arch(tokens)
    first, second = arch(num_classes=7, **TINY), arch(num_classes=7, **TINY)
    assert first is not second  # every call builds a new one
    assert shapes(first) == shapes(build_network(space.tokens2genotype(tokens), 7, **TINY))
    logits = first(images())[0]
    assert logits.shape == [2, 7] and np.isfinite(logits.numpy()).all()
    assert arch(**TINY)(images())[0].shape == [2, 10]


@pytest.mark.parametrize("cls", [DartsCellSpace, NB201Space], ids=lambda cls: cls.__name__)
def test_options_of_a_space_are_those_of_its_networks(cls):
    space = cls(num_classes=3, **TINY)
    assert shapes(space.token2arch()()) == shapes(cls().token2arch()(num_classes=3, **TINY))
    assert space.token2arch()(num_classes=5)(images())[0].shape == [2, 5]
    assert shapes(pickle.loads(pickle.dumps(space.token2arch()))()) == shapes(space.token2arch()())


def test_the_benchmarks_network_is_the_default():
    """Index 11 of the benchmark has 0.802426 million parameters on CIFAR-10."""
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    space = NB201Space()
    network = space.token2arch(space.genotype2tokens(cell))()
    assert shapes(network) == shapes(build_network(cell, 10, 16, 17))


@pytest.mark.parametrize("cls, name", [(DartsCellSpace, "darts"), (NB201Space, "nas_bench_201")])
def test_supernets(cls, name):
    supernet = cls(**TINY).super_net(num_classes=3)
    expected = SupernetSpec(space=name, num_classes=3, **TINY)
    assert supernet.spec == expected and shapes(supernet) == shapes(build_supernet(expected))


def test_widths_have_no_supernet():
    with pytest.raises(NotImplementedError, match="DartsSpace has no network that shares weights"):
        DartsSpace().super_net()


# ------------------------------------------------------------------------------------------ widths
def test_the_published_widths():
    """The initial tokens are the network of 3,767,302 parameters; the published search result is 11.2 % smaller."""
    space = DartsSpace()
    initial = count(space.token2arch()())
    assert initial == 3_767_302
    assert round(100 * (1 - count(space.token2arch(PUBLISHED)()) / initial), 1) == 11.2


def test_regular_widths_are_the_plain_network():
    """Names, shapes, outputs and the auxiliary head of `NetworkCIFAR`, cell by cell."""
    plain = NetworkCIFAR(DartsSpace().tokens2genotype([0] * 20), 7, 4, 6, auxiliary=True)
    ours = WidthNetwork((4, 4, 8, 8, 16, 16), 7, auxiliary=True, stem_channels=12)
    assert shapes(plain) == shapes(ours)
    ours.set_state_dict(plain.state_dict())
    for mode in ("train", "eval"):
        for network in (plain, ours):
            getattr(network, mode)()
        for a, b in zip(plain(images(32)), ours(images(32)), strict=True):
            assert (a is None) == (b is None) == (mode == "eval" and b is None)
            if a is not None:
                np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_every_width_counts_in_its_own_cell():
    rng = np.random.default_rng(1)
    tokens = [int(token) for token in rng.integers(0, 5, 20)]
    space = DartsSpace(stem_channels=8)
    network = space.token2arch(tokens)(num_classes=3, auxiliary=True, drop_path_prob=0.3)
    widths = space.widths(tokens)
    for cell, width in zip(network.cells, widths, strict=True):
        assert cell.out_channels == 4 * width
    logits, aux = network(images(32))
    assert logits.shape == aux.shape == [2, 3]
    (logits.sum() + aux.sum()).backward()
    missing = [name for name, p in trainable(network).items() if p.grad is None]
    assert not missing


def test_drop_path_of_width_networks():
    network = WidthNetwork((4,) * 3, 3, drop_path_prob=0.5, stem_channels=4)
    a, b = (network(images())[0].numpy() for _ in range(2))
    assert not np.allclose(a, b)
    network.eval()
    a, b = (network(images())[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(a, b)
