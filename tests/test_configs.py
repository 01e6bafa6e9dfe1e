"""Every recipe in configs/ is valid, and the network it asks for can be built."""

import re
from dataclasses import fields, replace
from pathlib import PurePath
from typing import get_args, get_type_hints

import pytest

from paddle_darts.data.registry import DATASETS
from paddle_darts.engine.parsing import read_recipe
from paddle_darts.engine.recipes import search_settings, train_settings
from paddle_darts.genotypes import entry, list_genotypes
from paddle_darts.methods import METHODS, get_method
from paddle_darts.methods.gradient import GradientMethod
from paddle_darts.networks import SupernetSpec, build_network
from paddle_darts.nn.drop import RandomSource
from paddle_darts.nn.layers import trainable
from paddle_darts.resources import find_config, resource_dir
from paddle_darts.spaces.nas_bench_201 import cells_per_group

ROOT = resource_dir("configs")
SEARCHES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "search").glob("*.yml"))
LEADERBOARDS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "leaderboard").glob("*.yml"))
TRAININGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "train").glob("*.yml"))
#: The methods that search in a supernet; for the others there is nothing published to repeat.
SUPERNET_METHODS = [name for name, method in METHODS.items() if issubclass(method, GradientMethod)]
#: Classes and channels of the data sets, which are not loaded here.
CLASSES = {
    "cifar10": (10, 3),
    "cifar100": (100, 3),
    "digits": (10, 1),
    "imagenet": (1000, 3),
    "imagenet16-120": (120, 3),
}


def check_types(settings):
    """Every value has the type of its field (YAML's 5 for 5.0 has become a float, 3e-4 is no text)."""
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        allowed = [one for choice in get_args(hint) or (hint,) for one in get_args(choice) or (choice,)]
        fits = value in allowed or any(isinstance(a, type) and type(value) is a for a in allowed)
        assert fits or isinstance(value, list), (field.name, value, hint)


def test_all_files_belong_to_a_tool():
    every = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()}
    assert every == {*SEARCHES, *TRAININGS, *LEADERBOARDS}
    assert "search/quickstart.yml" in every and "train/quickstart.yml" in every


@pytest.mark.parametrize("recipe", SEARCHES)
def test_search_recipes(recipe):
    config, options = search_settings({"config": str(ROOT / recipe)})
    given = read_recipe(recipe)
    for name, value in given.items():
        owner = config if hasattr(config, name) else options
        assert getattr(owner, name) == value, name
    check_types(config)
    check_types(options)
    assert isinstance(options, get_method(config.method).options_class)
    assert config.dataset in DATASETS
    assert config.retrain is None or find_config(config.retrain) is not None
    assert belongs_to(recipe, config.method, config.dataset, config.space)

    classes, channels = CLASSES[config.dataset]
    shape = {f.name: getattr(config, f.name) for f in fields(SupernetSpec) if hasattr(config, f.name)}
    shape["stem"] = config.stem or "cifar"
    spec = SupernetSpec(num_classes=classes, in_channels=channels, **shape)
    method_class = get_method(config.method)
    # a whole method, for some settings only fit together in it: epochs and decisions, stages, channels and their parts
    method = method_class(spec, options, method_class.total_epochs(options, config.epochs), RandomSource(config.seed))
    assert len(method.supernet.cells) == config.layers


def belongs_to(recipe, method, dataset, space):
    """Whether the file is named after what is in it: <method>_<space>_<dataset>, with a variant between or behind.

    The space is left out where it is that of DARTS.
    """
    name = PurePath(recipe).stem
    if name.startswith("quickstart"):
        variant = space if method == "darts" and space != "darts" else method
        return dataset == "digits" and name == ("quickstart" if variant == "darts" else f"quickstart_{variant}")
    if not name.startswith(f"{method}_") or ("nas_bench_201" in name) != (space == "nas_bench_201"):
        return False
    return dataset in name.removeprefix(f"{method}_").split("_")


@pytest.mark.parametrize("recipe", TRAININGS)
def test_training_recipes(recipe):
    config = train_settings({"config": str(ROOT / recipe), "arch": a_cell_of(recipe)})
    for name, value in read_recipe(recipe).items():
        assert getattr(config, name) == value, name
    check_types(config)
    assert config.dataset in DATASETS
    classes, channels = CLASSES[config.dataset]
    network = build_network(
        config.arch,
        classes,
        config.init_channels,
        config.layers,
        config.auxiliary,
        stem=config.stem or "cifar",
        in_channels=channels,
    )
    assert len(network.cells) == config.layers
    assert any("auxiliary" in name for name in trainable(network)) == config.auxiliary


