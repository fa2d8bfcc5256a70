"""The verbs of scenario files: what is done to boards, radio and flash, and what is to be seen.

Every public method of `Stage` is a verb, and its docstring is its manual (docs/scenarios.md). A
line that cannot be carried out raises `Wrong`.
"""

import re
from itertools import groupby

from firmware.journal import Journal
from raft.auth import KeyRing, cluster_hash
from raft.intlist import add_command, cas_command, set_command
from raft.message import (
    ACK,
    APPEND,
    CANDIDATE,
    COMMAND,
    COMMITTED,
    EVERYONE,
    FIRST_PC,
    FOLLOWER,
    GRANTED,
    HELLO,
    LEADER,
    LEARNER,
    LEASE,
    LEND,
    LINEARIZABLE,
    OPEN_SESSION,
    OUTCOME,
    OUTCOME_TEXTS,
    PRE,
    REMOVED,
    ROLE_NAMES,
    SESSION_COMMAND,
    SNAPSHOT,
    SNAPSHOT_ACK,
    STALE,
    SUCCESS,
    TRANSFER,
    TYPE_NAMES,
    VOTE,
    VOTE_REQUEST,
    VOTER,
    Message,
    identity,
)
from raft.sessions import client_name, head
from raft.wire import Codec
from tools.sim.board import Store
from tools.sim.checks import spell
from tools.sim.faults import settle
from tools.sim.histories import judge
from tools.sim.trace import GLYPHS
from tools.sim.world import Asked, World

LIMIT_MS = 5000  # how long `until` waits at most
ELECTION_LIMIT_MS = 2000
_OF_WORLD = ("seed", "boot_spread_ms", "drift_ppm")
HELLO_STATES = ("virgin", "ready", "born", "lost")
_LONG_LOG = 24  # entries; longer logs are shown as runs of a term
_LEVELS = {"": LINEARIZABLE, "by lease": LEASE, "as it is": STALE}
_COMMANDS = {"set": set_command, "add": add_command, "cas": cas_command}


class Wrong(Exception):
    """What is wrong with the present line."""


def play(stage, line):
    """Carry out one command on `stage`; return the lines that it prints."""
    name, *words = line.split()
    verb = VERBS.get(name)
    if verb is None:
        raise Wrong("unknown verb '%s'; there are %s" % (name, ", ".join(sorted(VERBS))))
    printed = verb(stage, words) or []
    return stage._events.take() + printed


class _Events:
    """What happened by itself: who stands, leads, steps down, and who lost power in a write. It
    stands where the world expects a trace."""

    def __init__(self):
        self._lines = []
        self._before = {}  # board -> (role, term)

    def take(self):
        lines, self._lines = self._lines, []
        return lines

    def begin(self, boards):
        for board in boards:
            self._before.setdefault(board.id, (FOLLOWER, 0))

    def changed(self, now_us, board):
        now = (board.raft.role, board.raft.term)
        before, self._before[board.id] = self._before[board.id], now
        if now == before:
            return
        stands = "%d stands for term %d" % (board.id, now[1])
        if now[0] == CANDIDATE:
            self._lines.append(stands)
        elif now[0] == LEADER:
            if stands in self._lines:
                self._lines.remove(stands)
            self._lines.append("%d leads term %d" % (board.id, now[1]))
        elif before[0] == LEADER:
            self._lines.append("%d steps down" % board.id)

    def board(self, now_us, board, text):
        if text.startswith("power off"):
            self._before[board.id] = (FOLLOWER, 0)
            if text != "power off":
                self._lines.append("%d: %s" % (board.id, text))

    def note(self, now_us, text):
        pass


class _Frame:
    """A frame that was sent: `raw`, from `src` to `dst`, its `kind`, and a `text` that says all."""

    def __init__(self, raw, message):
        self.raw = raw
        self.type = message.type
        self.src = message.src
        self.dst = message.dst
        self.kind = _kind(message)
        to = "all" if message.dst == EVERYONE else message.dst
        text = "%d -> %s  term %d  %s%s"
        self.text = text % (message.src, to, message.term, self.kind, _details(message))

    def fits(self, kind):
        return kind in ("*", self.kind) or kind == "AppendEntries" and self.type == APPEND

    def is_for(self, me):
        return self.dst in (me, EVERYONE)


# The types of frames, told apart by what a story tells apart.
KINDS = ["AppendEntries", "Append", "Heartbeat", "Ack", "Refusal"]
KINDS += ["RequestPreVote", "RequestVote", "PreVote", "Vote"]
KINDS += [
    name for kind, name in TYPE_NAMES.items() if kind not in (APPEND, ACK, VOTE_REQUEST, VOTE)
]


