"""The scenarios of tests/scenarios: each still prints what its file says. docs/scenarios.md."""

import re

import pytest

from tools.sim import scenario
from tools.sim.scenario import MANUAL, Scenario, ScenarioError, scenarios

ALL = scenarios()
named = pytest.mark.parametrize("story", ALL, ids=lambda story: story.path.stem)


@named
def test_scenario(story):
    """If it differs on purpose: 'make rewrite', and explain every changed line to yourself."""
    assert story.played().splitlines() == story.text.splitlines()


@named
def test_is_a_story(story):
    """A drawing, a moral, a source, and the question at the end whether all held."""
    assert story.title and len(story.drawing) >= 2, "no drawing, indented by three, in the comment"
    assert story.moral.endswith(".") and story.source.endswith("."), "no Moral: or no Source:"
    assert list(story.commands())[-1] == "check"
    written_by_hand = [line for line in story.text.splitlines() if line.startswith("#")]
    assert max(map(len, written_by_hand)) <= 100
    assert not re.search(r"within \d+ ms$", story.text, re.M), "it waited for what did not happen"


def test_the_manual_knows_every_verb_and_scenario():
    text = MANUAL.read_text()
    assert scenario.manual(text) == text, "run 'make rewrite' and read the diff"
    assert len(ALL) > 30


def written(tmp_path, text):
    path = tmp_path / "story.txt"
    path.write_text(text)
    return Scenario(path)


@pytest.mark.parametrize(
    "lines,what",
    [
        ("fly 1", "unknown verb 'fly'"),
        ("boards 3\ncrash 4", "there is no board '4', there are 1..3"),
        ("crash 1", "begin with 'boards 5'"),
        ("boards 3 heart=7", "unknown setting 'heart'"),
        ("boards 3\nrun 5", "'5' is not a time"),
        ("boards 3\ncrash 1\nstall 1 5ms", "board 1 has no power"),
        ("boards 3\ndrop Ac 1 -> 2", "there are no frames 'Ac'"),
        ("boards 3\nuntil Tuesday", "'until' does not know 'Tuesday'"),
        ("boards 3\nflash 1 log 2 1", "terms never fall"),
        ("boards 3\nrun 1ms\nflash 1 log 1", "board 1 has started"),
        ("boards 3\ntransfer 1 2", "board 1 does not lead"),
        ("boards 3\npropose 1 set 0 9999999999", "does not fit"),
        ("boards 3\nrelease", "nothing is held"),
        ("boards 3\nlose 200%", "'200%' is not a share"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, lines, what):
    with pytest.raises(ScenarioError) as error:
        written(tmp_path, "# A story\n%s\n----\n" % lines).played()
    place = "story.txt:%d: " % (2 + lines.count("\n"))
    assert place in str(error.value) and what in str(error.value)


def test_a_broken_property_ends_a_scenario_and_blesses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("raft.core.Raft.majority", lambda raft: 1)
    story = written(tmp_path, "boards 3\nrun 2s\ncheck\n----\nold\n")
    with pytest.raises(ScenarioError, match=r"story.txt:2: broken: durable majority"):
        story.rewrite()
    assert story.path.read_text() == story.text


def test_the_last_command_needs_an_expectation(tmp_path):
    with pytest.raises(ScenarioError, match="nothing is expected"):
        written(tmp_path, "boards 3\ncheck\n").played()


def test_rewriting_changes_expectations_only(tmp_path):
    text = "# A story\n\nboards 3\nelect 1\n----\nwrong\nmore\n\n# Then\ncheck\n----\n"
    story = written(tmp_path, text)
    story.rewrite()
    made = "# A story\n\nboards 3\nelect 1\n----\n1 leads term 1\n\n# Then\ncheck\n----\n"
    assert story.path.read_text() == made + "safe; 0 committed; terms led: 1 by 1\n"
    assert Scenario(story.path).played() == story.path.read_text()


def play(text):
    stage = scenario.Stage()
    return [line for command in text.splitlines() for line in scenario.play(stage, command)]


def test_frames_are_dropped_held_and_counted():
    story = "boards 3\nrun 150ms\ntimer all 1s\ndrop next 2 RequestPreVote 1 -> *\ntimeout 1\n"
    assert play(story + "run 99ms") == []
    assert play(story + "run 110ms") == ["1 leads term 1"]
    assert play("boards 3\nhold Vote * -> 1\ntimeout 1\nrun 400ms")[0].startswith("1 stands")
    lines = play("boards 3\nelect 1\nuntil equal\nforget\nrun 50ms\nframes Heartbeat Ack")
    assert lines[1] == "1 -> all  term 1  Heartbeat behind 1 of term 1, commit 1"
    assert lines[2].startswith("3 -> 1  term 1  Ack 1")
    assert play("boards 3\nelect 1\nframes RequestPreVote")[1].endswith("  (4 times)")


def test_long_logs_are_shown_as_runs():
    lines = play("boards 3\nflash 1 log 1 2x30\ncrash 3\nlogs")
    assert lines == ["1 .  1 2x30", "2 .", "3 x"]


def test_a_stalled_board_hears_and_does_nothing():
    text = "boards 3\nelect 1\nuntil equal\nstall 2 400ms\nforget\nrun 399ms\nframes Ack"
    assert all(line.startswith(("1", "3")) for line in play(text))
