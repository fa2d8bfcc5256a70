"""The board model: each part takes what its table says, and nothing when it is off."""

import re
from pathlib import Path

import pytest

from raft.intlist import set_command
from raft.message import COMMITTED
from tools.sim.chip import SECTOR, SLEEPS, SPINS, TABLE, TICK_US, Chip
from tools.sim.world import World


def world(chip=None, seed=3):
    built = World(seed, 3, boot_spread_ms=0, chip=chip)
    assert built.run_until_true(lambda: built.leader() and built.checks.all_equal(), 5000)
    return built


def write_ms(built):
    """Milliseconds until a write at the leader is answered."""
    asked = built.propose(built.leader(), set_command(0, 7))
    assert built.run_until_true(lambda: asked.code is not None, 5000)
    assert asked.code == COMMITTED
    return (asked.answered_us - asked.at_us) / 1000


def test_a_board_without_a_chip_takes_no_time():
    bare, idle = world(), world(Chip(SPINS, cpu=False, flash=False, collects=False))
    assert bare.hash() == idle.hash()
    assert write_ms(bare) == write_ms(idle)


def test_each_part_takes_its_time():
    none = write_ms(world(Chip(SPINS, cpu=False, flash=False, collects=False)))
    flash = write_ms(world(Chip(SPINS, cpu=False, collects=False)))
    cpu = write_ms(world(Chip(SPINS, flash=False, collects=False)))
    assert none + 2 * TABLE["program"].us / 1000 < flash < none + 6
    assert cpu > none + (2 * TABLE["encode"].us + TABLE["decode"].us) / 1000


def test_a_loop_that_sleeps_wakes_with_its_ticks():
    chip = Chip(SLEEPS)
    for now_us in (0, 1, 123_456):
        for number in (1, 2):
            at_us = chip.wakes_us(now_us, number)
            assert 0 <= at_us - now_us < TICK_US
            assert chip.wakes_us(at_us, number) == at_us
            assert Chip(SPINS).wakes_us(now_us, number) == now_us
    assert chip.wakes_us(0, 1) != chip.wakes_us(0, 2)
    assert write_ms(world(chip)) > write_ms(world(Chip(SPINS)))


def test_filled_sectors_are_erased_in_quiet_moments():
    built = world(Chip(SPINS))
    leader = built.boards[built.leader()]
    for _ in range(SECTOR // 12):
        write_ms(built)
    built.run(2000)
    assert leader.erases >= 3 and leader.written < SECTOR


def test_garbage_is_collected():
    built = world(Chip(SPINS))
    board = built.boards[1]
    board.garbage = 0
    built.run(100)
    some = board.garbage
    built.run(20_000)
    assert some > 0 and board.garbage < 60_000


def test_wrong_loops_are_refused():
    with pytest.raises(ValueError, match="spins or sleeps"):
        Chip("walks")


def test_the_table_in_the_docs_is_the_one_that_is_used():
    text = (Path(__file__).parent.parent / "docs" / "simulator.md").read_text()
    for part in TABLE.values():
        line = r"\| %s \| %d \|" % (re.escape(part.what), part.us)
        assert re.search(line, text), line
