"""The registry with PaddleSlim's verbs, and the two abstract controllers."""

import pytest

from paddle_darts.controllers import RLCONTROLLER, EvolutionaryController, Registry, RLBaseController
from paddle_darts.errors import ConfigError


def test_classes_are_registered_under_their_names():
    registry = Registry("SPACES")

    @registry.register
    class First:
        pass

    @registry.register("second")
    class Second:
        pass

    assert registry.get("First") is registry["First"] is First and registry.get("second") is Second
    assert registry.get("Second") is None
    assert list(registry) == ["First", "second"] and len(registry) == 2 and "First" in registry
    assert registry.module_dict == {"First": First, "second": Second}
    registry.module_dict.clear()
    assert len(registry) == 2 and "SPACES" in repr(registry)


def test_a_taken_name_is_an_error():
    registry = Registry("SPACES")
    registry.register("one")(int)
    with pytest.raises(KeyError, match="'one' is already registered in SPACES"):
        registry.register("one")(float)
    assert registry["one"] is int
    with pytest.raises(TypeError, match="registers classes"):
        registry.register("two")(3)


def test_an_unknown_name_names_the_nearest():
    registry = Registry("SPACES")
    registry.register("NB201Space")(int)
    with pytest.raises(ConfigError, match="unknown entry of SPACES 'NB201Spac'; did you mean 'NB201Space'"):
        registry["NB201Spac"]


def test_the_abstract_controllers_cannot_be_made():
    for base in (EvolutionaryController, RLBaseController):
        with pytest.raises(TypeError, match="abstract"):
            base()
    assert RLCONTROLLER.name == "RLCONTROLLER" and issubclass(RLCONTROLLER["LSTM"], RLBaseController)


def test_a_policy_has_its_weights_under_paddleslims_names():
    class Policy(RLBaseController):
        def __init__(self):
            self.weights = {"w": 1.0}

        def next_tokens(self):
            return [0]

        def update(self, rewards):
            self.weights["w"] += rewards

        def state_dict(self):
            return dict(self.weights)

        def load_state_dict(self, state):
            self.weights = dict(state)

    policy, other = Policy(), Policy()
    policy.update(2.0)
    other.set_params(policy.get_params())
    assert other.weights == {"w": 3.0}
