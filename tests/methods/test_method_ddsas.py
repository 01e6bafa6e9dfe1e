"""DDSAS in its loop: windows, warm-up, random choices, stages of the space, clipping, what rests, resume."""

import logging

import numpy as np
import paddle
import pytest
from method_runs import KINDS, arrays, assert_equal, batch, build, resumed, search, train

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.bilevel import gradients_or_none
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.optimizers import global_norm

OPTIONS = {"dss_max_ops": 7, "dss_freq": 3}


def masks(method):
    return {kind: mask.copy() for kind, mask in method.space.active.items()}


def same(one, other):
    return all(np.array_equal(one[kind], other[kind]) for kind in KINDS)


def gradients_given_to(optimizer, monkeypatch):
    """Those of the last step, before the optimizer clips or decays them."""
    given = []
    step = optimizer.step

    def recording(gradients, *rest):
        given[:] = [None if g is None else g.clone() for g in gradients]
        step(gradients, *rest)

    monkeypatch.setattr(optimizer, "step", recording)
    return given


# ---------------------------------------------------------------------------------------------------------- windows
def test_a_window_begins_every_few_steps_and_with_every_epoch():
    method = build("ddsas", **OPTIONS)
    booked = []
    for epoch in range(2):
        method.begin_epoch(epoch)
        for step in range(5):
            before, total = masks(method), method.space.total
            train(method, epoch, [step])
            booked.append(method.space.total - total)
            assert booked[-1] or same(before, masks(method)), "the operations stay within a window"
    assert booked == 2 * [1, 0, 0, 1, 0]
    for kind in KINDS:
        # the mask of the last window is not booked yet
        assert method.space.windows[kind].max() <= 4 and (method.space.saliency[kind] > 0).any()


def test_the_space_is_booked_and_chosen_before_both_updates(monkeypatch):
    method = build("ddsas", **OPTIONS)
    calls = []
    for owner, name in (
        (method.space, "update"),
        (method.space, "select"),
        (method, "arch_step"),
        (method, "weight_step"),
    ):
        run = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, name=name, run=run: (calls.append(name), run(*a))[1])
    method.begin_epoch(0)
    train(method, 0, range(2))
    assert calls == ["update", "select", "arch_step", "weight_step", "arch_step", "weight_step"]


def test_random_operations_at_every_step_of_the_warm_up():
    method = build("ddsas", **OPTIONS, arch_start_epoch=1)
    arch, drawn = arrays(method.arch), RandomSource()
    drawn.load_state_dict(method.source.state_dict())
    method.begin_epoch(0)
    seen = []
    for step in range(3):
        assert method.step(batch(step), batch(step + 9)).arch_loss is None
        seen.append(masks(method))
        scores = {kind: drawn.uniform((5, 8)) for kind in KINDS}
        for kind in KINDS:
            assert seen[-1][kind][np.arange(5), scores[kind].argmax(axis=1)].all(), "every edge has its best score"
            assert seen[-1][kind][:, 1:].sum() == 7
    assert not same(seen[0], seen[1]) and not same(seen[1], seen[2])
    assert method.space.total == 1 and not any(table.any() for table in method.space.saliency.values())
    assert all(np.array_equal(arch[name], value.numpy()) for name, value in method.arch.items())

    method.begin_epoch(1)
    assert method.step(batch(3), batch(4)).arch_loss is not None
    assert method.space.total == 2
    for kind in KINDS:
        assert ((method.space.saliency[kind] > 0) == seen[-1][kind]).all(), "the last random window is booked"


@pytest.mark.parametrize("probability, random", [(0.0, 0), (1.0, 4), (0.5, None)])
def test_a_choice_is_random_as_often_as_asked(probability, random, monkeypatch):
    method = build("ddsas", dss_max_ops=7, dss_freq=1, rdss_prob=probability)
    chosen, drawn, start = [], RandomSource(), method.source.state_dict()
    drawn.load_state_dict(start)
    for name in ("select", "select_random"):
        run = getattr(method.space, name)
        monkeypatch.setattr(method.space, name, lambda *a, name=name, run=run: (chosen.append(name), run(*a))[1])
    search(method, [0, 1])
    if probability == 0:
        assert method.source.state_dict() == start, "nothing is drawn where nothing is random"
    if random is None:
        for name in chosen:
            assert (drawn.uniform((1,))[0] < 0.5) == (name == "select_random")
            if name == "select_random":
                drawn.uniform((2, 5, 8))
        assert method.source.state_dict() == drawn.state_dict()
    else:
        assert chosen.count("select_random") == random and len(chosen) == 4
    assert method.space.total == 5, "random windows are booked like the others"


