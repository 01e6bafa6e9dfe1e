"""Every recipe in configs/ is valid, and the network it asks for can be built."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from paddle_darts.data.registry import DATASETS
from paddle_darts.engine.parsing import read_recipe
from paddle_darts.engine.recipes import search_settings, train_settings
from paddle_darts.genotypes import list_genotypes
from paddle_darts.methods import get_method
from paddle_darts.networks import Supernet, SupernetSpec, build_network
from paddle_darts.nn.layers import trainable
from paddle_darts.resources import find_config, resource_dir

ROOT = resource_dir("configs")
SEARCHES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "search").glob("*.yml"))
TRAININGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "train").glob("*.yml"))
#: Classes and channels of the data sets, which are not loaded here.
CLASSES = {"cifar10": (10, 3), "cifar100": (100, 3), "digits": (10, 1), "imagenet": (1000, 3)}


def check_types(settings):
    """Every value has the type of its field (YAML's 5 for 5.0 has become a float, 3e-4 is no text)."""
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        allowed = get_args(hint) or (hint,)
        fits = value in allowed or any(isinstance(a, type) and type(value) is a for a in allowed)
        assert fits or isinstance(value, list), (field.name, value, hint)


def test_all_files_belong_to_a_tool():
    every = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()}
    assert every == {*SEARCHES, *TRAININGS}
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
    if "quickstart" not in recipe:
        assert recipe == f"search/{config.method}_{config.dataset}.yml"

    classes, channels = CLASSES[config.dataset]
    shape = {f.name: getattr(config, f.name) for f in fields(SupernetSpec) if hasattr(config, f.name)}
    spec = SupernetSpec(num_classes=classes, in_channels=channels, **shape)
    assert len(Supernet(spec).cells) == config.layers


@pytest.mark.parametrize("recipe", TRAININGS)
def test_training_recipes(recipe):
    config = train_settings({"config": str(ROOT / recipe), "arch": "DARTS_V2"})
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
        stem=config.stem,
        in_channels=channels,
    )
    assert len(network.cells) == config.layers
    assert any("auxiliary" in name for name in trainable(network)) == config.auxiliary


@pytest.mark.parametrize("name", list_genotypes())
def test_a_recipe_is_found_for_every_genotype(name):
    config = train_settings({"arch": name})
    assert (config.dataset, config.epochs, config.layers) == ("cifar10", 600, 20)


def test_published_recipe_of_darts():
    config, options = search_settings({"method": "darts", "dataset": "cifar10"})
    assert (config.epochs, config.batch_size, config.init_channels, config.layers) == (50, 64, 16, 8)
    assert (options.learning_rate, options.learning_rate_min, options.weight_decay) == (0.025, 0.001, 3e-4)
    assert (options.arch_learning_rate, options.arch_weight_decay, options.grad_clip) == (3e-4, 1e-3, 5)
    assert options.unrolled is False and config.train_portion == 0.5
    training = train_settings({"arch": "DARTS_V2", "dataset": "cifar10"})
    assert (training.batch_size, training.drop_path_prob, training.auxiliary_weight) == (96, 0.2, 0.4)
    assert training.auxiliary and training.cutout and training.cutout_length == 16