def _kind(message):
    if message.type == APPEND:
        return "Append" if message.entries else "Heartbeat"
    if message.type == ACK:
        return "Ack" if message.flags & SUCCESS else "Refusal"
    name = TYPE_NAMES[message.type]
    if message.type in (VOTE_REQUEST, VOTE) and message.flags & PRE:
        return name.replace("Vote", "PreVote")
    return name


def _details(message):
    if message.type == APPEND:
        first, last = message.prev_index + 1, message.prev_index + len(message.entries)
        entries = " %d" % first + ("..%d" % last if last > first else "") if message.entries else ""
        before = (entries, message.prev_index, message.prev_term, message.commit_index)
        return "%s behind %d of term %d, commit %d" % before
    if message.type == ACK:
        if message.flags & SUCCESS:
            return " %d" % message.index
        return ", equal at most up to %d of term %d" % (message.index, message.entry_term)
    if message.type == VOTE_REQUEST:
        log = ", log ends at %d of term %d" % (message.last_index, message.last_term)
        return log + (", as the leader wishes" if message.flags & TRANSFER else "")
    if message.type == VOTE:
        return ": yes" if message.flags & GRANTED else ": no"
    if message.type == OUTCOME:
        return ": " + OUTCOME_TEXTS[message.code]
    if message.type == LEND:
        last = message.prev_index + len(message.entries)
        return " %d..%d behind term %d" % (message.prev_index + 1, last, message.prev_term)
    if message.type == SNAPSHOT:
        last = message.offset + len(message.data)
        return " up to %d, %d..%d of %d bytes" % (
            message.last_index,
            message.offset + 1,
            last,
            message.total,
        )
    if message.type == SNAPSHOT_ACK:
        return " up to %d, has %d bytes" % (message.last_index, message.offset)
    if message.type == HELLO:
        return ": " + HELLO_STATES[message.state]
    return ""


class _Rule:
    """What happens to frames of `kind` from `src` to `dst` (None: any) on their way; the next
    `count` of them, or all while `count` is None."""

    def __init__(self, keep, count, kind, src, dst):
        self.keep = keep  # hold it back; else it is lost
        self.count = count
        self.kind = kind
        self.src = src
        self.dst = dst

    def takes(self, frame, me):
        return (
            self.count != 0
            and frame.fits(self.kind)
            and self.src in (None, frame.src)
            and self.dst in (None, me)
            and frame.is_for(me)
        )


class _Proposed:
    """What a board was asked for in one line: `text`, and an Asked for each value."""

    def __init__(self, board, text, asked):
        self.board = board
        self.text = text
        self.asked = asked


