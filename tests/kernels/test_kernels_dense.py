"""Dense convolutions: in tiles (single precision), and several of one map together."""

from __future__ import annotations

import numpy as np
import pytest
from plain_plans import Case, Maker, Recorder, compare
from sample_plans import one_conv
from test_kernels_threads import same_bits

from paddle_darts.kernels import cell as passes
from paddle_darts.kernels.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="there are no kernels on this machine")


def single_and_double(build, tolerance=5e-6):
    """What single precision finds, against Paddle's operators in double precision on the same numbers."""
    compare(build("float32").fused(), build("float64").plain(), tolerance)


def linked(make: Maker, batch: int, channels: int, size: tuple[int, int], training: bool = True, **given) -> Case:
    """All pairs of four states joined by a 3x3 and a 1x1 convolution, an average pool and the state itself."""
    plan = Recorder([channels])
    states, pools = [0], {}
    for node in range(1, 4):
        states.append(plan.map(channels))
        for source in range(node):
            first = 4 * (node * (node - 1) // 2 + source)
            if source not in pools:
                pools[source] = plan.pool(states[source], "avg", 1)
            plan.add(states[source], states[node], coefficient=first)
            for kernel in (1, 3):
                stage = make.stage(channels, channels, kernel, padding=kernel // 2, affine=source == 1)
                scale = {"scale": 0} if (node, kernel) == (2, 3) else {}
                plan.conv(states[source], states[node], [stage], coefficient=first + kernel // 2 + 1, **scale)
            plan.add(pools[source], states[node], coefficient=first + 3)
    scales = make.tensor(make.rng.choice([0.0, 1.25], (1, batch)))
    coefficients = make.normal(24)
    image = make.image(batch, channels, *size)
    return Case(plan, plan.finish([states[-1]]), [image], coefficients, scales, training=training, **given)


# ------------------------------------------------------------------------------------------ in tiles
@pytest.mark.parametrize("c_in, c_out", [(8, 8), (16, 16), (9, 20), (31, 8), (48, 64), (40, 96), (65, 33)])
@pytest.mark.parametrize("batch, size", [(1, (4, 4)), (3, (8, 8)), (5, (16, 4)), (2, (12, 40)), (37, (4, 8))])
def test_every_width_in_tiles(c_in, c_out, batch, size):
    """Whole vectors of channels and a rest, whole groups of samples and a rest, one tile and many."""

    def build(dtype):
        make = Maker(c_in, dtype, rounded=True)
        return one_conv([make.stage(c_in, c_out, 3, padding=1, norm=False)], make.image(batch, c_in, *size))

    single_and_double(build)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_chains_in_tiles(relu, training):
    """With a stage in front of which, and behind which, there is another one."""

    def build(dtype):
        make = Maker(3, dtype, rounded=True)
        widths, strides = [10, 24, 16, 12], [2, 1, 1]
        stages = [
            make.stage(a, b, 3, padding=1, stride=s, relu=relu)
            for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True)
        ]
        return one_conv(stages, make.image(5, 10, 16, 24), training=training)

    single_and_double(build, 2e-5)


def test_a_wide_input_border_beside_tiles():
    """Another convolution of the same map needs a wider border."""

    def build(dtype):
        make = Maker(4, dtype, rounded=True)
        plan = Recorder([16])
        target = plan.map(16)
        for kernel in (3, 7, 3, 5):
            plan.conv(0, target, [make.stage(16, 16, kernel, padding=kernel // 2, norm=False)])
        return Case(plan, plan.finish([target]), [make.image(3, 16, 8, 8)])

    single_and_double(build)


def test_tiles_are_nearly_as_exact_as_sums():
    """The root of the mean square of the errors is less than 8 times that of Paddle's single precision."""

    def build(dtype):
        make = Maker(6, dtype, rounded=True)
        return one_conv([make.stage(64, 64, 3, padding=1, norm=False)], make.image(4, 64, 16, 16))

    exact = build("float64").plain()
    plain, fused = build("float32").plain(), build("float32").fused()
    for name, want in exact.items():
        distance = [np.linalg.norm(found[name] - want) / np.linalg.norm(want) for found in (plain, fused)]
        assert distance[1] < 8 * max(distance[0], 2e-7), (name, distance)


# ------------------------------------------------------------------------------------------ together
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("channels, size", [(16, (8, 8)), (5, (6, 7)), (24, (3, 4))])
def test_all_convolutions_of_a_map(channels, size, training):
    linked(Maker(1), 3, channels, size, training).check()


@pytest.mark.parametrize("channels, size", [(16, (8, 8)), (8, (16, 12)), (32, (4, 4)), (48, (8, 4))])
def test_all_convolutions_of_a_map_in_tiles(channels, size):
    single_and_double(lambda dtype: linked(Maker(2, dtype, rounded=True), 5, channels, size), 1e-4)


def test_some_of_the_convolutions_do_not_matter():
    """Their weights have no gradient, and the others the right one; so with a map that needs none."""
    make = Maker(5)
    plan = Recorder([8, 8])
    used, unused = plan.map(8), plan.map(8)
    for kernel, target, relu in [(3, used, True), (3, unused, True), (1, used, True), (3, used, False)]:
        plan.conv(0, target, [make.stage(8, 8, kernel, padding=kernel // 2, relu=relu)])
    plan.conv(1, used, [make.stage(8, 8, 3, padding=1)])
    inputs = [make.image(3, 8, 6, 6), make.image(3, 8, 6, 6)]
    inputs[1].stop_gradient = True
    Case(plan, plan.finish([used]), inputs).check()


@pytest.mark.parametrize(
    "batch, channels, size", [(1, 16, (8, 8)), (33, 16, (4, 8)), (70, 8, (8, 8)), (7, 48, (12, 4))]
)
def test_any_number_of_threads_in_tiles(batch, channels, size, monkeypatch):
    def found(count):
        monkeypatch.setattr(passes, "thread_count", lambda: count)
        return linked(Maker(9, "float32"), batch, channels, size).fused()

    alone = found(1)
    for count in (2, 3, 5, 8):
        same_bits(found(count), alone)
