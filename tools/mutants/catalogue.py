"""Reads tests/mutants.txt, whose first lines say what it is."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATH = ROOT / "tests" / "mutants.txt"
FOLDERS = ("raft", "firmware")


class CatalogueError(Exception):
    """A mutant does not fit the present core, or the file is not understood."""


class Mutant:
    """One broken core: `changes` are (file, old lines, new lines), in their order."""

    def __init__(self, name):
        self.name = name
        self.source = ""
        self.killers = []
        self.changes = []

    def texts(self):
        """{file: its broken text}. Raises CatalogueError if the lines do not stand there once."""
        texts = {}
        for file, old, new in self.changes:
            text = texts.get(file) or (ROOT / file).read_text()
            if text.count(old) != 1:
                what = "mutant '%s': its lines stand %d times in %s, not once"
                raise CatalogueError(what % (self.name, text.count(old), file))
            texts[file] = text.replace(old, new)
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
            found.append(Mutant(line[3:]))
        elif not found or not line:
            continue
        elif line.startswith("source: "):
            found[-1].source = line[len("source: ") :]
        elif line.startswith("killers: "):
            found[-1].killers = line[len("killers: ") :].split()
        elif line.split("/")[0] in FOLDERS:
            end_change()
            found[-1].changes.append((line, "", ""))
        elif line[0] in "-+ " and found[-1].changes:
            if line[0] != "+":
                old.append(line[1:] + "\n")
            if line[0] != "-":
                new.append(line[1:] + "\n")
        else:
            raise CatalogueError("%s:%d is not understood: %s" % (PATH.name, number, line))
    end_change()
    for mutant in found:
        if not (mutant.source and mutant.killers and mutant.changes):
            raise CatalogueError("mutant '%s' lacks source, killers or lines" % mutant.name)
    return found