def a_cell_of(recipe):
    """A published cell of the family that the recipe is for."""
    family = PurePath(recipe).stem.rpartition("_")[0]
    return next((name for name in list_genotypes() if entry(name).family == family), "DARTS_V2")


@pytest.mark.parametrize("name", list_genotypes())
def test_a_recipe_is_found_for_every_genotype(name):
    config = train_settings({"arch": name})
    expected = (600, 20) if entry(name).genotype.space == "darts" else (200, 17)
    assert (config.dataset, config.epochs, config.layers) == ("cifar10", *expected)


@pytest.mark.parametrize("name", [name for name in list_genotypes() if entry(name).genotype.space == "darts"])
def test_every_genotype_has_an_imagenet_recipe(name):
    config = train_settings({"arch": name, "dataset": "imagenet"})
    assert (config.stem, config.epochs, config.layers, config.weight_decay) == ("imagenet", 250, 14, 3e-5)
    assert config.auxiliary and config.color_jitter and not config.cutout
    assert (config.label_smooth, config.drop_path_prob) == (0.1, 0)


@pytest.mark.parametrize("method", SUPERNET_METHODS)
def test_every_method_has_recipes_and_a_quick_start(method):
    for name in (f"{method}_cifar10", f"{method}_nas_bench_201_cifar10"):
        assert f"search/{name}.yml" in SEARCHES
    assert ("search/quickstart.yml" if method == "darts" else f"search/quickstart_{method}.yml") in SEARCHES


#: The CIFAR-10 recipes of the papers' own space.
DARTS_SPACE = [name for name in SEARCHES if "cifar10" in re.split("[_.]", name) and "nas_bench_201" not in name]


@pytest.mark.parametrize("recipe", DARTS_SPACE)
def test_defaults_of_a_method_are_its_recipe(recipe):
    """Whoever leaves the recipes aside, as from Python, gets the published settings of the method all the same."""
    config, options = search_settings({"config": recipe})
    plain = get_method(config.method).options_class()
    varied = {"use_history", "decision_freq", "space_config", "max_skip_connect"}
    assert replace(options, **{f: getattr(plain, f) for f in varied if hasattr(plain, f)}) == plain


def search_of(method, dataset, **settings):
    config, options = search_settings({"method": method, "dataset": dataset, **settings})
    return {**vars(config), **vars(options)}


#: What the papers' authors run, by --method and --dataset alone.
PUBLISHED = {
    ("darts", "cifar10"): {
        "epochs": 50, "batch_size": 64, "init_channels": 16, "layers": 8, "learning_rate": 0.025,
        "learning_rate_min": 0.001, "weight_decay": 3e-4, "grad_clip": 5, "arch_learning_rate": 3e-4,
        "arch_weight_decay": 1e-3, "unrolled": False, "train_portion": 0.5, "seed": 2,
    },
    ("pc_darts", "cifar10"): {
        "epochs": 50, "batch_size": 256, "learning_rate": 0.1, "learning_rate_min": 0, "arch_learning_rate": 6e-4,
        "arch_start_epoch": 15, "partial_channels": 4, "arch_grad_clip": 0,
    },
    ("pc_darts", "imagenet"): {
        "stem": "imagenet", "epochs": 50, "batch_size": 1024, "learning_rate": 0.5, "warmup_epochs": 5,
        "arch_learning_rate": 6e-3, "arch_grad_clip": 5, "arch_start_epoch": 35, "partial_channels": 2,
    },
    ("p_darts", "cifar10"): {
        "epochs": 25, "batch_size": 96, "layers": 5, "add_layers": [0, 6, 12], "dropout_rate": [0.1, 0.4, 0.7],
        "num_to_drop": [3, 2], "arch_start_epoch": 10, "arch_grad_clip": 5, "max_skip_connect": 2, "mean": None,
    },
    ("p_darts", "cifar100"): {"dropout_rate": [0.1, 0.2, 0.3], "mean": [0.5071, 0.4867, 0.4408]},
    ("fair_darts", "cifar10"): {
        "epochs": 50, "batch_size": 128, "learning_rate": 0.005, "arch_learning_rate": 3e-3, "aux_loss_weight": 10,
        "sep_loss": "l2", "op_threshold": 0.85, "parse_method": "threshold_sparse",
    },
    ("sgas", "cifar10"): {
        "epochs": 50, "batch_size": 64, "batch_increase": 8, "warmup_dec_epoch": 9, "decision_freq": 5,
        "use_history": False,
    },
    ("dr_nas", "cifar10"): {
        "epochs": 50, "init_channels": 36, "layers": 20, "learning_rate": 0.1, "ks": [6, 4], "keeps": [7, 4],
        "reg_scale": 1e-3, "arch_weight_decay": 0, "arch_start_epoch": 10,
    },
    ("dr_nas", "imagenet"): {
        "stem": "imagenet", "batch_size": 512, "init_channels": 48, "layers": 14, "learning_rate": 0.5, "ks": [6, 3],
        "warmup_epochs": 5, "arch_learning_rate": 6e-3, "arch_grad_clip": 5, "seed": 0,
    },
    ("ddsas", "cifar10"): {
        "epochs": 50, "space_config": "space_config_static", "dss_max_ops": 28, "dss_freq": 30, "confidence": 1.44,
        "saliency_type": "simple", "seed": 0,
    },
    ("ddsas", "imagenet"): {
        "stem": "imagenet", "epochs": 60, "batch_size": 512, "space_config": "space_config_imagenet",
        "arch_grad_clip": 5, "clip_with_arch": True,
    },
    ("gdas", "cifar10"): {"epochs": 240, "weight_decay": 5e-4, "nesterov": True, "tau_max": 10, "tau_min": 0.1},
}  # fmt: skip


