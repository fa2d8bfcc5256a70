"""A failing run becomes a short scenario, which breaks the same property and nothing without it."""

import json

import pytest
from typer.testing import CliRunner

from raft.core import Raft
from raft.log import Log
from tools import cli
from tools.sim import campaign
from tools.sim.scenario import Scenario, ScenarioError
from tools.sim.shrink import NotShrunk, boards_line, shrink
from tools.sim.stage import Stage, Wrong, play

BOARDS, SECONDS = 3, 10
LIMIT_S = 20


@pytest.fixture
def votes_for_any_log(monkeypatch):
    """A planted bug (§5.4.1 forgotten), which that seed shows."""
    monkeypatch.setattr(Log, "is_up_to_date", lambda log, index, term: True)


def first_broken():
    """(seed, property): the first run that shows what was planted, also when told by lines."""
    for seed in range(5, 60):
        result = campaign.run(seed, BOARDS, SECONDS)
        if not result["ok"]:
            return seed, result["violation"]["property"]
    raise AssertionError("no run shows it")


def raftnow(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def played(text, tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(text)
    return Scenario(path).played()


def test_a_failing_seed_becomes_a_short_scenario_that_breaks_the_same(
    votes_for_any_log, monkeypatch, tmp_path
):
    told = []
    seed, broken = first_broken()
    text, result = shrink(seed, BOARDS, SECONDS, LIMIT_S, told.append)
    assert result["ok"] and result["acts"] < result["acts_before"] / 3 and told
    assert result["property"] == broken
    with pytest.raises(ScenarioError, match="broken: " + broken):
        played(text, tmp_path)
    monkeypatch.undo()
    assert played(text, tmp_path).splitlines()[-1].startswith("safe; ")


def test_a_board_that_fails_is_shrunk_too(monkeypatch):
    def fails(raft, target):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Raft, "transfer", fails)
    text, result = shrink(first_broken()[0], BOARDS, SECONDS, LIMIT_S)
    assert result["property"] == "no board fails" and "planted" in text
    assert result["acts"] < 10


def test_the_command_line_shrinks_and_plays(votes_for_any_log, tmp_path):
    path = tmp_path / "story.txt"
    seed, _ = first_broken()
    options = ("--boards", BOARDS, "--seconds", SECONDS, "--limit", 1)
    done = raftnow("shrink", seed, *options, "--out", path)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["acts"] > 0
    broken = raftnow("play", path)
    assert broken.exit_code == 1 and "broken: " in broken.stderr
    printed = raftnow("shrink", seed, *options).stdout.splitlines()
    assert printed[0].startswith("# Seed %d: " % seed) and json.loads(printed[-1])["ok"]


def test_a_run_that_breaks_nothing_is_not_shrunk():
    with pytest.raises(NotShrunk, match="seed 1 breaks nothing"):
        shrink(1, BOARDS, 2)
    refused = raftnow("shrink", 1, "--boards", BOARDS, "--seconds", 2)
    assert refused.exit_code == 1 and "breaks nothing" in refused.stderr


@pytest.mark.parametrize("words", [("play", "no-such-file"), ("play", ".")])
def test_what_cannot_be_read_is_said(words):
    refused = raftnow(*words)
    assert refused.exit_code == 1 and "cannot read" in refused.stderr


@pytest.mark.parametrize("seed", range(1, 13))
def test_what_was_done_told_line_by_line_is_understood(seed):
    """All verbs that the fuzzer's acts are spelled in: the stage carries out each line, and spells
    it the same again."""
    acts = []
    world, faults = campaign.prepare(seed, seconds=3, story=acts)
    world.run_until(3000)
    stage = Stage()
    play(stage, boards_line({"seed": seed, **campaign.drawn(seed)}))
    again = stage.world.story = []
    for at_us, line in acts:
        try:
            stage.world.run_until(at_us / 1000)
            play(stage, line)
        except Wrong as error:
            assert "no power" in str(error), line
            again.append((at_us, line))
    assert [line for _, line in again] == [line for _, line in acts]
