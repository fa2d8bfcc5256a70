"""A short soak on real processes, that it fails when it should, and how its verdict counts."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from raft.message import COMMITTED, MISMATCH, REJECTED, STALE, UNKNOWN
from tools import cli
from tools import soak as soak_module
from tools.demo import COLLECTOR, ROOT
from tools.history import from_text
from tools.linearizable import judge
from tools.pc import DONE, REFUSED, UNSURE, Command, Reading
from tools.soak import soak
from tools.soak.clients import Notes, ending
from tools.soak.nemesis import HEAL, KINDS, LEADER, Act, Nemesis, schedule
from tools.soak.verdict import verdict

NODES = (1, 2, 3, 4, 5)
POWER_CUT = [Act(3.0, "kill", NODES[:3]), Act(3.2, "start")]


# On real processes.


def test_a_short_soak(tmp_path, monkeypatch):
    """What the command prints, and a history that somebody else can judge again."""
    acts = [
        Act(1.0, "alone", (LEADER,)),
        Act(1.5, "transfer", (2,)),
        Act(2.0, HEAL),
        *POWER_CUT,
        Act(5.0, "loss", (), (0.2,)),
        Act(5.5, "freeze", (LEADER,)),
    ]
    path = tmp_path / "history.txt"
    monkeypatch.setattr(soak, "schedule", lambda *_: acts)

    def short(minutes, seed, say):
        return soak.run(minutes, seed, say, boards=3, history=path, name="soak-test")

    monkeypatch.setattr(soak_module, "run", short)
    ended = CliRunner().invoke(cli.app, ["soak", "--minutes", "0.12", "--seed", "1"])
    result = json.loads(ended.stdout.strip().split("\n")[-1])
    assert ended.exit_code == 0 and result["ok"], (result, ended.stderr)
    assert result["writes_acknowledged"] > 10 and result["leader_changes"] > 0
    assert result["lost"] == result["stale_reads"] == result["undecided"] == 0
    assert (result["minutes"], result["seed"]) == (0.12, 1)
    assert result["faults"]["kill"] == 1
    history = from_text((tmp_path / "history.txt").read_text())
    assert len(history.operations) == result["operations"]
    assert judge(history, tell=lambda _: None)["ok"]
    levels = {operation.level for operation in history.operations}
    assert levels == {"linearizable", "lease", "stale"}
    assert sum(operation.client == "final" for operation in history.operations) >= 4
    assert all(o.board and o.boot for o in history.operations if o.level == "stale")


def test_boards_that_forget_their_log_are_found(tmp_path, monkeypatch):
    for folder in ("raft", "firmware", "collector"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "boot.py", tmp_path)
    journal = tmp_path / "firmware" / "journal.py"
    line = "self._append(_ENTRY, end - _HEAD)"
    text = journal.read_text()
    assert text.count(line) == 1
    journal.write_text(text.replace(line, "pass"))
    monkeypatch.setattr(soak, "schedule", lambda *_: POWER_CUT)
    said = []
    result = soak.run(
        *(0.08, 1, said.append),
        boards=3,
        history=tmp_path / "history.txt",
        name="soak-test",
        root=tmp_path,
    )
    assert not result["ok"] and result["lost"] > 0, result
    assert any("no order fits" in line for line in said)


# The notes.


def test_every_boot_of_a_board_has_its_number():
    notes = Notes()
    for node, epoch in ((1, 5), (2, 5), (1, 5), (1, 6)):
        reading = Reading(1, node, 0, level=STALE, values=[7, 8], boot=(1, epoch))
        notes.read("a", 10, reading)
    told = [(o.board, o.boot, o.value) for o in notes.history.operations]
    assert told == [(b, boot, {0: 7, 1: 8}) for b, boot in ((1, 1), (2, 2), (1, 1), (1, 3))]


def test_the_codes_of_endings():
    command = Command(1, 2, 3, 4, b"", 0)
    command.code = MISMATCH
    for command.state, code in ((DONE, COMMITTED), (UNSURE, UNKNOWN), (REFUSED, MISMATCH)):
        assert ending(command) == code
    command.code = 0  # it never left
    assert ending(command) == REJECTED


# The verdict.


def judged(lines):
    text = "\n".join(line.strip() for line in lines.strip().split("\n"))
    found = verdict(from_text("history of intlist\n%s\n" % text))
    return found.lost, found.stale_reads, found.board_reads


@pytest.mark.parametrize(
    "lost,stale_reads,board_reads,lines",
    [
        pytest.param(
            *(0, 0, 0),
            """
            10 20 a set 0 1 committed
            15 40 b add 0 1 committed
            30 35 a read all stale 2/1 = 0=0 1=0
            50 - b set 0 7 unknown
            60 70 a read all = 0=2 1=0
            80 90 final read all = 0=7 1=0""",
            id="all is well",
        ),
        pytest.param(
            *(1, 0, 0),
            """
            10 20 a set 0 1 committed
            30 40 a set 0 2 committed
            80 90 final read all = 0=1""",
            id="the last write is gone",
        ),
        pytest.param(
            *(1, 0, 0),
            """
            10 20 a add 0 1 committed
            30 40 a add 0 2 committed
            50 60 b add 0 4 committed
            80 90 final read all = 0=5""",
            id="one of many adds is gone",
        ),
        pytest.param(
            *(2, 0, 0),
            """
            10 20 a add 0 1 committed
            30 40 a add 0 2 committed
            50 60 b add 0 4 committed
            80 90 final read all = 0=1""",
            id="two adds are gone",
        ),
        pytest.param(
            *(2, 0, 0),
            """
            10 20 a set 0 1 committed
            11 21 a set 1 2 committed
            80 90 final read all = 0=0 1=0
            91 95 final read all = 0=0 1=0""",
            id="a write of two cells each",
        ),
        pytest.param(
            *(1, 0, 0),
            """
            10 20 a set 0 1 committed
            30 40 a cas 0 0 5 committed
            80 90 final read all = 0=5""",
            id="a cas shows that a write before it is gone",
        ),
        pytest.param(
            *(1, 0, 0),
            """
            10 20 a set 0 1 committed
            30 40 b read all = 0=1
            80 90 final read all = 0=0""",
            id="a write that was even read is gone: the read is not to blame",
        ),
        pytest.param(
            *(0, 1, 0),
            """
            10 20 a set 0 1 committed
            30 40 a set 0 2 committed
            50 60 b read all = 0=1
            80 90 final read all = 0=2""",
            id="an old value",
        ),
        pytest.param(
            *(0, 2, 0),
            """
            10 20 a set 0 1 committed
            30 40 a set 0 2 committed
            50 60 b read all lease = 0=1
            61 62 b read all lease = 0=2
            63 64 b read all lease = 0=1
            80 90 final read all = 0=2""",
            id="two old values by lease",
        ),
        pytest.param(
            *(0, 1, 0),
            """
            10 70 a set 0 1 committed
            20 30 b read all = 0=1
            40 50 c read all = 0=0
            80 90 final read all = 0=1""",
            id="back behind another reader, while the write is under way",
        ),
        pytest.param(
            *(0, 0, 1),
            """
            10 20 a set 0 1 committed
            30 40 a set 0 2 committed
            50 60 b read all stale 1/1 = 0=2
            61 62 b read all stale 1/1 = 0=1
            63 64 b read all stale 2/2 = 0=1
            80 90 final read all = 0=2""",
            id="a board that goes back",
        ),
        pytest.param(
            *(1, 1, 1),
            """
            10 20 a set 0 1 committed
            10 20 a set 1 1 committed
            10 20 a set 2 1 committed
            30 40 b read all = 0=1 1=0 2=1
            50 60 b read all stale 3/1 = 0=1 1=1 2=9
            80 90 final read all = 0=0 1=1 2=1""",
            id="one of each, in a cell of its own",
        ),
    ],
)
def test_what_is_counted(lost, stale_reads, board_reads, lines):
    assert judged(lines) == (lost, stale_reads, board_reads)


def test_a_write_that_was_applied_twice_is_wrong_too():
    lost, _, _ = judged("10 20 a add 0 1 committed\n80 90 final read all = 0=2")
    assert lost > 0


def test_what_is_undecided_is_not_ok():
    lines = ["%d %d c%d add 0 %d committed" % (10 + n, 90 + n, n, 1 << n) for n in range(12)]
    lines.append("200 210 final read all = 0=1")
    found = verdict(from_text("\n".join(["history of intlist", *lines])), states_max=100)
    assert found.undecided and not found.ok


# The faults.


def test_the_faults_follow_from_the_seed():
    assert schedule(7, 600, NODES) == schedule(7, 600, NODES)
    assert schedule(7, 600, NODES) != schedule(8, 600, NODES)
    assert schedule(7, 60, NODES) == [a for a in schedule(7, 600, NODES) if a.at_s < 60]


@pytest.mark.parametrize("seed", range(20))
def test_every_spell_of_faults_is_healed(seed):
    acts = schedule(seed, 600, NODES)
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)
    since = 0.0
    for act in acts:
        assert act.at_s - since < 15, act
        if act.kind == HEAL:
            since = act.at_s
    known = {*KINDS, HEAL, "start", "thaw"}
    assert {act.kind for act in acts} <= known and len({act.kind for act in acts}) > 10


def test_every_fault_can_be_carried_out():
    """By the names that boards and air have for it, whoever leads or nobody."""
    calls = []

    class Air:
        def __getattr__(self, name):
            return lambda *arguments: calls.append((name, arguments))

    class Boards:
        names = [COLLECTOR, *("node%d" % node for node in NODES)]
        air = Air()

        def boots(self, name):
            return 1

        def state(self, name):
            return "off"

        def __getattr__(self, name):
            return lambda *arguments: calls.append((name, arguments))

    class Demo:
        boards = Boards()

        def board(self, node):
            return "node%d" % node

    class Link:
        station = Air()
        now = 4

        def leader(self):
            return self.now

    said, sieges = [], []
    acts = [act for seed in range(30) for act in schedule(seed, 60, NODES)]
    link = Link()
    for link.now in (4, None):
        nemesis = Nemesis(acts, Demo(), link, said.append, sieges.append)
        nemesis.step(1e9)
        assert set(nemesis.done) >= set(KINDS) - (set() if link.now else {"alone"} | ORDERS)
    assert ("partition", ([["node4", COLLECTOR], [COLLECTOR, *NAMES_BUT_4]],)) in calls
    assert ("kill", ("node4",)) in calls and ("restart", (COLLECTOR,)) in calls
    named = {
        one for name, arguments in calls if name in ("kill", "freeze", "cut") for one in arguments
    }
    assert named <= {None, *Boards.names}
    assert any("alone leader (4)" in line for line in said)
    assert set(sieges) == {4}


ORDERS = {"transfer", "remove", "promote", "demote"}
NAMES_BUT_4 = ["node1", "node2", "node3", "node5"]
