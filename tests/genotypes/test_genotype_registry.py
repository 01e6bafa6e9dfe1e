"""The registry holds every published cell, and `genotype` finds one wherever it is."""

import json
from pathlib import Path

import pytest

from paddle_darts.errors import GenotypeError
from paddle_darts.genotypes import (
    Genotype,
    entry,
    format_genotype,
    genotype,
    genotype_document,
    list_genotypes,
    parse_genotype,
)
from paddle_darts.resources import resource_dir

GOLDENS = Path(__file__).parents[1] / "goldens"
NAMES = list_genotypes()
CARDS = json.loads((GOLDENS / "p_darts" / "genotypes.json").read_text())["model_card_cifar10"]


def published():
    for family in ("darts", "pc_darts", "p_darts"):
        table = json.loads((GOLDENS / family / "genotypes.json").read_text())
        for name, cells in table["genotypes"].items():
            yield name, cells
        for alias, name in table.get("aliases", {}).items():
            yield alias, table["genotypes"][name]
    for family in ("fair_darts", "sgas", "dr_nas", "ddsas"):
        table = json.loads((GOLDENS / family / "genotypes.json").read_text())
        for name, cells in table.items():
            if not name.startswith("_"):
                yield name, cells
        for alias, name in table.get("_aliases", {}).items():
            while name in table["_aliases"]:
                name = table["_aliases"][name]
            yield alias, table[name]
    for name, cells in json.loads((GOLDENS / "fair_darts" / "genotypes_analysis.json").read_text()).items():
        if not name.startswith("_") and len(cells["normal"][0]) == 2:  # the others carry a weight per edge
            yield name, cells
    for card in CARDS:
        yield f"PDARTS_CARD_SEED{card['random_seed']}", card["flat"]


@pytest.mark.parametrize("name, cells", list(published()), ids=lambda value: value if isinstance(value, str) else "")
def test_published_cells_are_in_the_registry(name, cells):
    assert genotype(name).to_dict() == {key: cells[key] for key in genotype(name).to_dict()}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"seed{card['random_seed']}")
def test_model_cards_in_their_own_notation(card):
    nested = {"normal": card["normal_nested"], "reduce": card["reduce_nested"]}
    one = Genotype.from_dict({**nested, "normal_concat": range(2, 6), "reduce_concat": range(2, 6)})
    assert one == genotype(f"PDARTS_CARD_SEED{card['random_seed']}") and one.contains_none
    (report,) = entry(f"PDARTS_CARD_SEED{card['random_seed']}").reported
    assert (report.top1, report.top5) == (card["supernet_top1"], card["supernet_top5"])
    assert report.network == "supernet"


@pytest.mark.parametrize("family", ["fair_darts", "sgas", "dr_nas", "ddsas"])
def test_full_sizes_are_the_recorded_ones(family):
    table = json.loads((GOLDENS / family / "genotypes.json").read_text())
    checked = 0
    for name, cells in table.items():
        for size in cells.get("full_size", ()) if not name.startswith("_") else ():
            data = size["dataset"] if size["dataset"] == "imagenet" else f"cifar{size['num_classes']}"
            network = f"{data}_C{size['init_channels']}_L{size['layers']}"
            assert entry(name).params[network].no_aux == size["n_params_no_aux"]
            assert entry(name).macs[network].conv_linear == size["macs_conv_linear"]
            checked += 1
    assert checked >= 4


def test_reports_of_sgas_are_its_table():
    published = json.loads((GOLDENS / "sgas" / "genotypes.json").read_text())["_published"]
    assert len(published) == 26
    for name, numbers in published.items():
        dataset = "cifar10" if "CIFAR" in name else "imagenet"
        reports = [r for r in entry(name).reported if r.dataset == dataset]
        error = numbers.get("test_error", numbers.get("top1_error"))
        assert [100 - r.top1 for r in reports] == [pytest.approx(error)]
        network = {"cifar10": "cifar10_C36_L20", "imagenet": "imagenet_C48_L14"}[dataset]
        assert entry(name).params[network].no_aux / 1e6 == pytest.approx(numbers["params_M"], abs=0.0051)


