"""What the server answers, without sockets and with a clock of our own."""

from __future__ import annotations

import json

import pytest
from controller_remote_parts import BookKeeper, digits
from hypothesis import given, settings
from hypothesis import strategies as st

from paddle_darts.controllers import RandomController, SAController
from paddle_darts.controllers.remote.service import ControllerService
from paddle_darts.errors import ConfigError

LEASE = 10.0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Desk:
    """A service with one method per op."""

    def __init__(self, controller=None, search_steps=None, **options):
        self.clock, self.controller = Clock(), controller or BookKeeper()
        options = {"lease_s": LEASE, "max_open": 5, "clock": self.clock, **options}
        self.service = ControllerService(self.controller, search_steps=search_steps, **options)
        self.requests = 0

    def connect(self, name="a"):
        return self.service.connect(name)

    def ask(self, session, op, **fields):
        answer = self.service.answer(session, {"op": op, **fields})
        json.dumps(answer, allow_nan=False)
        return answer

    def request(self):
        self.requests += 1
        return f"request {self.requests}"

    def take(self, session):
        answer = self.ask(session, "next_tokens", request=self.request())
        assert answer["ok"], answer
        return answer

    def score(self, session, taken, reward=1.0, **fields):
        fields = {"proposal": taken["proposal"], "request": self.request(), "iter": 1, **fields}
        return self.ask(session, "update", tokens=taken["tokens"], reward=reward, **fields)["counted"]


def test_a_proposal_is_scored_once():
    desk = Desk()
    a = desk.connect()
    taken = desk.take(a)
    assert taken["tokens"] == digits(0)
    assert desk.score(a, taken)
    assert not desk.score(a, taken)
    desk.controller.assert_each_scored_once(1)


def test_the_repetition_of_a_request_gets_the_same_answer():
    desk = Desk()
    a = desk.connect()
    first = desk.ask(a, "next_tokens", request="r")
    assert desk.ask(a, "next_tokens", request="r") == first
    assert desk.score(a, first, request="u") and desk.score(a, first, request="u")
    assert desk.controller.made == 1
    desk.controller.assert_each_scored_once(1)


def test_a_lost_client_s_proposals_go_to_the_next_one_at_once_oldest_first():
    desk = Desk()
    a, b = desk.connect("a"), desk.connect("b")
    one, two = desk.take(a), desk.take(a)
    desk.service.disconnect(a)
    assert desk.take(b) == one
    assert desk.take(b) == two
    assert desk.take(b)["tokens"] == digits(2)


def test_a_lease_ends_after_its_time_and_the_late_score_still_counts_once():
    desk = Desk()
    a, b = desk.connect("a"), desk.connect("b")
    taken = desk.take(a)
    desk.clock.now = LEASE - 0.1
    assert desk.take(b)["proposal"] != taken["proposal"]
    desk.clock.now = LEASE
    assert desk.take(b) == taken
    assert desk.score(a, taken, 0.5)  # late, but the first
    assert not desk.score(b, taken, 0.6)
    assert desk.controller.scores == [(tuple(taken["tokens"]), 0.5)]


def test_ping_renews_the_own_leases_only():
    desk = Desk()
    a, b = desk.connect("a"), desk.connect("b")
    mine, theirs = desk.take(a), desk.take(b)
    desk.clock.now = LEASE - 1
    names = [mine["proposal"], theirs["proposal"], "unknown"]
    assert desk.ask(a, "ping", proposals=names)["renewed"] == 1
    desk.clock.now = LEASE
    assert desk.take(a) == theirs
    assert desk.take(a)["tokens"] == digits(2)


def test_after_a_new_connection_ping_takes_the_proposals_back():
    desk = Desk()
    a = desk.connect("a")
    taken = desk.take(a)
    desk.service.disconnect(a)
    again, b = desk.connect("a"), desk.connect("b")
    assert desk.ask(again, "ping", proposals=[taken["proposal"]])["renewed"] == 1
    assert desk.take(b)["tokens"] == digits(1)


def test_the_last_step_is_waited_for():
    desk = Desk(search_steps=2)
    a, b, c = (desk.connect(name) for name in "abc")
    one, two = desk.take(a), desk.take(b)
    assert "wait" in desk.take(c)
    assert desk.score(a, one)
    assert "wait" in desk.take(a)
    desk.service.disconnect(b)
    assert desk.take(c) == two
    assert desk.score(c, two)
    assert desk.service.done
    assert desk.take(a)["done"] is True
    desk.controller.assert_each_scored_once(2)


def test_a_client_never_waits_for_itself():
    desk = Desk(search_steps=1)
    a = desk.connect()
    assert desk.take(a)["proposal"] != desk.take(a)["proposal"]


