"""The exploration: nothing of a core is forgotten between steps, and planted bugs are found."""

import json

import pytest
from typer.testing import CliRunner

from raft import core, election, overhearing, replication
from raft.message import FOLLOWER, LEADER, NOBODY, VOTE_REQUEST
from raft.replication import Follower
from tools import cli
from tools.explore import explore, model
from tools.explore.model import Model, dump, load

SMALL = {"timeout": 1, "propose": 1, "crash": 1}


def run(budget, **options):
    return explore(budget=budget, say=lambda text: None, **options)


def test_every_attribute_of_a_core_is_packed_or_accounted_for():
    """A new attribute that nobody thought of would make the exploration miss states."""
    raft = Model({}).cores[1]
    known = model.PACKED + model.FOLLOWS + model.CONSTANT + model.TIMES
    assert sorted(vars(raft)) == sorted(known)
    follower = vars(Follower(0))
    assert sorted(follower) == sorted(model.FOLLOWER_PACKED + model.FOLLOWER_REST)


def states_of(budget, steps):
    """States that a few hundred steps, each the first possible one but some, lead to."""
    explored = Model(budget)
    state = load(explored.initial())
    for number in range(steps):
        actions = explored.actions(state)
        if not actions:
            break
        outcomes = explored.outcomes(state, actions[number * 7 % len(actions)])
        state = load(dump(outcomes[number % len(outcomes)][1]))
        yield explored, state


def test_a_core_is_the_same_after_packing_and_unpacking():
    roles = set()
    for explored, state in states_of({"timeout": 30, "propose": 9, "beat": 30, "crash": 5}, 300):
        for me in model.BOARDS:
            packed, durable = state[0][me - 1]
            raft = explored.cores[me]
            model.unpack(raft, packed, durable)
            assert model.pack(raft) == packed
            roles.add(raft.role)
    assert {LEADER, FOLLOWER} <= roles


def test_the_states_do_not_depend_on_the_number_of_workers():
    one, two = run(SMALL, states=3000, workers=1), run(SMALL, states=3000, workers=2)
    assert one["states"] == two["states"] > 1000 and one["depth"] == two["depth"]
    assert one["ok"] and two["ok"] and one["transitions"] == two["transitions"]


def test_it_comes_to_an_end():
    result = run({"timeout": 1}, workers=1)
    assert result["ok"] and result["complete"] and result["states"] > 50


@pytest.fixture
def forgotten_vote(monkeypatch):
    """A vote that is not on flash: to show, it takes a vote, a power cut and a second candidate, in
    this order, and before that two candidates of one term."""
    unpack = model.unpack

    def forget(raft, packed, durable):
        unpack(raft, packed, durable)
        if packed is model._BLANK:
            raft.vote = NOBODY

    monkeypatch.setattr(model, "unpack", forget)


def test_a_forgotten_vote_is_found_with_its_path(forgotten_vote):
    result = run({"timeout": 2, "crash": 1}, states=1_000_000)
    assert not result["ok"] and "lead term 1" in result["violation"], result
    path = result["path"]
    assert any("power off" in step or "crash" in step for step in path)
    assert sum(step.startswith("timeout") for step in path) == 2 and len(path) <= 12


def test_without_the_bug_there_is_no_such_path():
    assert run({"timeout": 2, "crash": 1}, states=15_000)["ok"]


def caught(what, budget, **options):
    result = run(budget, **options)
    assert not result["ok"] and what in result["violation"], result


def test_caught_voting_twice(monkeypatch):
    def on_vote_request(raft, message):
        if message.term == raft.term and raft.vote != raft.identity:
            raft.vote = NOBODY
        election.on_vote_request(raft, message)

    monkeypatch.setitem(core._HANDLERS, VOTE_REQUEST, on_vote_request)
    caught("election safety", {"timeout": 2})


def test_caught_an_ack_that_leaves_before_the_write(monkeypatch):
    """The power goes in between, and the leader counts on what is nowhere."""

    def answer_if_due(raft):
        late = raft.outbox.late
        raft.outbox.late = raft.outbox.early
        original(raft)
        raft.outbox.late = late

    original = overhearing.answer_if_due
    monkeypatch.setattr(overhearing, "answer_if_due", answer_if_due)
    caught("durability", {"timeout": 1, "crash": 1})


def test_caught_deleting_without_a_conflict(monkeypatch):
    def take_over(raft, index, entries):
        if raft.log.last_index > index:
            raft.log.truncate(index + 1)
        return original(raft, index, entries)

    original = replication._take_over
    monkeypatch.setattr(replication, "_take_over", take_over)
    budget = {"timeout": 1, "propose": 2, "duplicate": 1}
    result = run(budget, states=100_000)
    assert not result["ok"], result


def test_what_the_command_line_prints():
    done = CliRunner().invoke(cli.app, ["explore", "--states", "2000"])
    printed = json.loads(done.stdout.splitlines()[-1])
    assert done.exit_code == 0 and printed["ok"] and printed["states"] >= 2000
    assert printed["depth"] >= 3 and set(printed) >= {"full_paths", "transitions", "seconds"}
