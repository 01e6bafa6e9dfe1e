"""The PyTorch program is the same program: parameters, logits and the second-order gradient, in float64."""

# ruff: noqa: E402  (what needs PyTorch is imported after it is known to be there)

from __future__ import annotations

import numpy as np
import paddle
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the extra [torch] brings it")

from paddle_darts.benchmark.config import BenchmarkConfig
from paddle_darts.benchmark.torch_peer.evaluation import NetworkCIFAR
from paddle_darts.benchmark.torch_peer.side import TorchSide
from paddle_darts.benchmark.torch_peer.steps import Architect, search_step, train_step, weight_sgd
from paddle_darts.benchmark.torch_peer.supernet import Supernet
from paddle_darts.benchmark.torch_peer.supernet_201 import Supernet201
from paddle_darts.genotypes import Genotype, genotype, list_genotypes
from paddle_darts.methods import Batch
from paddle_darts.methods.darts import Darts, DartsOptions
from paddle_darts.networks import SupernetSpec, build_network
from paddle_darts.networks.official import linear_weights, load_official, official_name
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import BatchNorm, trainable

#: Search network in PyTorch and its smallest depth with all kinds of cells, by search space.
PEERS = {"darts": (Supernet, 3), "nas_bench_201": (Supernet201, 5)}
every_space = pytest.mark.parametrize("space", PEERS)


@pytest.fixture(autouse=True)
def float64():
    before = paddle.get_default_dtype(), torch.get_default_dtype(), torch.get_num_threads()
    paddle.set_default_dtype("float64")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    paddle.set_default_dtype(before[0])
    torch.set_default_dtype(before[1])
    torch.set_num_threads(before[2])


def batches(count, size=8, images=3):
    """(images, classes) as arrays."""
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(images, 3, size, size)), rng.integers(10, size=images)) for _ in range(count)]


def theirs(batch):
    return tuple(map(torch.from_numpy, batch))


def ours(batch):
    return Batch(*map(paddle.to_tensor, batch))


def numbers(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


def is_idle(name):
    """Whether a parameter of the PyTorch program has no effect: a bias before a batch norm, which ours leaves out."""
    return name.endswith(".op.1.bias")


def counts(network, module):
    effective = [p for name, p in module.named_parameters() if not is_idle(name)]
    return sum(p.size for p in trainable(network).values()), sum(p.numel() for p in effective)


def untracked(network):
    """The running statistics that ours has in its state though they are never used, by official names."""
    norms = [name for name, n in network.named_sublayers() if isinstance(n, BatchNorm) and not n.tracked]
    return [f"{name}.{part}" for name in norms for part in ("_mean", "_variance")]


def searches(space="darts", channels=2, unrolled=True):
    """A search of ours and the same one in PyTorch, with momentum in both."""
    peer, layers = PEERS[space]
    spec = SupernetSpec(space=space, init_channels=channels, layers=layers)
    method = Darts(spec, DartsOptions(unrolled=unrolled), 50, RandomSource(0))
    model = peer(channels, layers)
    state = {name: value for name, value in numbers(model).items() if not is_idle(name)}
    load_official(method.supernet, state, optional=untracked(method.supernet))
    method.begin_epoch(0)
    method.supernet.train()
    alphas = tuple(torch.from_numpy(a.numpy()).requires_grad_() for a in method.alphas.values())
    return method, model, alphas


@every_space
def test_supernet(space):
    method, model, alphas = searches(space)
    assert len(set(counts(method.supernet, model))) == 1
    (batch,) = batches(1)
    for mode in (True, False):  # the second with the running statistics of the first
        method.supernet.train() if mode else method.supernet.eval()
        model.train(mode)
        expected = model(theirs(batch)[0], alphas).detach().numpy()
        logits, _ = method.supernet(ours(batch).images, method.mixture())
        np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-8, atol=1e-9)


def test_full_size_supernet_has_the_parameters_of_the_paper():
    spec = SupernetSpec(init_channels=16, layers=8)
    method = Darts(spec, DartsOptions(), 50, RandomSource(0))
    assert counts(method.supernet, Supernet(16, 8)) == (1930618, 1930618)


def test_supernet_201_has_the_candidates_and_biases_of_the_benchmark():
    names = dict(Supernet201(4, 8).named_parameters())
    cells = [0, 1, 3, 4, 6, 7]  # residual blocks at 2 and 5
    expected = {
        f"cells.{cell}.edges.{edge}.{column}.op.1.{part}"
        for cell in cells
        for edge in ("1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2")
        for column in (2, 3)
        for part in ("weight", "bias")
    }
    assert {name for name in names if ".edges." in name} == expected
    assert names["cells.7.edges.3<-2.3.op.1.weight"].shape == (16, 16, 3, 3)