def test_after_the_last_step_only_what_is_out_counts():
    desk = Desk(search_steps=1)
    a = desk.connect()
    one, two = desk.take(a), desk.take(a)
    assert desk.score(a, one) and desk.score(a, two)
    stray = {"op": "update", "tokens": digits(7), "reward": 1.0, "request": "x"}
    assert desk.service.answer(a, stray) == {"ok": True, "counted": False}
    desk.controller.assert_each_scored_once(2)


def test_tokens_that_were_never_proposed_count_once():
    desk = Desk()
    a = desk.connect()
    stray = {"op": "update", "tokens": digits(7), "reward": 1.0}
    assert [desk.service.answer(a, {**stray, "request": name})["counted"] for name in "xy"] == [True, False]


def test_a_score_without_the_proposal_s_id_finds_it():
    desk = Desk()
    a = desk.connect()
    taken = desk.take(a)
    assert desk.score(a, taken, proposal=None)
    assert desk.ask(a, "current_info")["outstanding"] == 0


def test_a_skipped_proposal_is_never_handed_out_again():
    desk = Desk()
    a = desk.connect()
    taken = desk.take(a)
    assert desk.ask(a, "skip", tokens=taken["tokens"], proposal=taken["proposal"])["dropped"] is True
    assert desk.ask(a, "skip", tokens=taken["tokens"], proposal=taken["proposal"])["dropped"] is False
    desk.service.disconnect(a)
    assert desk.take(desk.connect("b"))["tokens"] == digits(1)


def test_a_hoarder_is_told_to_stop():
    desk = Desk(max_open=3)
    a = desk.connect()
    for _ in range(3):
        desk.take(a)
    answer = desk.ask(a, "next_tokens", request="r")
    assert not answer["ok"] and "3 proposals" in answer["error"]
    assert desk.take(desk.connect("b"))["tokens"] == digits(3)


def test_the_controller_hears_of_the_clients_by_name_and_of_their_steps():
    desk = Desk()
    a, again = desk.connect("a"), desk.connect("a")
    desk.score(a, desk.take(a), iter=4)
    desk.connect("b")
    desk.score(again, desk.take(again), iter=None)
    assert desk.controller.client_nums == [1, 2]
    assert desk.controller.iters == [4, None]


def test_current_info_is_json_also_before_the_first_score():
    desk = Desk()
    a = desk.connect()
    expected = {"best_tokens": None, "best_reward": None, "current_tokens": None}
    info = desk.ask(a, "current_info")
    assert info == {"ok": True, **expected, "steps": 0, "outstanding": 0, "clients": 1}
    desk.score(a, desk.take(a), 0.25)
    info = desk.ask(a, "current_info")
    assert (info["best_tokens"], info["best_reward"], info["steps"]) == (digits(0), 0.25, 1)


@pytest.mark.parametrize("controller", [RandomController, SAController])
def test_an_exhausted_space_is_told_unless_something_may_come_back(controller):
    desk = Desk(controller(range_table=[2], max_try_times=200, seed=0))
    a, b = desk.connect("a"), desk.connect("b")
    one, two = desk.take(a), desk.take(b)
    assert "wait" in desk.take(a)
    desk.score(a, one), desk.score(b, two)
    answer = desk.ask(a, "next_tokens", request="r")
    assert (answer["ok"], answer["kind"]) == (False, "exhausted")


class Broken(BookKeeper):
    def update(self, *args, **kwargs):
        raise KeyError("a fault")


def test_a_fault_of_the_controller_loses_nothing():
    desk = Desk(Broken())
    a = desk.connect()
    taken = desk.take(a)
    answer = desk.ask(a, "update", tokens=taken["tokens"], reward=1.0, request="u", proposal=taken["proposal"])
    assert (answer["ok"], answer["kind"]) == (False, "internal")
    desk.service.disconnect(a)
    assert desk.take(desk.connect("b")) == taken
    assert desk.service.steps == 0


def test_nothing_is_lost_over_a_restart():
    old = Desk(search_steps=4)
    a = old.connect()
    scored, first, second = old.take(a), old.take(a), old.take(a)
    old.score(a, scored, request="u")
    state = json.loads(json.dumps(old.service.state_dict()))
    new = Desk(search_steps=4)
    new.service.load_state_dict(state)
    a, b = new.connect("a"), new.connect("b")
    assert new.score(a, scored, request="u")  # the answer was lost: told again, not counted again
    assert not new.score(a, scored, request="v")
    assert new.take(b) == first
    assert new.score(a, second)  # by the client that had it before
    assert new.score(b, first)
    assert new.score(b, new.take(b))
    assert new.service.done
    new.controller.assert_each_scored_once(4)


def test_a_score_for_what_a_crash_made_the_server_forget_counts_once():
    old = Desk()
    state = json.loads(json.dumps(old.service.state_dict()))
    forgotten = old.take(old.connect())
    new = Desk()
    new.service.load_state_dict(state)
    a = new.connect()
    assert new.score(a, forgotten) and not new.score(a, forgotten)
    new.controller.assert_each_scored_once(1)