# ----------------------------------------------------------------------------------------------- stages of the space
def test_the_space_grows_at_its_stages_and_only_once():
    method = build("ddsas", **OPTIONS, space_config="space_config_expand", stage_epochs=[0, 1, 3, 4, 5, 6])
    opened = []
    for epoch in range(4):
        for _ in range(2):  # as after a resume within the epoch
            method.begin_epoch(epoch)
        opened.append(int(method.space.available["normal"].any(axis=0).sum()))
        assert method.stage == {3: 0, 4: 1, 5: 2}[opened[-1]]
        train(method, epoch, range(2))
        for kind in KINDS:
            assert not (method.space.active[kind] & ~method.space.available[kind]).any()
    assert opened == [3, 4, 4, 5]
    assert method.spec.primitives[:3] == ("none", "skip_connect", "sep_conv_3x3")


def test_the_space_shrinks_by_saliency_and_closed_operations_rest():
    options = {**OPTIONS, "dss_freq": 1, "space_config": "space_config_shrink", "stage_epochs": [1, 3, 7, 8, 9]}
    method = build("ddsas", **options)
    counts = []
    for epoch in range(4):
        saliency, before = method.space.saliency, method.space.available
        method.begin_epoch(epoch)
        after = method.space.available
        counts.append(method.facts()["available_normal"])
        for kind in KINDS:
            closed = before[kind] & ~after[kind]
            assert closed.sum() == 14 * (epoch in (1, 3)) and after[kind][:, 1:].any(axis=1).all()
            if closed.any():
                # some of the less salient may be spared, as the last ones of their edge
                spared = after[kind] & (saliency[kind] < saliency[kind][closed].max())
                assert (after[kind][:, 1:].sum(axis=1)[spared.any(axis=1)] == 1).all()
        train(method, epoch, range(2))
        for kind in KINDS:
            assert not (method.space.active[kind] & ~method.space.available[kind]).any()
            assert (method.strengths()[kind][~method.space.available[kind]] == 0).all()
    assert counts == [40, 26, 26, 12] and method.stage == 2


@pytest.mark.parametrize("options", [{}, {"rdss_prob": 0.5}, {"stale_gradients": True}], ids=str)
@pytest.mark.parametrize("config, epochs", [("expand", [0, 1, 2, 3, 4, 5]), ("shrink", [1, 2, 3, 4, 5])])
def test_resume_in_the_middle_of_an_epoch(config, epochs, options):
    """Of one in which a stage began, and in the middle of a window."""
    options = {**OPTIONS, **options, "space_config": f"space_config_{config}", "stage_epochs": epochs}
    original = build("ddsas", **options)
    search(original, [0], steps=4)
    original.begin_epoch(1)
    train(original, 1, range(2))
    other = resumed(original, **options)
    other.begin_epoch(1)
    assert other.space.state_dict() == original.space.state_dict()
    for method in (original, other):
        train(method, 1, range(2, 5))
        search(method, [2])
    assert_equal(original, other)
    assert original.space.stage == epochs.index(2) + 1


# ------------------------------------------------------------------------------------------ gradients and optimizers
def test_alphas_and_betas_are_clipped_apart(monkeypatch):
    method = build("ddsas", **OPTIONS, arch_grad_clip=5.0)
    given = gradients_given_to(method.arch_optimizer, monkeypatch)
    large, small = paddle.full([5, 8], 3.0), paddle.full([5, 8], 0.1)
    method.update_arch([large.clone(), large.clone(), small.clone(), small.clone()])
    norms = [float(global_norm(given[i : i + 2])) for i in (0, 2)]
    assert norms == pytest.approx([5.0, 0.1 * np.sqrt(80)], rel=1e-5)

    free = build("ddsas", **OPTIONS)
    given = gradients_given_to(free.arch_optimizer, monkeypatch)
    free.update_arch([large.clone() for _ in range(4)])
    assert all(np.array_equal(g.numpy(), large.numpy()) for g in given)


