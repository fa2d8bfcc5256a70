"""The benchmarks: each returns {key: value} with "rows", a list of flat dicts for the table."""

from statistics import median

from raft.message import ACK, APPEND, BUSY, COMMITTED
from tools.air import airtime_us
from tools.bench.rig import Rig, spread
from tools.sim import campaign
from tools.sim.chip import LOOPS, SPINS, TABLE

BOARDS = (3, 5, 7, 10, 15)
LOSSES = (0.0, 0.05, 0.1, 0.2)
_JUDGED = 5  # boards whose ratio stands at the top
_IDLE_MS = 20_000
_FAST_MAX = 7
_OF_SIZE = (
    "boards",
    "us_per_write",
    "idle_share",
    "leader_median",
    "failover_median",
    "failover_p99",
    "committed",
    "elections",
)
_SLOWLY = {"heartbeat_ms": 150, "election_min_ms": 450, "election_max_ms": 900}


def airtime(writes=100, boards=BOARDS, losses=LOSSES):
    """Occupied channel per committed write in a closed loop, beside the floor (one data frame and
    the fewest acks that make a majority) and beside the same core with broadcast off; and the share
    of the channel that an idle cluster uses.

    The baseline is helped: its processors take no time, it may use the whole channel, and beyond
    seven boards its heart beats three times as slowly. Else 15 boards find no leader: a heartbeat
    for each, and its ack, are 35 ms on the air.
    """
    rows = []
    for count in boards:
        for loss in losses:
            rig = Rig(count, loss)
            rig.warm_up()
            idle = _idle_share(rig, _IDLE_MS)
            floor_us = _floor_us(rig, count)
            per_write_us = _per_write_us(rig, writes)
            slow = _SLOWLY if count > _FAST_MAX else {}
            alone = {"broadcast": False, "airtime_percent": 100}
            baseline = Rig(count, loss, cpu=False, **alone, **slow)
            baseline.warm_up()
            unicast_us = _per_write_us(baseline, writes)
            rows.append(
                {
                    "boards": count,
                    "loss": loss,
                    "us_per_write": round(per_write_us),
                    "floor_us": floor_us,
                    "unicast_us": round(unicast_us),
                    "ratio_floor": round(per_write_us / floor_us, 3),
                    "ratio_unicast": round(per_write_us / unicast_us, 3),
                    "idle_share": round(idle, 4),
                }
            )
    judged = [row for row in rows if row["boards"] == _JUDGED and not row["loss"]]
    top = {name: judged[0][name] for name in ("ratio_floor", "ratio_unicast")} if judged else {}
    return {**top, "rows": rows}


def _per_write_us(rig, writes):
    before_us = rig.busy_us()
    for me in rig.proposers(writes):
        rig.write(me)
    return (rig.busy_us() - before_us) / writes


def _floor_us(rig, boards):
    """Of one write at the leader, with the frames as they were seen."""
    rig.lengths.clear()
    rig.write(rig.world.leader())
    acks = boards // 2
    return airtime_us(rig.lengths[APPEND]) + acks * airtime_us(rig.lengths[ACK])


def latency(writes=200, boards=BOARDS):
    """Milliseconds from a proposal to its answer at the leader, at a follower, and until all boards
    have applied it; no loss. `yardstick`: one data frame, one journal write, the majority's acks
    and the processor's time for them."""
    rows = []
    for count in boards:
        for loop in LOOPS:
            rig = Rig(count, loop=loop)
            rig.warm_up()
            yardstick_ms = _yardstick_us(rig, count) / 1000
            at = {"leader": [], "follower": [], "all": []}
            for me in rig.proposers(writes):
                where = "leader" if rig.leads(me) else "follower"
                asked = rig.write(me)
                at[where].append((asked.answered_us - asked.at_us) / 1000)
                rig.wait(lambda rig=rig, index=asked.index: _all_applied(rig, index))
                at["all"].append((rig.world.now_us - asked.at_us) / 1000)
            row = {"boards": count, "loop": loop}
            for where, times_ms in at.items():
                row.update({"%s_%s" % (where, name): ms for name, ms in spread(times_ms).items()})
            row["yardstick"] = round(yardstick_ms, 3)
            row["ratio"] = round(row["leader_median"] / yardstick_ms, 3)
            rows.append(row)
    judged = [row for row in rows if (row["boards"], row["loop"]) == (_JUDGED, SPINS)]
    return {**({"ratio": judged[0]["ratio"]} if judged else {}), "rows": rows}


