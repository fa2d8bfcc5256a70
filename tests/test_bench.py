"""The benchmarks, small: their numbers are there, follow from the seed, and make sense."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from raft.message import ACK, APPEND
from tools import cli
from tools.air import airtime_us
from tools.bench import report, rows
from tools.bench.goals import judged
from tools.bench.rig import Rig, spread


def test_airtime_is_never_below_the_floor_and_follows_from_the_seed():
    result = rows.airtime(6, (3, 5), (0.0, 0.2))
    assert result == rows.airtime(6, (3, 5), (0.0, 0.2))
    assert [(r["boards"], r["loss"]) for r in result["rows"]] == [
        (3, 0.0),
        (3, 0.2),
        (5, 0.0),
        (5, 0.2),
    ]
    for row in result["rows"]:
        assert row["us_per_write"] > row["floor_us"] and 0 < row["idle_share"] < 0.5
        assert row["us_per_write"] < row["unicast_us"]
    assert result["ratio_floor"] == result["rows"][2]["ratio_floor"]
    assert result["ratio_unicast"] == result["rows"][2]["ratio_unicast"] < 0.5


def test_the_floor_is_one_data_frame_and_the_acks_of_a_majority():
    rig = Rig(5)
    floor_us = rows._floor_us(rig, 5)
    frame, ack = rig.lengths[APPEND], rig.lengths[ACK]
    assert frame > ack and floor_us == airtime_us(frame) + 2 * airtime_us(ack)


def test_nothing_is_faster_than_light_or_flash():
    """A write is answered after a data frame, a flash write, and an ack; of three boards the
    follower that asked needs none: it and the leader are a majority."""
    result = rows.latency(8, (3,))["rows"][0]
    least_ms = (airtime_us(60) + airtime_us(40)) / 1000 + 1
    assert result["leader_median"] > least_ms
    assert result["follower_median"] > least_ms
    assert result["yardstick"] < result["leader_median"]
    assert result["all_p99"] >= result["leader_median"]


def test_throughput_never_exceeds_what_is_offered():
    few, many = rows.throughput((10, 300), 1, 3)["rows"][:2]
    assert few["committed"] <= 10 and few["busy"] == 0 and few["elections"] == 0
    assert few["airtime_share"] < many["airtime_share"] <= 1 and 0 <= few["fairness"] <= 1


def test_failover_takes_an_election_timeout():
    result = rows.failover(3, 3, (0.05,))
    row = result["rows"][0]
    assert 100 < row["leader_median"] == result["median_ms"] < row["write_median"] < 5000
    assert 0 <= row["split"] <= 1 and row["deaths"] == 3


def test_who_missed_more_than_the_log_keeps_gets_a_snapshot():
    near, many_near, far, many_far = rows.catch_up((3, 400), 7, 1)["rows"]
    assert near["snapshots"] == many_near["snapshots"] == 0
    assert far["snapshots"] == 1 and many_far["snapshots"] == 3
    assert 0 < near["seconds"] and near["airtime_ms"] < far["airtime_ms"]


def test_sim_speed():
    result = rows.sim_speed(2)
    assert result["speed"] > 0 and len(result["rows"]) == 3


def test_a_table_and_a_file(tmp_path, monkeypatch):
    monkeypatch.setitem(report.BENCHMARKS, "latency", small_latency)
    console = Console(record=True, width=160)
    result = report.bench(["latency"], tmp_path, console)
    assert result == {"ok": True, "latency": {"top": 1}}
    assert json.loads((tmp_path / "latency.json").read_text())["rows"] == [{"boards": 3, "ms": 2}]
    assert "milliseconds, made up" in console.export_text()


def small_latency():
    """milliseconds, made up"""
    return {"top": 1, "rows": [{"boards": 3, "ms": 2}]}


def test_the_command_names_what_there_is():
    done = CliRunner().invoke(cli.app, ["bench", "--name", "warp"])
    assert done.exit_code == 1 and "there are airtime, latency" in done.stderr


@pytest.mark.parametrize("values", ([3.0], [1.0, 3.0], list(range(101))))
def test_spread(values):
    told = spread(values)
    assert min(values) <= told["median"] <= told["p99"] <= max(values)


def test_what_a_jammed_channel_does():
    result = rows.jam(2, 3, 1)
    assert result["lost"] == 0 and 0 < result["leader_most_ms"] < 2000
    assert result["rows"][0]["committed"] > 0


def test_the_share_of_the_channel_is_kept():
    """Whatever is asked for; two seconds, of which a burst may use the share of one more."""
    wide, narrow = [rows.throughput((400,), 4, 5)["rows"][i] for i in (1, 0)]
    assert narrow["airtime_share"] < 0.30 * 5 / 4 + 0.02
    few = Rig(5, airtime_percent=10)
    few.warm_up()
    few.world.run(2000)
    before_us = few.busy_us()
    few.flood(400, 4)
    assert (few.busy_us() - before_us) / 4e6 < 0.10 * 5 / 4 + 0.04
    assert wide["elections"] == narrow["elections"] == 0


def test_goals_are_held_against_what_was_measured(tmp_path):
    rows_of = [{"boards": 5, "loss": 0.1, "ratio_unicast": 0.6, "idle_share": 0.01}]
    rows_of += [
        {"boards": n, "loss": 0.0, "ratio_unicast": 0.2, "idle_share": 0.2} for n in (5, 15)
    ]
    numbers = {"ratio_floor": 1.1, "ratio_unicast": 0.2, "rows": rows_of}
    (tmp_path / "airtime.json").write_text(json.dumps(numbers))
    reached = [line["reached"] for line in judged(tmp_path)]
    assert reached == ["yes", "yes", "NO", "yes", "NO", "NO"]
    assert judged(tmp_path / "nothing") == []


def test_scale_has_a_row_for_each_size():
    three, four = rows.scale((3, 4), 4, 2)["rows"]
    assert (three["boards"], four["boards"]) == (3, 4)
    assert 0 < three["us_per_write"] < four["us_per_write"]
    assert three["failover_median"] > 100 and three["committed"] <= 200