class Stage:
    """The boards of one scenario, and what is done to them: every public method is a verb."""

    def __init__(self):
        self._given = None
        self._events = _Events()
        self._codec = None
        self._message = Message()
        self._frames = []
        self._shown = 0  # frames that `frames` has told
        self._held = []  # (_Frame, receiver), the oldest first
        self._rules = []
        self._proposed = []
        self._reads = []
        self._requests = 0

    # The boards.

    def boards(self, words):
        """`boards N [blank] [seed=S] [setting=value]`: N boards. They start at the first command
        that is not `flash`; settings are those of a board's config, `boot_spread_ms` (0) and
        `drift_ppm` (0) of their clocks. `blank`: they were never switched on before; else they have
        identities, and logs that are empty."""
        born = words[1:2] != ["blank"]
        settings = dict(_setting(word) for word in words[1 if born else 2 :])
        given = {name: settings.pop(name) for name in _OF_WORLD if name in settings}
        count = _number(words[0] if words else "", "a number of boards")
        try:
            self._given = World(
                **{"seed": 1, "boot_spread_ms": 0, **given},
                boards=count,
                settings=settings,
                born=born,
                trace=self._events,
            )
        except ValueError as error:
            raise Wrong(str(error))
        self._given.ether = self._on_air
        self._given.record()
        config = self._given.boards[1].config
        keys = KeyRing(config.key, config.key_generation)
        self._codec = Codec(cluster_hash(config.cluster), keys, 0, 1)

    def flash(self, words):
        """`flash A [term T] [vote V] log 1 1 2x40`: board A starts with this on its flash: the
        terms of its log's entries, `2x40` for forty of term 2; T is that of the last if not said.
        """
        board = self._given_boards()[self._id(words[0] if words else "")]
        if board.boots:
            raise Wrong("board %d has started: flash it right behind 'boards'" % board.id)
        terms, numbers = [], {"term": 0, "vote": 0}
        words = words[1:]
        while words and words[0] in numbers:
            numbers[words[0]] = _number("".join(words[1:2]), words[0])
            words = words[2:]
        if words[:1] != ["log"]:
            raise Wrong("say 'flash A [term T] [vote V] log' and the terms of the entries")
        for word in words[1:]:
            term, _, times = word.partition("x")
            terms += [_number(term, "a term")] * _number(times or "1", "how many entries")
        if terms != sorted(terms):
            raise Wrong("terms never fall along a log")
        journal = Journal(Store(board))
        journal.recover()
        vote = numbers["vote"] and identity(numbers["vote"], 1)
        journal.hard_state(max([numbers["term"]] + terms), vote)
        for index, term in enumerate(terms, 1):
            command = set_command(index % _cells_of(board), 1000 * term + index)
            journal.entry(index, (term, COMMAND, command))
            self._given.asked.append(Asked(board.id, command, 0))  # by somebody, once
        journal.sync()

    def crash(self, words):
        """`crash A B`, `crash all`, `crash A in write N`: cut the power, now or in the middle of
        the N-th flash write from now on."""
        if "in" in words:
            if len(words) != 4 or words[1:3] != ["in", "write"]:
                raise Wrong("say 'crash A in write N'")
            count = _number(words[3], "a number of writes")
            self.world.crash_in_write(self._id(words[0]), count)
            return
        for me in self._ids(words):
            self.world.crash(me)

    def tear(self, words):
        """`tear A`: from now on a power cut leaves a part of what is being written on A's flash."""
        for me in self._ids(words):
            self._given.tear(me)

    def restart(self, words):
        """`restart A B`, `restart all`: give power to those that have none."""
        for me in self._ids(words):
            self.world.restart(me)

    def wipe(self, words):
        """`wipe A`: A loses power, and its flash all but config and mark of birth."""
        for me in self._ids(words):
            self.world.wipe(me)

    def clone(self, words):
        """`clone A N`: A's flash is copied to another chip, and that one is switched on as board N
        of this story: it believes to be A."""
        if len(words) != 2:
            raise Wrong("say 'clone A N'")
        self.world.clone(self._id(words[0]), self._new_id(words[1]))

    def join(self, words):
        """`join N`: a new board N is switched on, which has no first configuration."""
        self.world.add(self._new_id("".join(words)))

    def slow(self, words):
        """`slow A 60ms`: from now on each flash write of A takes so long. `slow A 2ms 5% 300ms`:
        and, with that chance, so much longer."""
        if len(words) not in (2, 4):
            raise Wrong("say 'slow A 60ms' or 'slow A 2ms 5% 300ms'")
        me = self._id(words[0])
        stall = (_share(words[2:3]), _ms(words[3])) if words[2:] else ()
        self._given.slow(me, _ms(words[1]), *stall)

    def ring(self, words):
        """`ring A 600`: from now on A's receive ring has so many bytes."""
        if len(words) != 2:
            raise Wrong("say 'ring A 600'")
        self.world.ring(self._id(words[0]), _number(words[1], "a number of bytes"))

    def stall(self, words):
        """`stall A 400ms`: so long A does nothing but take frames into its receive ring."""
        if len(words) != 2:
            raise Wrong("say 'stall A 400ms'")
        self.world.stall(self._alive(words[0]).id, _ms(words[1]))

    # Time and timers.

    def run(self, words):
        """`run 300ms`: let time pass. Prints who stands, leads, steps down."""
        self.world.run(_ms("".join(words)))

    def until(self, words):
        """`until leader`, `until A leads`, `until A stands`, `until A holds I of T` (entry I, of
        term T, on its flash), `until A commits I`, `until answered`, `until equal` (all with power:
        the same log, all of it applied), `until A votes` (in everybody's log), `until A belongs`
        (it has an identity): let time pass up to there, at most 5 s. `within 400ms`
        behind it: at most so long."""
        limit_ms = LIMIT_MS
        if len(words) > 2 and words[-2] == "within":
            limit_ms = _ms(words[-1])
            words = words[:-2]
        if not self.world.run_until_true(self._condition(words), limit_ms):
            return ["not within %d ms" % limit_ms]

    def elect(self, words):
        """`elect A`: A's election timer runs out and the others' do not, until A leads; for at most
        2 s."""
        me = self._alive("".join(words)).id
        for board in self.world.alive():
            self._set_timer(board.id, 0 if board.id == me else ELECTION_LIMIT_MS)
        if not self.world.run_until_true(self._condition([me, "leads"]), ELECTION_LIMIT_MS):
            return ["%d does not lead within %d ms" % (me, ELECTION_LIMIT_MS)]

    def timeout(self, words):
        """`timeout A B`: their election timers run out now."""
        for me in self._ids(words):
            self._set_timer(self._alive(me).id, 0)

    def timer(self, words):
        """`timer A B 2s`: their election timers run out then, if nothing sets them anew."""
        if len(words) < 2:
            raise Wrong("say 'timer A 2s'")
        for me in self._ids(words[:-1]):
            self._set_timer(self._alive(me).id, _ms(words[-1]))

    # Clients.

    def propose(self, words):
        """`propose A set 2 34`, `propose A add 0 5`, `propose A cas 0 5 6`: A's own app asks for a
        change. `set 2 1..9` asks for nine, one after the other. `propose A bytes 0102..`: for any
        command, in hex digits."""
        if len(words) < 3 or words[1] not in (*_COMMANDS, "bytes"):
            raise Wrong("say 'propose A set INDEX VALUE', or add, or cas")
        board = self._alive(words[0])
        if words[1] == "bytes":
            asked = self.world.propose(board.id, _bytes(words[2]))
            self._proposed.append(_Proposed(board.id, " ".join(words[1:]), [asked]))
            return
        *given, last = words[2:]
        first, _, end = last.partition("..")
        numbers = [_number(word, "a number") for word in given]
        values = range(_number(first, "a value"), _number(end or first, "a value") + 1)
        try:
            commands = [_COMMANDS[words[1]](*numbers, value) for value in values]
        except (TypeError, ValueError) as error:
            raise Wrong(str(error))
        asked = [self.world.propose(board.id, command) for command in commands]
        self._proposed.append(_Proposed(board.id, " ".join(words[1:]), asked))

    def read(self, words):
        """`read A`, `read A by lease`: A's own app reads the database, no older than now; `read A
        as it is`: what A has applied."""
        level = _LEVELS.get(" ".join(words[1:]))
        if level is None:
            raise Wrong("say 'read A', 'read A by lease' or 'read A as it is'")
        self._reads.append(self.world.read(self._alive(words[0]).id, level))

    def ask(self, words):
        """`ask A I.N set 2 34`: a client's command number N of its session I comes to A once, as
        if from a PC; `ask A open` opens its session. Session ids are the indexes of the entries
        that opened them."""
        if words[1:] == ["open"]:
            kind, data = OPEN_SESSION, client_name(FIRST_PC, 1, 1)
        else:
            found = re.fullmatch(r"(\d+)\.(\d+)", words[1] if len(words) > 3 else "")
            if found is None or words[2] not in _COMMANDS:
                raise Wrong("say 'ask A open' or 'ask A SESSION.NUMBER set INDEX VALUE'")
            numbers = [_number(word, "a number") for word in words[3:]]
            kind = SESSION_COMMAND
            data = head(int(found[1]), int(found[2]), 0) + _COMMANDS[words[2]](*numbers)
        board = self._alive(words[0])
        message = self._message
        message.src, message.incarnation, message.epoch = FIRST_PC, 1, 1
        message.kind, message.data = kind, data
        self._requests += 1
        message.request = self._requests
        self.world.touch(board.id, lambda raft: board.driver.proposals.on_forward(message))

    def client(self, words):
        """`client 300ms`: a PC that asks for one thing after the other, through any board, and
        again after about so long without an answer."""
        self.world.client(_ms("".join(words)))

    def order(self, words):
        """`order remove A`, `order promote A`, `order demote A`: whoever leads is told to; `order
        transfer A`: to hand over to A."""
        roles = {"remove": REMOVED, "promote": VOTER, "demote": LEARNER}
        if len(words) != 2 or words[0] not in (*roles, "transfer"):
            raise Wrong("say 'order remove A', or promote, demote, transfer")
        me = self._id(words[1])
        taken = (
            self.world.transfer(me)
            if words[0] == "transfer"
            else self.world.change(me, roles[words[0]])
        )
        if not taken:
            return ["refused"]

    def transfer(self, words):
        """`transfer A B`: leader A hands leadership over to B."""
        if len(words) != 2:
            raise Wrong("say 'transfer A B'")
        board, target = self._alive(words[0]), self._id(words[1])
        if board.raft.role != LEADER:
            raise Wrong("board %d does not lead" % board.id)
        if target == board.id:
            raise Wrong("board %d leads already" % target)
        self.world.touch(board.id, lambda raft: raft.transfer(target))

    # The radio.

    def cut(self, words):
        """`cut A -> B`: nothing that A sends reaches B. `cut A - B`: in both directions."""
        for a, b in self._links(words):
            self.world.cut(a, b)

    def mend(self, words):
        """`mend A -> B`, `mend A - B`: undo that; `mend all`: every cut and partition."""
        if words == ["all"]:
            self.world.heal()
            return
        for a, b in self._links(words):
            self.world.mend(a, b)

    def partition(self, words):
        """`partition 1 2 | 3 4 5`: boards hear each other only within a group; one that stands in
        two groups bridges them."""
        groups = " ".join(words).split("|")
        self.world.partition([self._ids(group.split()) for group in groups])

    def heal(self, words):
        """`heal`: undo every cut, partition, loss, delay and duplication."""
        self.world.heal()
        self.world.lose(0.0)
        self.world.delay(0)
        self.world.duplicate(0.0)

    def settle(self, words):
        """`settle`: everything works again, radio, flash and power of all; clients end. A leader, a
        write and equal databases must come of it."""
        settle(self.world)

    def lose(self, words):
        """`lose 30%`: lose so many deliveries, by chance."""
        self.world.lose(_share(words))

    def duplicate(self, words):
        """`duplicate 30%`: so many deliveries arrive twice."""
        self.world.duplicate(_share(words))

    def delay(self, words):
        """`delay 80ms`: each delivery takes up to so much longer, by chance: frames overtake."""
        self.world.delay(_ms("".join(words)))

    def radio(self, words):
        """`radio`: from now on the radio is that of boards that stand somewhere (docs/air.md)."""
        self.world.radio()

    def place(self, words):
        """`place A X Y`: put A at this place, in metres."""
        if len(words) != 3:
            raise Wrong("say 'place A X Y'")
        self.world.place(self._id(words[0]), *map(_decimal, words[1:]))

    def walk(self, words):
        """`walk A X Y SPEED`: A, which has a place, goes there, so many metres a second."""
        if len(words) != 4:
            raise Wrong("say 'walk A X Y SPEED'")
        try:
            self.world.walk(self._id(words[0]), *map(_decimal, words[1:]))
        except ValueError as error:
            raise Wrong(str(error))

    def jam(self, words):
        """`jam X Y 500ms [30%]`: noise from there for so long, which loses so much of what it
        reaches, else what it drowns."""
        if len(words) not in (3, 4):
            raise Wrong("say 'jam X Y 500ms' or 'jam X Y 500ms 30%'")
        place = (_decimal(words[0]), _decimal(words[1]))
        self.world.jam(place, _ms(words[2]), _share(words[3:]) if words[3:] else None)

    def hear(self, words):
        """`hear A 52410a..`: A hears a frame of these bytes, in hex digits."""
        if len(words) != 2:
            raise Wrong("say 'hear A' and hex digits")
        self.world.disturb(self._id(words[0]), _bytes(words[1]))

    def drop(self, words):
        """`drop Ack 3 -> 1`, `drop next Ack 3 -> *`, `drop next 2 ...`: lose these frames on their
        way. `*` stands for any kind or board."""
        self._rules.append(self._rule(False, words))

    def hold(self, words):
        """`hold Ack 3 -> 1`, and so on as `drop`: keep these frames back, for `release`."""
        self._rules.append(self._rule(True, words))

    def let(self, words):
        """`let pass`: end every `drop` and `hold`; what is held stays held."""
        if words != ["pass"]:
            raise Wrong("say 'let pass'")
        self._rules.clear()

    def release(self, words):
        """`release`, `release first`, `release last`, `release backwards`: of the frames that are
        held, all, the first, the last, or all in reverse order arrive now."""
        order = " ".join(words)
        if order not in ("", "first", "last", "backwards"):
            raise Wrong("say 'release', 'release first', 'release last' or 'release backwards'")
        self.world.run(0)
        held = self._held
        if not held:
            raise Wrong("nothing is held")
        if order == "first":
            now, self._held = held[:1], held[1:]
        elif order == "last":
            now, self._held = held[-1:], held[:-1]
        else:
            now, self._held = held[:: -1 if order else 1], []
        for frame, me in now:
            self.world.deliver(me, frame.raw)

    def play(self, words):
        """`play back [first|all] Ack 3 -> 1`: 1 hears the last (first, every) such frame of 3
        again, as sent; `play back all * * -> *` plays everything to everybody; `play back frame 70
        -> 1`: frame 70 of those that were kept so far, counted round."""
        if words[:1] != ["back"]:
            raise Wrong("say 'play back Ack 3 -> 1'")
        if len(words) == 5 and words[1] == "frame":
            me = self._id(words[4])
            self.world.play_back(me, _number(words[2], "a number"))
            return
        which = words[1] if words[1:2] in (["first"], ["all"]) else "last"
        kind, src, dst = self._pattern(words[1 + (which != "last") :])
        found = [f for f in self._frames if f.fits(kind) and src in (None, f.src)]
        if not found:
            raise Wrong("no such frame was sent so far")
        found = {"first": found[:1], "all": found, "last": found[-1:]}[which]
        for frame in found:
            for me in [dst] if dst else self.world.boards:
                if me != frame.src:
                    self.world.deliver(me, frame.raw)

    # What is to be seen.

    def logs(self, words):
        """`logs`: the terms in each board's log, what it knows to be committed in brackets. `*`
        leads, `?` stands, `~` asks whether to stand, `.` follows, `x` has no power: then what its
        flash holds. `s` is in a snapshot. Logs of more than 24 entries as `1x40`."""
        world = self.world
        rows = [(b, *_terms(b)) for b in world.boards.values()]
        longest = max(len(terms) for _, terms, _ in rows)
        show = _runs if longest > _LONG_LOG else _cells
        lines = []
        for board, terms, commit in rows:
            glyph = GLYPHS[board.raft.role] if board.alive else "x"
            lines.append(("%d %s %s" % (board.id, glyph, show(terms, commit))).rstrip())
        return lines

    def state(self, words):
        """`state`: role, term, vote, leader, commit index, applied index and last index of each."""
        lines = ["  role           term  vote  leader  commit  applied  last"]
        for board in self.world.boards.values():
            if not board.alive:
                lines.append("%d off" % board.id)
                continue
            raft = board.raft
            facts = (raft.term, raft.vote & 0xFF or "-", raft.leader or "-", raft.commit_index)
            facts = (board.id, ROLE_NAMES[raft.role]) + facts
            facts += (raft.applied_index, raft.log.last_index)
            lines.append("%d %-14s %4d  %4s  %6s  %6d  %7d  %4d" % facts)
        return lines

    def progress(self, words):
        """`progress`: up to where the leader knows each follower's flash to hold its log."""
        me = self.world.leader()
        if me is None:
            return ["nobody leads"]
        raft = self.world.boards[me].raft
        lines = ["%d leads, its log ends at %d" % (me, raft.log.last_index)]
        for who, follower in raft.followers.items():
            peer = who & 0xFF
            behind = ", gets frames of its own" if follower.behind else ""
            lines.append("%d matches %d%s" % (peer, follower.match_index, behind))
        return lines

    def outcomes(self, words):
        """`outcomes`: what became of the proposals."""
        lines = []
        for proposed in self._proposed:
            codes = [asked.code for asked in proposed.asked]
            for code in sorted(set(codes), key=codes.index):
                text = "no answer yet" if code is None else OUTCOME_TEXTS[code]
                count = "%d of them " % codes.count(code) if len(set(codes)) > 1 else ""
                lines.append("%d, %s: %s%s" % (proposed.board, proposed.text, count, text))
        return lines or ["nobody asked"]

    def reads(self, words):
        """`reads`: what became of the reads, and what they showed."""
        lines = []
        for read in self._reads:
            text = "no answer yet" if read.code is None else OUTCOME_TEXTS[read.code]
            if read.code == COMMITTED:
                text = "%s, entry %d applied" % (" ".join(map(str, read.values)), read.index)
            lines.append("%d: %s" % (read.board, text))
        return lines or ["nobody read"]

    def members(self, words):
        """`members`: who belongs to the cluster, as each board's log says: voters, then learners in
        brackets; `3.2` is the second board of that id. `x` has no power, `!` no identity."""
        lines = {}
        for board in self.world.boards.values():
            told = "x"
            if board.alive:
                told = "!" if board.driver.lost else _spelled(board.raft.configuration)
            lines.setdefault(told, []).append(str(board.id))
        return ["%s: %s" % (" ".join(boards), told) for told, boards in lines.items()]

    def sessions(self, words):
        """`sessions`: the open sessions of each board's table."""
        lines = {}
        for board in self.world.alive():
            told = " ".join(map(str, board.raft.sessions.ids())) or "none"
            lines.setdefault(told, []).append(str(board.id))
        return ["%s: %s" % (" ".join(boards), told) for told, boards in lines.items()]

    def database(self, words):
        """`database`: the integers of each board that has power."""
        boards = {}
        for me, values in self.world.databases().items():
            boards.setdefault(" ".join(map(str, values)), []).append(str(me))
        return ["%s: %s" % (" ".join(ids), values) for values, ids in boards.items()]

    def frames(self, words):
        """`frames [KIND...]`: what was sent since the last `frames`, equal ones counted. Append has
        entries, Heartbeat none; Refusal is an Ack that says no."""
        for word in words:
            _check_kind(word)
        sent = [f.text for f in self._frames[self._shown :] if not words or _any_fits(f, words)]
        self._shown = len(self._frames)
        counts = {}
        for text in sent:
            counts[text] = counts.get(text, 0) + 1
        lines = [text + ("  (%d times)" % n if n > 1 else "") for text, n in counts.items()]
        return lines or ["none"]

    def forget(self, words):
        """`forget`: the next `frames` tells only of what is sent from now on."""
        self._shown = len(self._frames)

    def check(self, words):
        """`check`: every property of docs/simulator.md has held after every event so far, and there
        is an order in which all that clients heard makes sense; with which leaders, and how many
        entries committed. A scenario ends with it."""
        world = self.world
        judge(world)
        if world.checks.all_equal():
            world.checks.finish()
        led = ", ".join("%d by %d" % pair for pair in sorted(world.checks.leaders.items()))
        count = len(world.checks.committed)
        return ["safe; %d committed; terms led: %s" % (count, led or "none")]

    # Helpers of the verbs.

    @property
    def world(self):
        """The World, its boards started."""
        self._given_boards()
        if not self._given.events:
            self._given.run(0)
        return self._given

    def _given_boards(self):
        if self._given is None:
            raise Wrong("there are no boards yet: begin with 'boards 5'")
        return self._given.boards

    def _id(self, word):
        boards = self._given_boards()
        if not str(word).isdigit() or int(word) not in boards:
            raise Wrong("there is no board '%s', there are 1..%d" % (word, len(boards)))
        return int(word)

    def _new_id(self, word):
        number = _number(word, "a number")
        if number in self._given_boards() or not 1 <= number < FIRST_PC:
            raise Wrong("a new board needs a number of its own")
        return number

    def _ids(self, words):
        if words == ["all"]:
            return list(self._given_boards())
        if not words:
            raise Wrong("say which boards")
        return [self._id(word) for word in words]

    def _alive(self, word):
        board = self.world.boards[self._id(word)]
        if not board.alive:
            raise Wrong("board %d has no power" % board.id)
        return board

    def _links(self, words):
        if len(words) != 3 or words[1] not in ("->", "-"):
            raise Wrong("say 'A -> B' or 'A - B'")
        a, b = self._id(words[0]), self._id(words[2])
        return [(a, b)] if words[1] == "->" else [(a, b), (b, a)]

    def _pattern(self, words):
        """(kind, source, destination) of 'KIND A -> B', None for any board."""
        if len(words) != 4 or words[2] != "->":
            raise Wrong("say 'KIND A -> B', * for any")
        _check_kind(words[0])
        src, dst = (None if word == "*" else self._id(word) for word in (words[1], words[3]))
        return words[0], src, dst

    def _rule(self, keep, words):
        self._given_boards()
        count = None
        if words[:1] == ["next"]:
            given = words[1:2] and words[1].isdigit()
            count = int(words[1]) if given else 1
            words = words[2 if given else 1 :]
        return _Rule(keep, count, *self._pattern(words))

    def _set_timer(self, me, ms):
        def change(raft):
            raft.election_at_ms = raft.now_ms + int(ms)

        self.world.touch(me, change)

    def _condition(self, words):
        world = self.world
        if words == ["leader"]:
            return lambda: world.leader() is not None
        if words == ["answered"]:
            return lambda: all(a.code is not None for p in self._proposed for a in p.asked)
        if words == ["equal"]:
            return self._all_equal
        if len(words) == 2 and words[1] in ("leads", "stands"):
            board = world.boards[self._id(words[0])]
            role = LEADER if words[1] == "leads" else CANDIDATE
            return lambda: board.alive and board.raft.role == role
        if len(words) == 2 and words[1] == "votes":
            # It is a voter in everybody's log.
            member = self._id(words[0])
            return lambda: all(
                b.driver.lost or b.raft.configuration.find(member)[1] == VOTER
                for b in world.alive()
            )
        if len(words) == 2 and words[1] == "belongs":
            board = world.boards[self._id(words[0])]
            return lambda: board.alive and not board.driver.lost
        if len(words) == 3 and words[1] == "commits":
            board = world.boards[self._id(words[0])]
            index = _number(words[2], "an index")
            return lambda: board.alive and board.raft.commit_index >= index
        if len(words) == 5 and words[1] == "holds" and words[3] == "of":
            board = world.boards[self._id(words[0])]
            entry = _number(words[2], "an index"), _number(words[4], "a term")
            return lambda: board.durable.holds(*entry)
        raise Wrong("'until' does not know '%s'" % " ".join(words))

    def _all_equal(self):
        rafts = [board.raft for board in self.world.alive()]
        ends = {(r.log.last_index, r.log.last_term, r.applied_index) for r in rafts}
        equal = len(ends) == 1 and rafts[0].applied_index == rafts[0].log.last_index
        return equal and self.world.leader() is not None

    def _on_air(self, board, raw, deliveries):
        """The world's ether: notes what boards send, and does to it what was said."""
        if board is None:
            return deliveries
        message = self._message
        reason = self._codec.decode(raw, len(raw), message)
        assert reason is None, reason
        frame = _Frame(raw, message)
        self._frames.append(frame)
        macs = {b.mac: b.id for b in self._given.boards.values()} if self._rules else None
        for rule in self._rules:
            taken = {}  # delivery -> board
            for delivery in deliveries:
                me = macs.get(delivery[0])  # None: a client hears it
                if me is not None and rule.takes(frame, me):
                    taken[delivery] = me
            if taken:
                if rule.count:
                    rule.count -= 1
                deliveries = [d for d in deliveries if d not in taken]
                if rule.keep:
                    self._held += [(frame, me) for me in taken.values()]
        return deliveries