def _yardstick_us(rig, boards):
    """What a write at the leader cannot do without, one after the other; frames as they were
    seen. The leader reads the acks while the next one is on the air."""
    rig.lengths.clear()
    rig.write(rig.world.leader())
    cost = {name: part.us for name, part in TABLE.items()}
    write_us = cost["program"] + (rig.lengths[APPEND] - 50) * cost["byte"]
    data_us = cost["encode"] + cost["entry"] + airtime_us(rig.lengths[APPEND])
    hear_us = cost["decode"] + cost["entry"] + cost["handle"]
    ack_us = cost["encode"] + airtime_us(rig.lengths[ACK])
    read_us = max(cost["decode"] + cost["handle"], airtime_us(rig.lengths[ACK]))
    return data_us + hear_us + write_us + ack_us + boards // 2 * read_us


def throughput(offered=(25, 50, 100, 200, 400, 800), seconds=5, boards=5):
    """Writes committed a second against writes offered a second, by all boards alike: the share of
    the channel that this takes, of the least lucky board in the luckiest one's writes (fairness),
    what was refused as busy, and elections that the load caused."""
    rows = []
    for percent in (30, 100):
        for rate in offered:
            rig = Rig(boards, airtime_percent=percent)
            rig.warm_up()
            before_us, terms = rig.busy_us(), len(rig.world.checks.leaders)
            asked = rig.flood(rate, seconds)
            busy = (rig.busy_us() - before_us) / (seconds * 1e6)
            done = [sum(_is_done(a, me) for a in asked) for me in rig.world.boards]
            rows.append(
                {
                    "cap": percent,
                    "offered": rate,
                    "committed": round(sum(done) / seconds, 1),
                    "busy": sum(a.code == BUSY for a in asked),
                    "airtime_share": round(busy, 3),
                    "fairness": round(min(done) / max(done), 3) if max(done) else 0.0,
                    "elections": len(rig.world.checks.leaders) - terms,
                }
            )
    return {"most_committed": max(row["committed"] for row in rows), "rows": rows}


def _is_done(asked, me):
    return asked.board == me and asked.code == COMMITTED


def _all_applied(rig, index):
    return all(board.raft.applied_index >= index for board in rig.world.alive())


def failover(deaths=1000, boards=5, losses=(0.0, 0.05, 0.2)):
    """Milliseconds from a dead leader's last frame to the next leader, and to the next committed
    write; and the share of the elections that took more than one term."""
    rows = []
    for loss in losses:
        rig = Rig(boards, loss)
        leads, writes, split = [], [], 0
        for _ in range(deaths):
            dead = rig.world.leader()
            term = rig.world.boards[dead].raft.term
            rig.world.crash(dead)
            last_us = rig.last_us(dead)
            rig.wait(rig.world.leader)
            leads.append((rig.world.now_us - last_us) / 1000)
            split += rig.world.boards[rig.world.leader()].raft.term > term + 1
            rig.write(rig.world.leader())
            writes.append((rig.world.now_us - last_us) / 1000)
            rig.world.restart(dead)
            rig.settled()
            rig.world.run(rig.world.random.randrange(200))
        row = {"loss": loss, "deaths": deaths, "split": round(split / deaths, 4)}
        for what, times_ms in (("leader", leads), ("write", writes)):
            row.update({"%s_%s" % (what, name): ms for name, ms in spread(times_ms).items()})
        rows.append(row)
    judged = [row for row in rows if row["loss"] == 0.05]
    top = {"median_ms": judged[0]["leader_median"], "p99_ms": judged[0]["leader_p99"]}
    return {**(top if judged else {}), "rows": rows}