@pytest.mark.parametrize(("method", "dataset"), PUBLISHED)
def test_published_searches(method, dataset):
    found = search_of(method, dataset)
    expected = PUBLISHED[method, dataset]
    assert {name: found[name] for name in expected} == expected


#: What all searches in the space of the benchmark have, and what those on the parts of NATS-Bench have besides.
SPACE_201 = {
    "space": "nas_bench_201", "dataset": "cifar10", "init_channels": 16, "steps": 3, "multiplier": 1, "affine": False,
    "arch_learning_rate": 3e-4, "momentum": 0.9,
}  # fmt: skip
NATS = {
    "split": "nats", "mean": [0.49137255, 0.48235294, 0.44666667], "std": [0.24705882, 0.24352941, 0.26156863],
}  # fmt: skip
AUTODL = {
    **SPACE_201, **NATS, "layers": 17, "batch_size": 64, "learning_rate": 0.025, "learning_rate_min": 0.001,
    "nesterov": True, "weight_decay": 5e-4, "arch_weight_decay": 1e-3, "arch_start_epoch": 0,
    "track_running_stats": False, "max_skip_connect": None, "weights_first": True,
}  # fmt: skip
DR_NAS_201 = {
    **SPACE_201, "split": None, "train_portion": 0.5, "mean": None, "layers": 17, "epochs": 100, "batch_size": 64,
    "learning_rate": 0.025, "learning_rate_min": 0.001, "nesterov": False, "weight_decay": 3e-4, "grad_clip": 5,
    "clip_with_arch": True, "reg_type": "l2", "reg_scale": 1e-3, "arch_weight_decay": 0, "track_running_stats": True,
}  # fmt: skip
#: What the authors of a method, or of the benchmark, run in its space.
PUBLISHED_201 = {
    "darts": {**AUTODL, "epochs": 100, "grad_clip": 0, "unrolled": False},
    "gdas": {**AUTODL, "epochs": 250, "grad_clip": 5, "tau_max": 10, "tau_min": 0.1},
    "dr_nas": {**DR_NAS_201, "ks": [1], "keeps": [5], "arch_start_epoch": 0},
    "dr_nas_progressive": {**DR_NAS_201, "ks": [4, 2], "keeps": [5, 3], "stage_epochs": [], "arch_start_epoch": 10},
}
#: Where nothing is published the settings on CIFAR-10 in the space of DARTS hold, but for these.
OURS_201 = {
    "pc_darts": {"layers": 17},
    "p_darts": {"num_to_drop": [2, 1]},
    "fair_darts": {"layers": 17, "fallback": "darts"},
    "sgas": {"layers": 17, "decision_freq": 7},
    "ddsas": {"layers": 17, "dss_max_ops": 12},
}
#: Settings that the space decides.
OF_THE_SPACE = {"space", "steps", "multiplier", "stem_multiplier", "track_running_stats"}


def test_every_method_is_published_in_nas_bench_201_or_ours():
    assert {*PUBLISHED_201, *OURS_201} == {*SUPERNET_METHODS, "dr_nas_progressive"}


