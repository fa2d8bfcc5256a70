"""Reads tests/mutants.txt, whose first lines say what it is."""

import pathlib
import re

from tools.sim.scenario import FOLDER as SCENARIOS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATH = ROOT / "tests" / "mutants.txt"
FOLDERS = ("raft", "firmware")


class CatalogueError(Exception):
    """A mutant does not fit the present core, or the file is not understood; names its line."""


class Mutant:
    """One broken core: `changes` are (file, old lines, new lines), in their order; `line`: where in
    the catalogue it begins."""

    def __init__(self, name, line):
        self.name = name
        self.line = line
        self.source = ""
        self.killers = []
        self.changes = []

    def texts(self):
        """{file: its broken text}. Raises CatalogueError if the lines do not stand there once."""
        texts = {}
        for file, old, new in self.changes:
            if file not in texts:
                if not (ROOT / file).is_file():
                    raise _wrong(self.line, "mutant '%s': there is no %s" % (self.name, file))
                texts[file] = (ROOT / file).read_text()
            found = texts[file].count(old)
            if found != 1:
                what = "mutant '%s': its lines stand %d times in %s, not once"
                raise _wrong(self.line, what % (self.name, found, file))
            texts[file] = texts[file].replace(old, new)
        return texts


def catalogue(text=None):
    """Every Mutant of the file, or of `text`. Raises CatalogueError."""
    found = []
    lines = (PATH.read_text() if text is None else text).splitlines()
    old, new = [], []

    def end_change():
        if old or new:
            file = found[-1].changes.pop()[0]
            found[-1].changes.append((file, "".join(old), "".join(new)))
        old.clear()
        new.clear()

    for number, line in enumerate(lines, 1):
        if line.startswith("== "):
            end_change()
            found.append(Mutant(line[3:], number))
        elif not found or not line:
            continue
        elif line.startswith("source: "):
            found[-1].source = line[len("source: ") :]
        elif line.startswith("killers: "):
            found[-1].killers = line[len("killers: ") :].split()
            for killer in found[-1].killers:
                if not _exists(killer):
                    raise _wrong(number, "there is no killer '%s'" % killer)
        elif line.split("/")[0] in FOLDERS:
            end_change()
            found[-1].changes.append((line, "", ""))
        elif line[0] in "-+ " and found[-1].changes:
            if line[0] != "+":
                old.append(line[1:] + "\n")
            if line[0] != "-":
                new.append(line[1:] + "\n")
        else:
            raise _wrong(number, "this is not understood: %s" % line)
    end_change()
    names = set()
    for mutant in found:
        for lacks in ("source", "killers", "changes"):
            if not getattr(mutant, lacks):
                raise _wrong(mutant.line, "mutant '%s' lacks its %s" % (mutant.name, lacks))
        if not all(old for _, old, _ in mutant.changes):
            what = "mutant '%s' does not say where its lines go"
            raise _wrong(mutant.line, what % mutant.name)
        if mutant.name in names:
            raise _wrong(mutant.line, "there are two mutants '%s'" % mutant.name)
        names.add(mutant.name)
    return found


def _exists(killer):
    """A killer that is misspelled fails on every core, and would seem to notice."""
    kind, colon, name = killer.partition(":")
    if not colon:
        return (SCENARIOS / (killer + ".txt")).is_file()
    if kind == "portable":
        module, _, test = name.partition(".")
        path = ROOT / "tests" / "portable" / (module + ".py")
        return path.is_file() and "\ndef %s()" % test in path.read_text()
    return kind == "seeds" and (name == "any" or name.replace("_", " ") in _properties())


def _properties():
    """Those that the simulator checks, as its own first lines say."""
    text = (ROOT / "tools" / "sim" / "checks.py").read_text()
    return re.findall(r"^    ([a-z-]+(?: [a-z-]+)*)  ", text, re.MULTILINE)


def _wrong(number, what):
    return CatalogueError("%s:%d: %s" % (PATH.relative_to(ROOT), number, what))
