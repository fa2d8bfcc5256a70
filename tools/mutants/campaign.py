"""Runs the catalogue: every mutant must be noticed by all its killers, the real core by none."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.pool import ThreadPool

from tools.mutants.catalogue import FOLDERS, ROOT, CatalogueError, catalogue
from tools.sim.scenario import scenarios

LIMIT_S = 300  # a mutant that hangs is noticed, too


class Trial:
    """What became of one mutant (None: the real core): `noticed`: {killer: what it saw}; `hangs`:
    it did not come to an end."""

    def __init__(self, mutant):
        self.mutant = mutant
        self.noticed = {}
        self.hangs = False
        self.seconds = 0.0

    @property
    def killed(self):
        """True if each killer that the catalogue names has noticed."""
        return self.hangs or all(killer in self.noticed for killer in self.mutant.killers)

    def line(self):
        """All of it, for a reader."""
        mutant = self.mutant
        told = [
            "%s: %s" % (killer, self.noticed.get(killer, "DID NOT NOTICE"))
            for killer in mutant.killers
        ]
        also = sum(killer not in mutant.killers for killer in self.noticed)
        mark = "killed" if self.killed else "ALIVE "
        text = "%s  %s (%s)\n            " % (mark, mutant.name, mutant.source)
        text += "hangs" if self.hangs else "; ".join(told)
        return text + (", and %d more" % also if also else "")


def mutants(full=False, only="", say=None):
    """Run the catalogue, or the mutants whose name has `only` in it. Returns a dict that JSON can
    hold. `full`: try every scenario on every mutant, not only the killers; `idle_scenarios` are
    then those that notice none of their own.

    `ok`: every mutant is killed, and no killer complains of the real core. Raises CatalogueError.
    """
    say = say or _say
    began_s = time.perf_counter()
    chosen = [mutant for mutant in catalogue() if only in mutant.name]
    stories = [story.path.stem for story in scenarios()]
    named = sorted({killer for mutant in chosen for killer in mutant.killers})
    sound = _tried((None, sorted(set(named + (stories if full else [])))))
    for killer, seen in sound.noticed.items():
        say("the real core: %s: %s" % (killer, seen))
    work = [(m, m.killers + [s for s in stories if full and s not in m.killers]) for m in chosen]
    trials = []
    with ThreadPool(os.cpu_count() or 1) as pool:
        for trial in pool.imap(_tried, work):
            trials.append(trial)
            say(trial.line())
    idle = _idle(trials, stories) if full and not only else []
    if idle:
        say("scenarios that kill no mutant of their own: " + ", ".join(idle))
    survivors = [trial.mutant.name for trial in trials if not trial.killed]
    return {
        "ok": not survivors and not sound.noticed,
        "mutants": len(trials),
        "killed": len(trials) - len(survivors),
        "survivors": survivors,
        "idle_scenarios": idle,
        "full": full,
        "seconds": round(time.perf_counter() - began_s, 1),
    }


def _idle(trials, stories):
    """The scenarios that notice nothing but what most of them notice: without votes or writes no
    story goes on, and that shows nothing of any."""
    seen = set()
    for trial in trials:
        noticed = [story for story in stories if story in trial.noticed]
        if len(noticed) <= len(stories) // 2:
            seen.update(noticed)
    return [story for story in stories if story not in seen]


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _tried(work):
    """A Trial of (mutant, killers), in a process of its own."""
    mutant, killers = work
    trial = Trial(mutant)
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, pathlib.Path(folder, name), ignore=ignored)
        for file, text in mutant.texts().items() if mutant else ():
            pathlib.Path(folder, file).write_text(text)
        path = os.pathsep.join((folder, str(ROOT)))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tools.mutants.judge", *killers]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            output, errors = process.communicate(timeout=LIMIT_S * (1 + len(killers) // 40))
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            trial.hangs = True
    answers = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if len(answers) < len(killers) and not trial.hangs:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        name = mutant.name if mutant else "the real core"
        raise CatalogueError("the judge of '%s' failed: %s" % (name, last))
    trial.noticed = {a["killer"]: a["seen"] for a in answers if a["noticed"]}
    trial.seconds = time.perf_counter() - began_s
    return trial