def test_counts_are_the_recorded_ones():
    counts = json.loads((GOLDENS / "darts" / "counts.json").read_text())["counts"]
    assert len(counts) == 7
    for name, networks in counts.items():
        for network, count in networks.items():
            params, macs = entry(name).params[network], entry(name).macs[network]
            assert params == (count["params_no_aux"], count["params_with_aux"])
            assert macs == (count["macs_conv_linear"], count["macs_paper"])


@pytest.mark.parametrize("name", NAMES)
def test_entry(name):
    one = entry(name)
    assert one.name == one.genotype.name == name
    assert one.source and one.dataset in ("cifar10", "cifar100", "imagenet")
    benchmark = one.genotype.space == "nas_bench_201"
    for key in one.keys:
        assert entry(key) is one and entry(key.lower()) is one and genotype(key) is one.genotype
    assert entry(one.full_name) is one
    for style in ("python", "json"):
        assert parse_genotype(format_genotype(one.genotype, style)) == one.genotype
    assert benchmark or one.genotype.sparse == (one.family == "fair_darts")
    for report in one.reported:
        assert report.dataset in ("cifar10", "cifar100", "imagenet16-120" if benchmark else "imagenet") and report.by
        assert (15 if benchmark else 50) < report.top1 < 100 and (
            report.top5 is None or report.top1 < report.top5 < 100
        )
        assert report.network in (None, "supernet", *one.params)
    sizes = set() if benchmark else {"cifar10_C36_L20", "cifar100_C36_L20", "imagenet_C48_L14"}
    assert set(one.params) == set(one.macs) >= sizes


@pytest.mark.parametrize(
    "alias, name",
    [
        ("DARTS", "darts/DARTS_V2"),
        ("PC_DARTS", "pc_darts/PC_DARTS_cifar"),
        ("PCDARTS", "pc_darts/PC_DARTS_cifar"),
        ("pc_darts/PCDARTS", "pc_darts/PC_DARTS_cifar"),
        ("P_DARTS", "p_darts/PDARTS"),
        ("Cri1_ImageNet_Best", "sgas/Cri1_CIFAR_3"),
        ("sgas/Cri2_ImageNet_Best", "sgas/Cri2_CIFAR_4"),
        ("PADDLESLIM_DARTS_V2", "paddleslim/DARTS_PADDLE"),
        ("paddleslim/DARTS_V2", "paddleslim/DARTS_PADDLE"),
        ("paddleslim/DARTS_V1", "paddleslim/PADDLESLIM_DARTS_V1"),
        ("paddleslim/PC_DARTS", "paddleslim/PADDLESLIM_PC_DARTS"),
    ],
)
def test_aliases(alias, name):
    assert entry(alias).full_name == name


def test_the_same_name_of_two_owners_means_two_cells():
    assert genotype("DARTS_V2") != genotype("PADDLESLIM_DARTS_V2") == genotype("DARTS_PADDLE")
    assert genotype("DARTS_V1") != genotype("PADDLESLIM_DARTS_V1")
    assert genotype("PC_DARTS") != genotype("PADDLESLIM_PC_DARTS")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_networks_of_a_family_have_of_their_own(name):
    network, family = genotype(name).network, entry(name).family
    assert network.aux_bn == (family in ("p_darts", "sgas"))
    assert network.pool_bn == (family == "dr_nas")
    assert network.reductions is None