VERBS = {
    name: verb for name, verb in vars(Stage).items() if callable(verb) and not name.startswith("_")
}


def _cells_of(board):
    return len(board.config.new_machine().values)


def _spelled(configuration):
    voters = " ".join(map(spell, configuration.voters))
    learners = " ".join(map(spell, configuration.learners))
    return voters + (" [%s]" % learners if learners else "") or "nobody"


def _any_fits(frame, kinds):
    return any(frame.fits(kind) for kind in kinds)


def _check_kind(word):
    if word != "*" and word not in KINDS:
        raise Wrong("there are no frames '%s'; there are %s" % (word, ", ".join(KINDS)))


def _number(word, what):
    if not re.fullmatch(r"-?\d+", word):
        raise Wrong("'%s' is not %s" % (word, what))
    return int(word)


def _decimal(word):
    if not re.fullmatch(r"-?\d+(\.\d+)?", word):
        raise Wrong("'%s' is not a number" % word)
    return float(word)


def _bytes(word):
    try:
        return bytes.fromhex(word)
    except ValueError:
        raise Wrong("'%s' is not in hex digits" % word)


def _setting(word):
    name, equals, value = word.partition("=")
    if not equals:
        raise Wrong("'%s' is no setting: say name=value" % word)
    return name, value if value.isalpha() else _number(value, "a number")