DAMAGE = [{"schema": 2}, {"steps": None}, {"steps": -1}, {"controller": {}}, {"open": [3]}, {"scored": None}]


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_a_damaged_state_is_refused_and_changes_nothing(damage):
    desk = Desk(RandomController(range_table=[5] * 6, seed=0))
    a = desk.connect()
    desk.score(a, desk.take(a))
    desk.take(a)
    before = desk.service.state_dict()
    other = Desk(RandomController(range_table=[5] * 6, seed=1)).service.state_dict()
    with pytest.raises(ConfigError):
        desk.service.load_state_dict({**other, **damage})
    assert desk.service.state_dict() == before
    desk.service.load_state_dict(other)
    assert desk.service.state_dict() == other


def test_a_search_by_annealing_continues_as_if_it_had_not_stopped():
    def run(steps, restart_at=None):
        options = {"range_table": [5] * 6, "init_tokens": [0] * 6, "seed": 3}
        desk = Desk(SAController(**options))
        session = desk.connect()
        for step in range(steps):
            if step == restart_at:
                state = json.loads(json.dumps(desk.service.state_dict()))
                desk = Desk(SAController(**options))
                desk.service.load_state_dict(state)
                session = desk.connect()
            taken = desk.take(session)
            desk.score(session, taken, sum(taken["tokens"]) / 24, iter=step + 1)
        return desk.controller.history

    assert run(30, restart_at=17) == run(30)


WRONG = [
    ("tokens", None), ("tokens", "1,2,3"), ("tokens", [1, 2]), ("tokens", [1, 2, 3, 4]), ("tokens", [0, 0, 100]),
    ("tokens", [0, -1, 0]), ("tokens", [0, 0, 1.0]), ("tokens", [True, 0, 0]), ("tokens", [0, 0, "0"]), ("tokens", []),
    ("tokens", [[0], 0, 0]), ("tokens", {"0": 0}), ("tokens", [0, 0, 10**400]), ("reward", None), ("reward", "1"),
    ("reward", float("nan")), ("reward", float("inf")), ("reward", True), ("reward", [1.0]), ("reward", 10**400),
    ("iter", -1), ("iter", 1.5), ("iter", "1"), ("iter", True), ("request", None), ("request", ""), ("request", 1),
    ("request", "x" * 101), ("proposal", 3), ("proposal", ["x"]), ("op", "eval"), ("op", None), ("op", ["update"]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda part: repr(part)[:30])
def test_wrong_fields_are_refused_and_change_nothing(field, value):
    desk = Desk()
    a = desk.connect()
    desk.take(a)
    before = desk.service.state_dict()
    message = {"op": "update", "tokens": digits(0), "reward": 1.0, "iter": 1, "request": "r"}
    answer = desk.service.answer(a, {**message, field: value})
    assert (answer["ok"], answer["kind"]) == (False, "invalid")
    assert len(json.dumps(answer)) < 500
    assert desk.service.state_dict() == before
    assert desk.service.answer(a, message)["counted"] is True


def test_the_tokens_of_a_proposal_cannot_be_exchanged():
    desk = Desk()
    a = desk.connect()
    taken = desk.take(a)
    answer = desk.ask(a, "update", tokens=digits(5), reward=1.0, request="u", proposal=taken["proposal"])
    assert "not the tokens" in answer["error"]


def test_without_a_range_table_the_first_proposal_gives_the_length():
    class Bare(BookKeeper):
        range_table = None

    desk = Desk(Bare())
    a = desk.connect()
    desk.take(a)
    assert "3" in desk.ask(a, "update", tokens=[1], reward=1.0, request="u")["error"]
    assert desk.ask(a, "update", tokens=[1, 2**31, 0], reward=1.0, request="u")["ok"] is False
    assert desk.ask(a, "update", tokens=[1, 2, 10**6], reward=1.0, request="u")["ok"] is True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)
FIELDS = st.fixed_dictionaries(
    {"op": st.sampled_from(["next_tokens", "update", "skip", "current_info", "ping", "x"])},
    optional=dict.fromkeys(("tokens", "reward", "iter", "request", "proposal", "proposals"), JSON),
)


@settings(max_examples=150, deadline=None)
@given(FIELDS | JSON)
def test_every_json_document_gets_an_answer_in_json(message):
    desk = Desk()
    a = desk.connect()
    taken = desk.take(a)
    answer = desk.service.answer(a, message)
    assert isinstance(answer["ok"], bool)
    assert answer.get("kind") != "internal"
    json.dumps(answer, allow_nan=False)
    assert desk.controller.scores == []  # no such message is a valid score
    desk.score(a, taken)