@pytest.mark.parametrize("name", PUBLISHED_201)
def test_published_searches_in_nas_bench_201(name):
    config, options = search_settings({"config": f"search/{name}_nas_bench_201_cifar10.yml"})
    found, expected = {**vars(config), **vars(options)}, PUBLISHED_201[name]
    assert {key: found[key] for key in expected} == expected
    if name in METHODS:
        assert search_of(name, "cifar10", space="nas_bench_201") == found


@pytest.mark.parametrize("method", [name for name in METHODS if name not in SUPERNET_METHODS])
def test_candidates_are_trained_as_in_the_benchmark(method):
    """Its short runs: 12 epochs, each rate from a cosine to 0; all else as for the tables."""
    found, options = search_settings({"config": f"search/{method}_12_epochs_nas_bench_201_cifar10.yml"})
    training = train_settings({"config": "train/nas_bench_201_cifar10.yml", "arch": "CDARTS_NATS_1"})
    for name in ("batch_size", "init_channels", "layers", "mean", "std", "cutout"):
        assert getattr(found, name) == getattr(training, name), name
    for name in ("learning_rate", "learning_rate_min", "momentum", "nesterov", "weight_decay", "grad_clip"):
        assert getattr(options, name) == getattr(training, name), name
    assert (found.space, found.split, options.candidate_epochs, found.epochs) == ("nas_bench_201", "nats", 12, 1200)


@pytest.mark.parametrize("method", OURS_201)
def test_our_searches_in_nas_bench_201(method):
    """Not one setting was chosen by what it gives."""
    found, plain = search_of(method, "cifar10", space="nas_bench_201"), search_of(method, "cifar10")
    differing = {key: value for key, value in found.items() if value != plain[key] and key not in OF_THE_SPACE}
    assert differing == {**OURS_201[method], **NATS}
    assert found["track_running_stats"] is False and found["layers"] + max(found.get("add_layers", [0])) == 17


@pytest.mark.parametrize("method", SUPERNET_METHODS)
@pytest.mark.parametrize("dataset", ["cifar100", "imagenet16-120", "digits"])
def test_other_data_take_the_recipe_without_what_is_said_of_its_images(method, dataset):
    found, plain = (search_of(method, data, space="nas_bench_201") for data in (dataset, "cifar10"))
    assert {key: found[key] for key in found if found[key] != plain[key]} == {
        "dataset": dataset,
        **{key: None for key in NATS if plain[key] is not None},
    }


def test_stages_in_nas_bench_201():
    """P-DARTS: 1, 3 and 5 cells per group over 5, 3 and 2 operations. SGAS: six decisions, and 5 epochs after them."""
    found = search_of("p_darts", "cifar10", space="nas_bench_201")
    layers = [found["layers"] + more for more in found["add_layers"]]
    assert [cells_per_group(count) for count in layers] == [1, 3, 5]
    assert [5 - sum(found["num_to_drop"][:stage]) for stage in range(3)] == [5, 3, 2]
    found = search_of("sgas", "cifar10", space="nas_bench_201")
    last = found["warmup_dec_epoch"] + 5 * found["decision_freq"]
    assert (last, found["epochs"]) == (44, 50)


@pytest.mark.parametrize(
    ("arch", "dataset", "expected"),
    [
        ("DARTS_V2", "cifar10", (96, 36, 0.025, 0.2)),
        ("PC_DARTS_cifar", "cifar10", (96, 36, 0.025, 0.3)),
        ("PDARTS", "cifar10", (128, 36, 0.025, 0.3)),
        ("FairDARTS_a", "cifar10", (128, 36, 0.025, 0.2)),
        ("Cri1_CIFAR_Best", "cifar10", (96, 36, 0.025, 0.2)),
        ("DrNAS_cifar10", "cifar10", (64, 36, 0.025, 0.3)),
        ("DDSAS_cifar100", "cifar100", (96, 36, 0.025, 0.2)),
        ("DARTS_V2", "imagenet", (128, 48, 0.1, 0)),
        ("PC_DARTS_image", "imagenet", (1024, 48, 0.5, 0)),
        ("Cri2_ImageNet_Best", "imagenet", (1024, 48, 0.5, 0)),
        ("DrNAS_imagenet", "imagenet", (768, 48, 0.5, 0)),
        ("DDSAS_imagenet", "imagenet", (1024, 46, 0.5, 0)),
    ],
)
def test_published_trainings(arch, dataset, expected):
    found = train_settings({"arch": arch, "dataset": dataset})
    assert (found.batch_size, found.init_channels, found.learning_rate, found.drop_path_prob) == expected
    assert found.auxiliary and found.auxiliary_weight == 0.4
    assert (found.cutout, found.cutout_length) == (dataset != "imagenet", 16)
