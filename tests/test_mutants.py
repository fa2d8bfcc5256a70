"""The catalogue of broken cores fits the present one, and what does not notice a mutant is told."""

import pytest
from typer.testing import CliRunner

from tools import cli
from tools.mutants import campaign
from tools.mutants.catalogue import CatalogueError, catalogue

HEAD = """== %s
source: here
killers: %s
"""
COUNTED = """raft/core.py
-        if index <= self.commit_index or self.log.term_at(index) != self.term:
+        if index <= self.commit_index:
"""
NEUTRAL = """raft/core.py
         matched.sort()
+        matched.sort()
"""
ENDLESS = """raft/core.py
         matched.sort()
+        while matched:
+            matched.sort()
"""


@pytest.fixture
def given(monkeypatch):
    """The catalogue is `text` from now on."""

    def give(text):
        monkeypatch.setattr(campaign, "catalogue", lambda: catalogue(text))

    return give


def told(only=""):
    """(result, lines for the reader) of a run."""
    lines = []
    return campaign.mutants(only=only, say=lines.append), lines


@pytest.mark.parametrize("mutant", catalogue(), ids=lambda mutant: mutant.name)
def test_each_patch_fits_the_present_core(mutant):
    for file, text in mutant.texts().items():
        compile(text, file, "exec")


def test_a_mutant_of_the_catalogue_is_killed_by_its_scenario():
    result, lines = told("an old term is committed by counting")
    assert result["ok"] and result["mutants"] == result["killed"] == 1
    assert lines[0].startswith("killed  an old term") and "leader completeness" in lines[0]


def test_a_mutant_that_nobody_notices_is_alive(given):
    given(HEAD % ("sorted twice", "figure_8_not_committed stale_tail") + NEUTRAL)
    result, lines = told()
    assert not result["ok"] and result["killed"] == 0 and result["survivors"] == ["sorted twice"]
    assert lines == [
        "ALIVE   sorted twice (here)\n            "
        "figure_8_not_committed: DID NOT NOTICE; stale_tail: DID NOT NOTICE"
    ]


def test_each_killer_must_notice(given):
    killers = "figure_8_not_committed birth"
    given(HEAD % ("counted", killers) + COUNTED + "\n" + HEAD % ("sorted", "birth") + NEUTRAL)
    result, lines = told("counted")
    assert not result["ok"] and result["survivors"] == ["counted"]
    assert "birth: DID NOT NOTICE" in lines[0] and result["mutants"] == 1


def test_the_command_fails_if_one_is_alive(given):
    given(HEAD % ("sorted twice", "stale_tail") + NEUTRAL)
    done = CliRunner().invoke(cli.app, ["mutants"])
    assert done.exit_code == 1 and '"ok": false' in done.output


def test_a_mutant_that_hangs_is_noticed(given, monkeypatch):
    monkeypatch.setattr(campaign, "LIMIT_S", 5)
    given(HEAD % ("endless", "stale_tail") + ENDLESS)
    result, lines = told()
    assert result["ok"] and "hangs" in lines[0]


def test_a_killer_that_complains_of_the_real_core_proves_nothing(given, monkeypatch):
    given(HEAD % ("counted", "stale_tail") + COUNTED)

    def tried(work):
        trial = campaign.Trial(work[0])
        trial.noticed = {"stale_tail": "tells another story"}
        return trial

    monkeypatch.setattr(campaign, "_tried", tried)
    result, lines = told()
    assert not result["ok"] and result["killed"] == 1
    assert lines[0] == "the real core: stale_tail: tells another story"


def test_with_full_the_scenarios_that_kill_no_mutant_of_their_own_are_named(given, monkeypatch):
    given(HEAD % ("counted", "stale_tail") + COUNTED + "\n" + HEAD % ("sorted", "birth") + NEUTRAL)

    def tried(work):
        mutant, killers = work
        trial = campaign.Trial(mutant)
        if mutant:
            few = ("stale_tail", "figure_7") if mutant.name == "counted" else killers
            trial.noticed = {killer: "seen" for killer in killers if killer in few}
        return trial

    monkeypatch.setattr(campaign, "_tried", tried)
    result = campaign.mutants(full=True, say=lambda text: None)
    assert result["ok"] and "birth" in result["idle_scenarios"], "all notice what it notices"
    assert "figure_7" not in result["idle_scenarios"], "it is no killer, and notices"


SOUND = HEAD % ("a", "birth") + COUNTED
WRONG = {
    "a line of no kind": (SOUND + "what is this\n", "txt:7: this is not understood: what is this"),
    "lines of no file": (HEAD % ("a", "birth") + "-    x\n", "txt:4: this is not understood"),
    "no source": ("== a\nkillers: birth\n" + COUNTED, "txt:1: mutant 'a' lacks its source"),
    "no killers": ("== a\nsource: b\n" + COUNTED, "txt:1: mutant 'a' lacks its killers"),
    "no lines": ("\n" + HEAD % ("a", "birth"), "txt:2: mutant 'a' lacks its changes"),
    "only new lines": (
        HEAD % ("a", "birth") + "raft/log.py\n+x = 1\n",
        "txt:1: mutant 'a' does not say where",
    ),
    "no such scenario": (HEAD % ("a", "berth") + COUNTED, "txt:3: there is no killer 'berth'"),
    "no such test": (
        HEAD % ("a", "portable:test_log.test_nothing") + COUNTED,
        "txt:3: there is no killer 'portable:test_log.test_nothing'",
    ),
    "no such property": (HEAD % ("a", "seeds:luck") + COUNTED, "there is no killer 'seeds:luck'"),
    "twice the same name": (SOUND + "\n" + SOUND, "txt:8: there are two mutants 'a'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_catalogue_that_is_wrong_names_its_line(case):
    text, what = WRONG[case]
    with pytest.raises(CatalogueError) as error:
        catalogue(text)
    assert what in str(error.value) and str(error.value).startswith("tests/mutants.txt:")


@pytest.mark.parametrize(
    "change, what",
    (
        ("raft/log.py\n-nowhere\n+x\n", "mutant 'a': its lines stand 0 times in raft/log.py"),
        ("raft/log.py\n-\n+x\n", "times in raft/log.py, not once"),
        ("raft/gone.py\n-x\n+y\n", "mutant 'a': there is no raft/gone.py"),
    ),
    ids=("nowhere", "everywhere", "no file"),
)
def test_lines_that_do_not_stand_there_once_name_the_mutant(change, what):
    (mutant,) = catalogue(HEAD % ("a", "birth") + change)
    with pytest.raises(CatalogueError) as error:
        mutant.texts()
    assert what in str(error.value) and str(error.value).startswith("tests/mutants.txt:1: ")