@every_space
def test_gradients_of_a_search_step(space):
    method, model, alphas = searches(space)
    (batch,) = batches(1)
    loss = search_step(model, alphas, *theirs(batch))
    found, _ = method.loss(ours(batch))
    assert float(found) == pytest.approx(loss, rel=1e-10)
    gradients = paddle.grad(found, [*method.alphas.values(), *method.weights.values()])
    for alpha, gradient in zip(alphas, gradients, strict=False):
        np.testing.assert_allclose(gradient.numpy(), alpha.grad.numpy(), rtol=1e-6, atol=1e-12)
    expected, transposed = dict(model.named_parameters()), linear_weights(method.supernet)
    for name, gradient in zip(method.weights, gradients[len(alphas) :], strict=True):
        theirs_now = expected.pop(official_name(name)).grad.numpy()
        theirs_now = theirs_now.T if name in transposed else theirs_now
        np.testing.assert_allclose(gradient.numpy(), theirs_now, rtol=1e-6, atol=1e-9, err_msg=name)
    assert all(is_idle(name) and p.grad.abs().max() < 1e-9 for name, p in expected.items()), "no effect"


@every_space
def test_first_order_step(space):
    method, model, alphas = searches(space, unrolled=False)
    optimizer = weight_sgd(model)
    method.weight_optimizer.step([paddle.zeros_like(p) for p in method.weight_optimizer.parameters])
    (valid,) = batches(1)
    Architect(model, alphas, optimizer).first_order(theirs(valid))
    hyper = method.arch_gradient(ours(valid), ours(valid))
    method.arch_optimizer.step(hyper.total)
    for alpha, total, ours_now in zip(alphas, hyper.total, method.alphas.values(), strict=True):
        np.testing.assert_allclose(total.numpy(), alpha.grad.numpy(), rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(ours_now.numpy(), alpha.detach().numpy(), rtol=1e-6, atol=1e-9)


@every_space
def test_second_order_step(space):
    method, model, alphas = searches(space)
    optimizer = weight_sgd(model)
    method.weight_optimizer.step([paddle.zeros_like(p) for p in method.weight_optimizer.parameters])
    train, valid = batches(2)
    Architect(model, alphas, optimizer).second_order(theirs(train), theirs(valid))
    hyper = method.arch_gradient(ours(train), ours(valid))
    method.arch_optimizer.step(hyper.total)
    for alpha, total, ours_now in zip(alphas, hyper.total, method.alphas.values(), strict=True):
        np.testing.assert_allclose(total.numpy(), alpha.grad.numpy(), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(ours_now.numpy(), alpha.detach().numpy(), rtol=1e-5, atol=1e-9)


def of_darts_form(name):
    cell = genotype(name)
    return isinstance(cell, Genotype) and not cell.sparse and not cell.network.pool_bn


@pytest.mark.parametrize("name", filter(of_darts_form, list_genotypes()))
def test_evaluation_network(name):
    arch = genotype(name)
    module = NetworkCIFAR(arch, 4, 4)
    network = build_network(arch, 10, 4, 4, auxiliary=True)
    assert len(set(counts(network, module))) == 1
    load_official(network, numbers(module))
    if name != "DARTS_V2":
        return
    ((images, _),) = batches(1, 32, 2)
    network.train()
    module.train()
    found, expected = network(paddle.to_tensor(images)), module(torch.from_numpy(images))
    for mine, yours in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), yours.detach().numpy(), rtol=1e-7, atol=1e-8)


def test_train_step_learns():
    module = NetworkCIFAR(genotype("DARTS_V1"), 2, 2, drop_path_prob=0.2)
    batch = theirs(batches(1, 32, 4)[0])
    optimizer = weight_sgd(module)
    losses = [train_step(module, optimizer, *batch) for _ in range(6)]
    assert losses[-1] < losses[0]


@every_space
def test_steps_of_the_contestant(space):
    """It builds the network of the space, and a second-order step takes four passes instead of one."""
    torch.set_default_dtype(torch.float32)
    calls = {}
    for case, unrolled in (("search-step", None), ("arch-step", False), ("arch-step", True)):
        sizes = {"batch_size": 2, "channels": 2, "layers": PEERS[space][1], "image_size": 8, "threads": 1}
        side = TorchSide(BenchmarkConfig(space=space, unrolled=unrolled, **sizes))
        step = side.build(case)
        assert step.images == 2
        calls[unrolled] = side.count_op_calls(step.run)
    assert calls[True] > 3 * calls[False] and calls[None] >= calls[False] > 200


def test_operator_calls_of_a_known_program():
    side = TorchSide(BenchmarkConfig(threads=1))
    a = torch.ones(3, requires_grad=True)

    def run():
        y = a * 2  # 1
        loss = (y + y * 3).sum()  # 3
        torch.autograd.grad(loss, [a])  # the 1 it begins with, and 4 nodes

    assert side.count_op_calls(run) == 4 + 5