@pytest.mark.parametrize("limit", [0.01, 0.0])
def test_the_weights_are_clipped_by_the_norm_of_everything(limit, monkeypatch):
    method = build("ddsas", **OPTIONS, clip_with_arch=True, grad_clip=limit)
    method.begin_epoch(0)
    method.move()
    for beta in method.betas.values():  # far from 1e-3, for a gradient of the architecture that counts
        beta.set_value(paddle.linspace(-2, 2, 40).reshape([5, 8]))
    loss, _ = method.loss(batch(1))
    expected = gradients_or_none(loss, [*method.weights.values(), *method.arch.values()])
    weights = expected[: len(method.weights)]
    whole, own = (float(global_norm([g for g in part if g is not None])) for part in (expected, weights))
    assert whole > 1.0001 * own > limit
    given = gradients_given_to(method.weight_optimizer, monkeypatch)
    method.weight_step(batch(1))
    factor = limit / whole if limit else 1.0
    for got, gradient in zip(given, weights, strict=True):
        assert (got is None) == (gradient is None)
        if got is not None:
            np.testing.assert_allclose(got.numpy(), factor * gradient.numpy(), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("stale", [False, True])
def test_what_is_switched_off_rests_or_goes_on_decaying(stale):
    method = build("ddsas", **OPTIONS, stale_gradients=stale)
    method.begin_epoch(0)
    train(method, 0, [0])
    on = masks(method)
    # another operation per edge
    method.space.active = {k: np.eye(8, dtype=bool)[np.where(mask[:, 4], 5, 4)] for k, mask in on.items()}
    off = {kind: on[kind] & ~method.space.active[kind] for kind in KINDS}
    never = {kind: ~on[kind] & ~method.space.active[kind] for kind in KINDS}
    before = arrays(method.weights)
    train(method, 0, [1])
    moved = {name for name, weight in method.weights.items() if not np.array_equal(before[name], weight.numpy())}
    counts = {"off": 0, "never": 0}
    for name in method.weights:
        parts = name.split(".")
        if parts[0] != "cells" or parts[2] != "_ops":
            continue
        kind, place = method.spec.kinds[int(parts[1])], (int(parts[3]), int(parts[5]))
        if off[kind][place]:
            counts["off"] += 1
            assert (name in moved) == stale, name
        elif never[kind][place]:
            counts["never"] += 1
            assert name not in moved, name
    assert min(counts.values()) > 0


def test_normalised_weights_of_all_teach_the_betas_nothing(caplog):
    with caplog.at_level(logging.WARNING, logger="paddle_darts"):
        method = build("ddsas", **OPTIONS, saliency_type="all")
        assert "no_norm" in caplog.text
        caplog.clear()
        free = build("ddsas", **OPTIONS, saliency_type="all", no_norm=True)
        assert not caplog.text
    norms = []
    for one in (method, free):
        one.begin_epoch(0)
        one.move()
        found = gradients_or_none(one.loss(batch(1))[0], list(one.betas.values()))
        norms.append(float(global_norm(found)))
    assert norms[0] < 1e-3 * norms[1], "rounding errors are left"


# --------------------------------------------------------------------------------------------------- noise, derivation
def test_noise_is_drawn_for_every_cell_and_cools_down():
    method = build("ddsas", **OPTIONS, gumbel=True, tau_max=8.0, tau_min=2.0)
    temperatures = []
    for epoch in range(4):
        method.begin_epoch(epoch)
        temperatures.append(method.temperature)
    assert temperatures == pytest.approx([8, 6, 4, 2])
    method.space.select()
    method.supernet.eval()
    assert len({id(mix) for mix in method.mixture()}) == method.spec.layers
    first, second = (method.mixture()[0].ops.numpy() for _ in range(2))
    assert not np.allclose(first, second) and ((first > 0) == method.space.active["normal"]).all()
    plain = build("ddsas", **OPTIONS)
    plain.space.select()
    np.testing.assert_array_equal(plain.mixture()[0].ops.numpy(), plain.mixture()[0].ops.numpy())


def test_the_genotype_is_read_from_saliencies_that_are_available():
    method = build("ddsas", **OPTIONS)
    column = method.spec.primitives.index
    for kind in KINDS:
        method.alphas[kind].set_value(paddle.to_tensor(np.eye(8, dtype="float32")[[column("sep_conv_5x5")] * 5] * 9))
        table = np.zeros((5, 8))
        table[:, column("skip_connect")], table[:, column("dil_conv_3x3")] = 0.2, 0.1
        table[:, column("max_pool_3x3")], table[:, column("none")] = 0.3, 0.9
        method.space.saliency[kind] = table
    method.space.set_columns([column("max_pool_3x3")], False)
    assert {edge.op for kind in KINDS for edge in getattr(method.derive(), kind)} == {"skip_connect"}
    assert method.probabilities()["normal"][:, column("max_pool_3x3")].max() == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dss_max_ops": 4}, "at least 5"),
        ({"dss_freq": 0}, "dss_freq must be at least 1"),
        ({"rdss_prob": 1.5}, "rdss_prob between 0 and 1"),
        ({"tau_min": 0.0}, "tau_min"),
        ({"space_config": "space_config_shrnk"}, "did you mean 'space_config_shrink'"),
        ({"space_config": "space_config_shrink", "stage_epochs": [1, 2]}, "needs 5 epochs"),
        ({"space_config": "space_config_expand", "stage_epochs": [1, 2, 3, 4, 5, 6]}, "starts in epoch 0"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build("ddsas", **{**OPTIONS, **options})