def _ms(word):
    found = re.fullmatch(r"(\d+(?:\.\d{1,3})?)(ms|s)", word)
    if found is None:
        raise Wrong("'%s' is not a time: say 300ms or 2s" % word)
    return float(found[1]) * (1000 if found[2] == "s" else 1)


def _share(words):
    found = re.fullmatch(r"(\d+(?:\.\d)?)%", "".join(words))
    if found is None or float(found[1]) > 100:
        raise Wrong("'%s' is not a share: say 30%%" % " ".join(words))
    return round(float(found[1]) / 100, 3)


def _terms(board):
    """(terms of the log's entries, 's' for those in a snapshot, how many of them it has committed);
    of a board without power what its flash holds."""
    if not board.alive:
        return ["s"] * board.durable.base + board.durable.terms, 0
    raft = board.raft
    terms = [raft.log.term_at(index) for index in range(1, raft.log.last_index + 1)]
    return ["s" if term is None else term for term in terms], raft.commit_index


def _cells(terms, commit):
    text = "[" if commit else " "
    for index, term in enumerate(terms, 1):
        text += "%s%s" % (term, "]" if index == commit else " ")
    return text


def _runs(terms, commit):
    parts = []
    for part in (terms[:commit], terms[commit:]):
        runs = [(term, len(list(run))) for term, run in groupby(part)]
        parts.append(" ".join("%sx%d" % run if run[1] > 1 else str(run[0]) for run in runs))
    return ("[%s]" % parts[0] if commit else " ") + parts[1]
