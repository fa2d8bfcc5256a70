"""What clients of the simulator heard, judged as a whole: of both state machines, at all levels."""

import pytest

from raft import intlist, keyvalue
from raft.message import COMMITTED, LEASE, LINEARIZABLE, STALE
from tools import history
from tools.history import to_text
from tools.sim import campaign
from tools.sim.histories import LINEARIZABILITY, history_of, judge
from tools.sim.world import World


def led(**options):
    world = World(1, 3, **options)
    assert world.run_until_true(lambda: world.leader() and world.checks.all_equal(), 5000)
    return world


def done(world, asked):
    assert world.run_until_true(lambda: asked.code is not None, 5000)
    return asked


def lines_of(world):
    """The history, without its times."""
    told = to_text(history_of(world)).splitlines()
    return told[:1] + [" ".join(line.split()[2:]) for line in told[1:]]


def test_a_history_of_a_list():
    world = led(settings={"size": 2})
    done(world, world.propose(1, intlist.set_command(1, 34)))
    done(world, world.propose(2, intlist.add_command(0, -5)))
    done(world, world.propose(3, intlist.cas_command(1, 35, 36)))
    done(world, world.propose(3, intlist.set_command(9, 1)))
    done(world, world.propose(3, intlist.grow_command(3)))
    done(world, world.propose(3, b"\xff"))
    world.run(200)
    assert done(world, world.read(2)).code == COMMITTED
    done(world, world.read(world.leader(), LEASE))
    world.read(3, STALE)
    leader = world.leader()
    world.crash(leader)
    others = [me for me in world.boards if me != leader]
    world.partition([[me] for me in world.boards])
    world.propose(others[0], intlist.set_command(0, 7))
    assert lines_of(world) == [
        "history of intlist",
        "b1 set 1 34 committed",
        "b2 add 0 -5 committed",
        "b3 cas 1 35 36 mismatch",
        "b3 set 9 1 no 20",
        "b%d set 0 7 unknown" % others[0],
        "b2 read all = 0=-5 1=34 2=0",
        "b%d read all lease = 0=-5 1=34 2=0" % leader,
        "b3 read all stale 3/1 = 0=-5 1=34 2=0",
    ]
    assert judge(world) == 0


def test_a_history_of_keys():
    world = led(settings={"machine": "keyvalue"})
    for command in (
        keyvalue.set_command("größe", "on"),
        keyvalue.cas_command("größe", "on", b"\x00\xff"),
        keyvalue.cas_command("k", None, 3),
        keyvalue.add_command("k", 4),
        keyvalue.delete_command("größe"),
        b"\x09",
    ):
        done(world, world.propose(1, command))
    done(world, world.read(1, LINEARIZABLE))
    assert lines_of(world) == [
        "history of keyvalue",
        'b1 set "gr\\u00f6\\u00dfe" "on" committed',
        'b1 cas "gr\\u00f6\\u00dfe" "on" x\'00ff\' committed',
        'b1 cas "k" none 3 committed',
        'b1 add "k" 4 committed',
        'b1 delete "gr\\u00f6\\u00dfe" committed',
        'b1 read all = "k"=7',
    ]
    assert judge(world) == 0


@pytest.mark.parametrize("seed", (1, 2, 5, 7))
def test_the_history_of_a_run_with_faults_can_be_written_and_read(seed):
    world, faults = campaign.prepare(seed, 3, 5)
    world.run_until(5000)
    faults.finish()
    told = history_of(world)
    levels = {operation.level for operation in told.operations}
    assert levels == set(history.LEVELS) and len(told.operations) > 10
    assert to_text(history.from_text(to_text(told))) == to_text(told)


def test_a_run_ends_with_the_judge(monkeypatch):
    """An answer that was never given, put into a run, is found."""
    finish = campaign.Faults.finish

    def lie(faults):
        finish(faults)
        reading = done(faults.world, faults.world.read(1))
        if isinstance(reading.values, dict):
            reading.values = {"lamp": "never"}
        else:
            reading.values[0] = -77

    monkeypatch.setattr(campaign.Faults, "finish", lie)
    result = campaign.run(3, 3, 3)
    assert not result["ok"] and result["violation"]["property"] == LINEARIZABILITY
