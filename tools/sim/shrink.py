"""A failing run of the fuzzer as a short scenario: of what was done to boards and radio no more
than the violation needs.

The run is told once more as lines of a scenario (`World.story`), and those are played; then lines
are taken away, many at a time and then fewer (Zeller & Hildebrandt's ddmin, 2002), as long as the
same property breaks. What falls frame by frame (timeouts, loss, delay) follows from the seed, and
from how many frames there were before: each try may have another seed.
"""

import textwrap
import time

from tools.sim import campaign
from tools.sim.checks import Violation
from tools.sim.histories import LINEARIZABILITY, judge
from tools.sim.stage import Stage, Wrong, play
from tools.sim.world import BOOT_SPREAD_MS, milliseconds

LIMIT_S = 600
_SLACK_US = 1_000_000  # so much later it may break, with something missing
_DICE = 4  # seeds that each try has: what is missing makes the rest fall otherwise
_GRAINS_US = (100_000, 10_000, 1000)  # to which times are rounded, if that does no harm
_WIDTH = 96


class NotShrunk(Exception):
    """There is nothing to shrink, or it cannot be told; the text says which."""


class _Story:
    """A violation, and what it takes: `options` of the first line, `acts` [(time_us, line)], and
    whether all is repaired in the end (`settles`)."""

    def __init__(self, options, acts, settles, violation):
        self.options = options
        self.acts = acts
        self.settles = settles
        self.violation = violation
        self.plays = 0

    def breaks(self, options=None, acts=None, dice=1):
        """Play it with these instead, and with up to `dice` seeds. If the same property breaks, the
        story is this one now."""
        options = options or self.options
        acts = self.acts if acts is None else acts
        for more in range(dice):
            thrown = {**options, "seed": options["seed"] + more}
            told, done = None, acts
            while told != done:
                # Again if some could not be carried out: time passes up to them all the same.
                told = done
                violation, done = self._played(thrown, told)
            if violation is not None and violation.property == self.violation.property:
                self.options, self.acts, self.violation = thrown, done, violation
                return True
        return False

    def _played(self, options, acts):
        """(Violation or None, the acts that were carried out until then)"""
        self.plays += 1
        stage = Stage()
        play(stage, boards_line(options))
        done = []

        def go():
            for act in acts:
                if act[0]:
                    stage.world.run_until(act[0] / 1000)
                done.append(act)
                try:
                    play(stage, act[1])
                except Wrong:
                    done.pop()  # the board has no power, now that something is missing
            if self.settles:
                play(stage, "settle")
            else:
                stage.world.run_until(self.violation.at_ms + _SLACK_US / 1000)
            if self.violation.property == LINEARIZABILITY:
                judge(stage.world)

        return _broken(stage.world, go), done

    def text(self, seed):
        """The scenario."""
        violation = self.violation
        moral = "Moral: (say it) %s: %s" % (violation.property, violation.facts)
        lines = ["# Seed %d: %s" % (seed, violation.property), "#"]
        lines += textwrap.wrap(moral, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
        lines += ["# Source: simulator, seed %d." % seed, "", boards_line(self.options)]
        now_us = 0
        for at_us, line in self.acts:
            if at_us > now_us:
                lines.append("run " + milliseconds((at_us - now_us) / 1000))
                now_us = at_us
            lines.append(line)
        if self.settles:
            lines.append("settle")
        else:
            lines.append("run %dms" % (violation.at_ms - now_us / 1000 + 1))
        return "\n".join([*lines, "check", "----"]) + "\n"


def boards_line(options):
    """The first line of a scenario, for a World of these options."""
    options = dict(options)
    words = ["boards", "%d" % options.pop("boards")]
    if not options.pop("born", True):
        words.append("blank")
    settings = options.pop("settings", {})
    return " ".join(words + ["%s=%s" % pair for pair in (*options.items(), *settings.items())])


def shrink(seed, boards=0, seconds=campaign.FAULTS_S, limit_s=LIMIT_S, say=None):
    """(text of a scenario, dict that JSON can hold) for the run of `seed` with faults.

    `limit_s`: nothing new is tried after so long. Raises NotShrunk if the run breaks no property,
    or does not break it when it is told line by line.
    """
    say = say or (lambda text: None)
    until_s = time.monotonic() + limit_s
    story = _told(seed, boards, seconds)
    before = len(story.acts)
    say("%d acts: %s" % (before, story.violation))
    if not story.breaks():
        raise NotShrunk("told line by line, seed %d does not break it" % seed)
    for candidates in _ways(story):
        while time.monotonic() < until_s:
            tried = next(candidates, None)
            if tried is None:
                break
            if story.breaks(**tried, dice=_DICE):
                say("%d acts, at %.0f ms" % (len(story.acts), story.violation.at_ms))
    return story.text(seed), {
        "ok": True,
        "seed": seed,
        "property": story.violation.property,
        "acts_before": before,
        "acts": len(story.acts),
        "plays": story.plays,
    }


def _told(seed, boards, seconds):
    acts = []
    world, faults = campaign.prepare(seed, boards, seconds, story=acts)
    options = {"seed": seed, "boot_spread_ms": BOOT_SPREAD_MS, **campaign.drawn(seed, boards)}
    violation = _broken(world, lambda: world.run_until(seconds * 1000))
    if violation is not None:
        return _Story(options, acts, False, violation)
    told = list(acts)
    violation = _broken(world, faults.finish) or _broken(world, lambda: judge(world))
    if violation is not None:
        return _Story(options, told, True, violation)
    raise NotShrunk("seed %d breaks nothing: there is nothing to shrink" % seed)


def _broken(world, go):
    """The Violation that `go()` shows, or None."""
    try:
        go()
    except Violation as violation:
        return violation
    except Exception as error:
        return campaign.failed(world, error)
    return None


# Each yields what to try next, and looks at what the story has become by then.


def _ways(story):
    yield _without_kinds(story)
    before = len(story.acts) + 1
    while len(story.acts) < before:
        before = len(story.acts)
        yield _without_parts(story)
        yield _plainer_boards(story)
        yield _rounder_times(story)


def _without_kinds(story):
    """All acts of one verb at once, the most frequent first."""
    verbs = [line.split()[0] for _, line in story.acts]
    for verb in sorted(set(verbs), key=verbs.count, reverse=True):
        yield {"acts": [act for act in story.acts if act[1].split()[0] != verb]}


def _without_parts(story):
    """ddmin: a half, a quarter, ... an act."""
    size = (len(story.acts) + 1) // 2
    while size:
        at = len(story.acts)
        while at > 0:
            # From the end: what comes later depends on what was before.
            at = max(0, min(at, len(story.acts)) - size)
            yield {"acts": story.acts[:at] + story.acts[at + size :]}
        size //= 2


def _plainer_boards(story):
    """Options as they are if nobody says anything."""
    for name in ("boot_spread_ms", "drift_ppm"):
        if name in story.options:
            yield {"options": {**story.options, name: 0}}
    for name in tuple(story.options["settings"]):
        settings = dict(story.options["settings"])
        del settings[name]
        yield {"options": {**story.options, "settings": settings}}


def _rounder_times(story):
    """Moments that a person would choose: all of them, then one by one."""
    for grain_us in _GRAINS_US:
        yield {"acts": [(_round(at_us, grain_us), line) for at_us, line in story.acts]}
    for place in range(len(story.acts)):
        for grain_us in _GRAINS_US:
            if place < len(story.acts) and story.acts[place][0] % grain_us:
                acts = list(story.acts)
                acts[place] = (_round(acts[place][0], grain_us), acts[place][1])
                if acts == sorted(acts, key=lambda act: act[0]):
                    yield {"acts": acts}


def _round(at_us, grain_us):
    return (at_us + grain_us // 2) // grain_us * grain_us
