"""The supernets of DrNAS on the space of NAS-Bench-201, mixed by all of its species."""

from __future__ import annotations

from golden import Golden, precision
from reading import check_criterion, read_batch, read_spec_201
from recorded import RecordedDraws
from registry import replays
from replay_dr_nas import build_dr_nas, check_dr_nas_state, check_pass, check_sampled_pass, check_sampling

from paddle_darts.genotypes.nas_bench_201 import KIND
from paddle_darts.methods.dr_nas import DrNas
from paddle_darts.methods.parts.gumbel import gdas_mix, gumbel_softmax
from paddle_darts.methods.parts.pruning import masked_softmax
from paddle_darts.networks import CellMix


@replays("supernet_201_", "dr_nas")
def replay_dr_nas_supernet_201(golden: Golden) -> None:
    a = golden.args
    assert a["mode"] in ("train", "eval") and a["arch_names"] == ["arch"]
    check_criterion(a)
    with precision("float64"):
        method = build_dr_nas(golden, read_spec_201(a), [golden.input("arch")])
        method.supernet.train() if a["mode"] == "train" else method.supernet.eval()
        check_architecture(golden, method)
        arch = {"arch": method.alphas[KIND]}
        if a["species"] == "dirichlet":
            check_sampling(a)
            check_sampled_pass(golden, method, {KIND: "sample"}, arch)
        else:
            mix = [sampled_mix(golden, method)] * len(method.spec.kinds)
            check_pass(golden, method, read_batch(golden), mix, method.penalty(), arch)
        check_dr_nas_state(golden, "after", method)


def check_architecture(golden: Golden, method: DrNas) -> None:
    """What is made of the matrix before anything is drawn, and the sizes."""
    alpha, mask, recorded = method.alphas[KIND], method.masks[KIND], golden.meta.get("n_params")
    for key, value in (("arch_used", alpha), ("softmax", masked_softmax(alpha, mask)), ("mask", mask)):
        assert (key in golden) or key != "mask" or mask is None
        if key in golden:
            golden.check(key, value)
    if "arch" in golden.meta:
        assert str(method.derive()) == golden.meta["arch"]
    if mask is None:  # else ours has no pruned candidates
        assert recorded in (None, sum(weight.size for weight in method.weights.values()))


def sampled_mix(golden: Golden, method: DrNas) -> CellMix:
    """The weights of one of the baselines that the authors' program has beside the Dirichlet samples."""
    a = golden.args
    species, alpha, mask = a["species"], method.alphas[KIND], method.masks[KIND]
    assert a["hard"] == (species == "gdas")
    if species == "softmax":
        return CellMix(masked_softmax(alpha, mask), active=mask)
    assert a["gumbel"] == "g = -log(gumbel_exponential)"
    source = RecordedDraws(exponential=[golden.input("gumbel_exponential")])
    if species == "gumbel":
        mix = CellMix(gumbel_softmax(alpha, a["tau"], source, mask), active=mask)
    else:
        assert species == "gdas" and mask is None, f"no replay of the species {species!r}"
        mix = gdas_mix(alpha, a["tau"], source)
    assert source.exhausted()
    return mix
