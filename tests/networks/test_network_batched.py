"""Whatever is computed together has the numbers of one call per operation and edge."""

import copy
import gc
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import paddle
import pytest
from op_by_op import OpByOp
from paddle import nn, profiler
from same_pass import assert_equal, assert_same_pass, build, leaf, leaves, random_mix

from paddle_darts.genotypes import PRIMITIVES
from paddle_darts.kernels.library import kernels_disabled
from paddle_darts.networks import CellMix, SupernetSpec, batched_plan
from paddle_darts.networks.batched_plan import plan_of
from paddle_darts.nn.layers import BatchNorm, conv2d, running_statistics
from paddle_darts.spaces import SPACES
from paddle_darts.spaces.darts import OPS

TINY = SupernetSpec(init_channels=2, layers=2, steps=2, multiplier=2, num_classes=3, reductions=(1,))
NAS_BENCH_201 = SupernetSpec(space="nas_bench_201", init_channels=2, layers=5, num_classes=3)
SKIP, SEP, NONE = (PRIMITIVES.index(name) for name in ("skip_connect", "sep_conv_3x3", "none"))


@pytest.fixture(autouse=True)
def float64_without_kernels():
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    with kernels_disabled():
        yield
    paddle.set_default_dtype(before)


SPECS = {
    "plain": TINY,
    "all steps": replace(TINY, steps=4, multiplier=4, reductions=None),
    "three steps, two joined": replace(TINY, steps=3, multiplier=2),
    "three steps, one joined": replace(TINY, steps=3, multiplier=1),
    "one step": replace(TINY, steps=1, multiplier=1, reductions=(0, 1)),
    "affine": replace(TINY, affine=True),
    "affine, pools as they are": replace(TINY, affine=True, pool_bn=False),
    "imagenet stem": replace(TINY, stem="imagenet"),
    "nas_bench_201": NAS_BENCH_201,
    "nas_bench_201, affine, tracked": replace(NAS_BENCH_201, affine=True, track_running_stats=True),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("parts", ["", "m", "me", "mo", "eo"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_numbers_are_those_of_op_by_op(spec, parts, training):
    rng = np.random.default_rng([len(parts), spec.steps, spec.multiplier])
    network = build(spec, rng)
    reference = build(spec)
    reference.set_state_dict(network.state_dict())
    size = [3, 3, 8, 8] if len(parts) % 2 else [2, 3, 7, 5]
    if spec.stem == "imagenet":
        size[2:] = 8 * size[2], 8 * size[3] - 7
    passes = [[random_mix(spec, rng, parts) for _ in spec.kinds] for _ in range(2)]
    for step, mix in enumerate(passes):
        if step == 1 and not training:
            network.eval(), reference.eval()
        assert_same_pass(network, reference, paddle.to_tensor(rng.normal(size=size)), mix)


def test_a_single_value_per_channel():
    spec = replace(TINY, reductions=(0, 1), affine=True)
    rng = np.random.default_rng(0)
    network, reference = build(spec), build(spec)
    mix = [random_mix(spec, rng, "e") for _ in range(2)]
    assert_same_pass(network, reference, paddle.to_tensor(rng.normal(size=[1, 3, 2, 2])), mix)


class Residual(nn.Layer):
    """Of no known form; its batch norm keeps statistics as any other."""

    def __init__(self, channels, stride):
        super().__init__()
        self.conv, self.norm = nn.Conv2D(channels, channels, 3, stride, 1), BatchNorm(channels)
        self.stride = stride

    def forward(self, x):
        return x[:, :, :: self.stride, :: self.stride] + self.norm(self.conv(x))


def three_stages(channels, stride, affine):
    """A chain that begins as others do but goes on, with stages that have no ReLU."""
    convs = ((conv2d(channels, channels, 3, s, 1, groups=channels), conv2d(channels, channels, 1)) for s in (stride, 1))
    return nn.Sequential(
        *(layer for pair in convs for layer in (*pair, BatchNorm(channels))), conv2d(channels, channels, 1)
    )


OTHERS = {
    "three_stages": three_stages,
    "residual": lambda c, stride, affine: Residual(c, stride),
    "max_pool_5x5": lambda c, stride, affine: nn.MaxPool2D(5, stride, 2),
}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("parts", ["", "mo"])
def test_operations_of_other_spaces(stride, parts, monkeypatch):
    """Other kernel sizes, stages without batch norm or of another size than the others, operations of no known form."""
    names = ("sep_conv_7x7", "skip_connect", "conv_7x1_1x7", "dil_conv_3x3", "sep_conv_3x3", "max_pool_3x3", *OTHERS)
    other = replace(SPACES["darts"], name="other", primitives=names, ops=OPS | OTHERS)
    monkeypatch.setitem(SPACES, "other", other)
    spec = replace(TINY, space="other", layers=1, reductions=(0,) if stride == 2 else (), steps=3, multiplier=1)
    rng = np.random.default_rng(stride)
    network, reference = build(spec, rng), build(spec)
    reference.set_state_dict(network.state_dict())
    for _ in range(3):
        x = paddle.to_tensor(rng.normal(size=[2, 3, 9, 8]))
        assert_same_pass(network, reference, x, [random_mix(spec, rng, parts)])


def test_what_is_off_does_not_spread_nan():
    rng = np.random.default_rng(0)
    network = build(TINY)
    mask = rng.random((TINY.num_edges, len(PRIMITIVES))) < 0.5
    weights = rng.uniform(0.1, 1, mask.shape)
    off = ~mask
    off[:, NONE] = True
    weights[off] = np.nan
    for cell in network.cells:
        for row, column in zip(*np.nonzero(~mask), strict=True):
            for parameter in cell._ops[row]._ops[column].parameters():
                parameter.set_value(paddle.full_like(parameter, np.nan))
    mix = [CellMix(leaf(weights), mask, leaf(np.ones(TINY.num_edges)), leaf(np.ones(TINY.num_edges)))] * 2
    logits, _ = network(paddle.to_tensor(rng.normal(size=[2, 3, 8, 8])), mix)
    named = network.weights()
    found = paddle.grad(logits.sum(), [*named.values(), *leaves(mix)], allow_unused=True)
    assert np.isfinite(logits.numpy()).all()
    assert all(np.isfinite(gradient.numpy()).all() for gradient in found if gradient is not None)


# -------------------------------------------------------------------------------------- less work
def operator_calls(work):
    calls = Counter()

    def walk(event):
        calls[event.name] += event.name.endswith(" kernel launch")
        for child in event.children_node:
            walk(child)

    record = profiler.Profiler(targets=[profiler.ProfilerTarget.CPU], on_trace_ready=lambda _: None)
    record.start()
    work()
    record.stop()
    for thread in record.profiler_result.get_data().values():
        walk(thread)
    return calls


def test_operator_calls():
    """A fifth of what it was with one call per operation and edge and ten calls for the statistics of a batch norm."""
    paddle.set_default_dtype("float32")
    spec = SupernetSpec(init_channels=2, layers=3, reductions=(1,))
    network, x = build(spec), paddle.ones([1, 3, 8, 8])
    mix = [random_mix(spec, np.random.default_rng(0))] * 3

    def step(forward):
        paddle.grad(forward(x, mix)[0].sum(), [*network.weights().values(), mix[0].ops])

    with running_statistics(False):
        plain = operator_calls(lambda: step(OpByOp(network))).total()
    norms = sum(isinstance(layer, BatchNorm) for layer in network.sublayers())
    calls = operator_calls(lambda: step(network))
    assert calls.total() <= 0.2 * (plain + 8 * norms)
    assert calls.total() <= 0.4 * plain
    pools, convs = 2, 6
    states = spec.layers * (spec.steps + 1)
    assert calls["pool2d kernel launch"] == states * pools + 1
    assert calls["depthwise_conv2d kernel launch"] == states * convs


def test_statistics_are_averaged_in_few_calls():
    paddle.set_default_dtype("float32")
    norms = [BatchNorm(4) for _ in range(300)]
    xs = [paddle.ones([2, 4, 3, 3]) for _ in norms]

    def forward():
        with running_statistics(True):
            for norm, x in zip(norms, xs, strict=True):
                norm(x)

    calls = operator_calls(forward)
    assert calls.total() - calls["batch_norm kernel launch"] - calls["full kernel launch"] < 20
    assert all((norm._mean.numpy() == np.float32(0.1)).all() for norm in norms)
    assert all((norm._variance.numpy() == np.float32(0.9)).all() for norm in norms)


def test_plans_are_kept_while_masks_and_mode_stay(monkeypatch):
    network, made = build(TINY), []
    monkeypatch.setattr(batched_plan, "CellPlan", lambda *parts, **options: made.append(parts) or object())
    cell, mask = network.cells[0], np.ones((TINY.num_edges, len(PRIMITIVES)), dtype=bool)
    first = plan_of(cell, None)
    assert plan_of(cell, None) is first and plan_of(network.cells[1], None) is not first
    other = plan_of(cell, mask)
    assert other is not first and plan_of(cell, mask.copy()) is other
    network.eval()
    assert plan_of(cell, None) is not first
    network.train()
    assert plan_of(cell, None) is first
    for row in range(TINY.num_edges):  # a method that draws a new mask for every batch fills no memory
        for column in range(len(PRIMITIVES)):
            mask[:] = False
            mask[row, column] = True
            plan_of(cell, mask)
    assert batched_plan._plans.count(cell) == 8


def test_plans_hold_no_network():
    network = build(TINY)
    network(paddle.ones([1, 3, 4, 4]), [random_mix(TINY, np.random.default_rng(0))] * 2)
    gone = weakref.ref(network.cells[0])
    del network
    gc.collect()
    assert gone() is None


def test_edges_that_a_plan_does_not_know():
    network = build(TINY)
    network.cells[0].wiring = [*network.cells[0].wiring[:-1], (0, 2)]
    with pytest.raises(ValueError, match="state 2 needs one edge to every later node"):
        network(paddle.ones([1, 3, 4, 4]), [random_mix(TINY, np.random.default_rng(0))] * 2)


# -------------------------------------------------------------------------------------- running statistics
def state(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def test_copies_of_a_network_go_their_own_way():
    network = build(TINY)
    mix, x = [random_mix(TINY, np.random.default_rng(0))] * 2, paddle.ones([2, 3, 8, 8])
    network(x, mix)
    twin, before = copy.deepcopy(network), state(network)
    moved = twin(x, mix)[0]
    assert all(np.array_equal(before[name], value) for name, value in state(network).items())
    assert_equal("logits", network(x, mix)[0], moved)
    for name, value in state(network).items():
        np.testing.assert_array_equal(value, twin.state_dict()[name].numpy(), err_msg=name)


def test_statistics_are_the_same_objects_throughout():
    """Who holds the state of a network reads its present statistics, and what is loaded stays loaded."""
    network = build(TINY)
    held, mix = network.state_dict(), [random_mix(TINY, np.random.default_rng(0))] * 2
    before = state(network)
    network(paddle.ones([2, 3, 8, 8]), mix)
    assert (held["stem.1._mean"].numpy() != before["stem.1._mean"]).any()
    network.set_state_dict({name: paddle.to_tensor(value) for name, value in before.items()})
    network.eval()
    network(paddle.ones([2, 3, 8, 8]), mix)
    for name, value in state(network).items():
        np.testing.assert_array_equal(value, before[name])
        np.testing.assert_array_equal(held[name].numpy(), before[name])


def test_a_layer_that_is_used_twice_moves_twice():
    rng = np.random.default_rng(0)
    together, apart = BatchNorm(3), BatchNorm(3)
    xs = [paddle.to_tensor(rng.normal(k, k, (2, 3, 4, 4 + k))) for k in (1, 2, 3)]
    with running_statistics(True):
        for x in xs:
            together(x)
    for x in xs:
        apart(x)
    assert_equal("mean", together._mean, apart._mean)
    assert_equal("variance", together._variance, apart._variance)


def test_a_pass_that_fails_leaves_no_statistics():
    network, mix = build(TINY), [random_mix(TINY, np.random.default_rng(0))] * 2
    before = state(network)
    mix[1] = replace(mix[1], ops=mix[1].ops[:, :3])
    with pytest.raises(ValueError, match=r"the ops of a mix must be .*5, 8.* got .*5, 3"):
        network(paddle.ones([2, 3, 8, 8]), mix)
    assert all(np.array_equal(before[name], value) for name, value in state(network).items())


def test_a_graph_of_older_statistics_notices_that_they_moved():
    norm, x = BatchNorm(2), leaf(np.random.default_rng(0).normal(size=(2, 2, 3, 3)))
    norm.eval()
    y = norm(x)
    norm.train()
    norm(x)
    with pytest.raises(Exception, match="inplace"):
        y.sum().backward()


def test_statistics_move_in_a_static_graph_too():
    rng = np.random.default_rng(0)
    plain = nn.Sequential(conv2d(3, 2, 3), BatchNorm(2))
    traced = copy.deepcopy(plain)
    x = paddle.to_tensor(rng.normal(size=(2, 3, 5, 5)))
    for _ in range(2):
        plain(x)
        paddle.jit.to_static(traced)(x)
    for name, value in plain.state_dict().items():
        assert_equal(name, traced.state_dict()[name], value)