def jam(runs=10, boards=5, seconds=10):
    """A channel that loses 90 % of all frames for ten seconds, while all boards write: what was
    acknowledged and is lost, and milliseconds from its end to a leader that is heard by all."""
    leads, committed, lost = [], 0, 0
    for seed in range(1, runs + 1):
        rig = Rig(boards, seed=seed)
        rig.warm_up()
        rig.world.lose(0.9)
        asked = rig.flood(20, seconds)
        rig.world.lose(0)
        ends_us = rig.world.now_us
        rig.wait(rig.world.leader)
        leads.append((rig.world.now_us - ends_us) / 1000)
        rig.settled()
        said = [a for a in asked if a.code == COMMITTED]
        committed += len(said)
        log = rig.world.checks.committed
        lost += sum(not any(entry[2].endswith(a.command) for entry in log) for a in said)
    row = {"runs": runs, "committed": committed, "lost": lost}
    row.update({"leader_%s" % name: ms for name, ms in spread(leads).items()})
    row["leader_most"] = round(max(leads), 3)
    return {"lost": lost, "leader_most_ms": row["leader_most"], "rows": [row]}


def catch_up(distances=(10, 100, 1000), boards=7, repeats=3):
    """Seconds until boards that were off are equal again, and the airtime of it beyond what an idle
    cluster uses, against what they missed; one and three boards at once. The log keeps 256 entries:
    who missed more gets a snapshot."""
    rows = []
    for missed in distances:
        for absent in (1, 3):
            times_s, used_ms, snapshots = [], [], 0
            for seed in range(1, repeats + 1):
                rig = Rig(boards, seed=seed, snapshot_entries=256, keep_entries=128)
                idle = _idle_share(rig, 1000)
                off = [me for me in rig.world.boards if not rig.leads(me)][:absent]
                for me in off:
                    rig.world.crash(me)
                for _ in range(missed):
                    rig.write(rig.world.leader())
                installed = rig.world.checks.installed
                before_us, began_us = rig.busy_us(), rig.world.now_us
                for me in off:
                    rig.world.restart(me)
                rig.settled()
                passed_us = rig.world.now_us - began_us
                times_s.append(passed_us / 1e6)
                used_ms.append((rig.busy_us() - before_us - idle * passed_us) / 1000)
                snapshots += rig.world.checks.installed - installed
            rows.append(
                {
                    "missed": missed,
                    "boards": absent,
                    "seconds": round(median(times_s), 3),
                    "airtime_ms": round(median(used_ms), 1),
                    "snapshots": snapshots,
                }
            )
    return {"rows": rows}


def scale(boards=(3, 5, 7, 10, 15, 20), writes=50, deaths=20):
    """From 3 to 20 boards: airtime of a write, share of an idle cluster, milliseconds to a write's
    answer at the leader and to the next leader, writes a second of 200 offered. None: so many
    boards find no leader."""
    return {"rows": [_of_size(count, writes, deaths) for count in boards]}


def _of_size(count, writes, deaths):
    row = dict.fromkeys(_OF_SIZE)
    row["boards"] = count
    try:
        rig = Rig(count)
    except RuntimeError:
        return row
    rig.warm_up()
    row["idle_share"] = round(_idle_share(rig, _IDLE_MS), 4)
    row["us_per_write"] = round(_per_write_us(rig, writes))
    row["leader_median"] = latency(writes, (count,))["rows"][0]["leader_median"]
    after = failover(deaths, count, (0.05,))["rows"][0]
    row["failover_median"], row["failover_p99"] = after["leader_median"], after["leader_p99"]
    loaded = throughput((200,), 3, count)["rows"][0]
    row["committed"], row["elections"] = loaded["committed"], loaded["elections"]
    return row


def _idle_share(rig, ms):
    """Of the channel, while nobody writes for `ms`."""
    before_us, began_us = rig.busy_us(), rig.world.now_us
    rig.world.run(ms)
    return (rig.busy_us() - before_us) / (rig.world.now_us - began_us)


def sim_speed(seconds=100):
    """Virtual seconds and deliveries a second of this computer, on one core, with all checks: calm,
    one write a second, as `make sim` is."""
    rows = []
    for count in (3, 5, 10):
        result = campaign.run(1, count, seconds, faults=False)
        rows.append(
            {
                "boards": count,
                "speed": result["speed"],
                "deliveries_per_second": result["deliveries_per_second"],
            }
        )
    return {"speed": rows[1]["speed"], "rows": rows}