def test_listing():
    assert sorted(NAMES) == NAMES and len(set(NAMES)) == len(NAMES)
    assert "PC_DARTS_cifar" in list_genotypes("*cifar*")
    imagenet = [f"Cri{c}_CIFAR_{i}" for c, i in ((1, 1), (1, 2), (1, 3), (2, 3), (2, 4), (2, 5))]
    assert list_genotypes("*imagenet*") == [*imagenet, "DDSAS_imagenet", "DrNAS_imagenet", "PC_DARTS_image"]
    assert list_genotypes("sgas/cri2_*_best") == ["Cri2_CIFAR_3", "Cri2_CIFAR_4"]
    assert list_genotypes("evolved/*") == ["AmoebaNet", "NASNet"]
    assert list_genotypes("darts_v?") == ["DARTS_V1", "DARTS_V2"]
    assert list_genotypes("nothing") == []


def test_unknown_name_shows_the_nearest():
    for call in (genotype, entry):
        with pytest.raises(GenotypeError, match="unknown genotype 'PCDARTZ'; did you mean 'PCDARTS'"):
            call("PCDARTZ")
    with pytest.raises(GenotypeError, match="did you mean 'darts/DARTS_V"):
        genotype("darts/DARTS_V9")
    for name in ("", "  "):
        with pytest.raises(GenotypeError):
            genotype(name)


@pytest.fixture
def cell():
    return genotype("PDARTS")


def test_a_genotype_and_its_dictionaries(cell):
    assert genotype(cell) is cell
    assert genotype(cell.to_dict()) == cell == genotype(genotype_document(cell))
    with pytest.raises(GenotypeError, match="int"):
        genotype(3)


@pytest.mark.parametrize("as_path", [str, Path])
def test_files_and_runs(cell, tmp_path, as_path):
    (tmp_path / "genotype.json").write_text(json.dumps(genotype_document(cell)))
    (tmp_path / "cell.txt").write_text(f"PDARTS = {cell}\n")
    for path in (tmp_path, tmp_path / "genotype.json", tmp_path / "cell.txt"):
        assert genotype(as_path(path)) == cell
    assert genotype(as_path(tmp_path)).network == cell.network


def test_log_of_an_official_search(cell, tmp_path):
    lines = [f"01/02 03:04:05 AM genotype = {one}\n" for one in (genotype("DARTS_V1"), cell)]
    (tmp_path / "log.txt").write_text("01/02 gpu device = 0\n" + "train 000 1.0\n".join(lines))
    assert genotype(tmp_path) == genotype(tmp_path / "log.txt") == cell


def test_text(cell):
    assert genotype(str(cell)) == cell == genotype(json.dumps(cell.to_dict()))
    with pytest.raises(GenotypeError, match="line 1"):
        genotype(str(cell)[:50])


def test_a_registry_name_wins_over_a_file(cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("DARTS").write_text(str(cell))
    assert genotype("DARTS") == genotype("DARTS_V2")
    assert genotype("./DARTS") == cell == genotype(Path("DARTS"))


@pytest.mark.parametrize("path", ["runs/nothing", "./DARTS", "missing.json", Path("DARTS_V2")])
def test_missing_path_says_so(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenotypeError, match="no such file"):
        genotype(path)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"\xff\xfe\x00", "decode"),
        (b"", "no genotype"),
        (b'{"schema": 1, "space": "darts", "genotype": null, "network": {}}', "recorded as empty"),
        (b'{"schema": 7, "genotype": {}}', "schema 7"),
    ],
)
def test_damaged_files_are_named(content, words, tmp_path):
    (tmp_path / "genotype.json").write_bytes(content)
    for path in (tmp_path, tmp_path / "genotype.json"):
        with pytest.raises(GenotypeError, match=words) as caught:
            genotype(path)
        assert "genotype.json" in str(caught.value)


def test_a_folder_without_a_genotype(tmp_path):
    with pytest.raises(GenotypeError, match="neither"):
        genotype(tmp_path)


@pytest.mark.parametrize("path", sorted(resource_dir("genotypes").glob("*.json")), ids=lambda path: path.stem)
def test_a_data_file_is_one_family(path):
    assert json.loads(path.read_text("utf-8"))["family"] == path.stem
