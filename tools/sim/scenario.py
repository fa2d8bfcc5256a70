"""Scenario files: a story in commands, and what they print. docs/scenarios.md has the format.

    scenario = Scenario(path)
    scenario.played() == scenario.text      # what the test asserts
    scenario.rewrite()                      # what `make rewrite` does

A line that cannot be carried out, and a broken property, end the scenario with a ScenarioError that
names file and line; `rewrite` then leaves the file as it is.
"""

import pathlib
import re

from tools.sim.checks import Violation
from tools.sim.stage import VERBS, Stage, Wrong, play

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tests" / "scenarios"
MANUAL = ROOT / "docs" / "scenarios.md"
_DIVIDER = "----"
_BEGIN = "<!-- made from the code: %s -->\n"
_END = "<!-- end -->\n"


class ScenarioError(Exception):
    """A scenario cannot go on; the text begins with file and line."""


class Scenario:
    """One file: `title`, `drawing` (lines), `moral` and `source` from the comment that opens it."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.text = self.path.read_text()
        lines = self.text.splitlines()
        header = []
        for line in lines:
            if not line.startswith("#"):
                break
            header.append(line[1:].rstrip())
        self.title = header[0].strip() if header else ""
        self.drawing = [line for line in header if line.startswith("   ")]
        self.moral = _paragraph(header, "Moral:")
        self.source = _paragraph(header, "Source:")
        self._lines = lines

    def played(self):
        """The file's text with the expectations of this run. Raises ScenarioError."""
        stage = Stage()
        made, output = [], []
        expected = False
        for number, line in enumerate(self._lines, 1):
            if expected and line:
                continue  # what was expected so far
            expected = False
            made.append(line)
            if line == _DIVIDER:
                made += output or ["ok"]
                output = []
                expected = True
            elif line and not line.startswith("#"):
                output += self._carried_out(stage, number, line)
        if output:
            raise ScenarioError("%s: nothing is expected of the last command" % self._place(number))
        return "\n".join(made) + "\n"

    def rewrite(self):
        """Make the expectations anew. Raises ScenarioError, and then changes nothing."""
        self.path.write_text(self.played())

    def commands(self):
        """The lines that are commands."""
        expected = False
        for line in self._lines:
            if line == _DIVIDER:
                expected = True
            elif not line:
                expected = False
            elif not expected and not line.startswith("#"):
                yield line

    def _carried_out(self, stage, number, line):
        try:
            return play(stage, line)
        except Wrong as error:
            raise ScenarioError("%s: %s" % (self._place(number), error))
        except Violation as error:
            raise ScenarioError("%s: broken: %s" % (self._place(number), error)) from error

    def _place(self, number):
        path = self.path.resolve()
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        return "%s:%d" % (shown, number)


def _paragraph(header, head):
    """What follows `head` in the opening comment, up to the next empty line."""
    found = []
    for line in header:
        line = line.strip()
        if found and not line:
            break
        if found or line.startswith(head):
            found.append(line)
    return " ".join(found)[len(head) :].strip()


def scenarios():
    """Every scenario, by name."""
    return [Scenario(path) for path in sorted(FOLDER.glob("*.txt"))]


# The manual.


def manual(text):
    """`text` of docs/scenarios.md, the tables of verbs and of scenarios made anew."""
    for name, lines in (("verbs", _verbs()), ("scenarios", _listing())):
        head, found, rest = text.partition(_BEGIN % name)
        if not found:
            raise ValueError("docs/scenarios.md has no part '%s'" % name)
        text = head + found + "\n".join(lines) + "\n" + _END + rest.partition(_END)[2]
    return text


def _verbs():
    return ["- " + " ".join(verb.__doc__.split()) for verb in VERBS.values()]


def _listing():
    rows = ["| source | scenario | story |", "|---|---|---|"]
    for scenario in sorted(scenarios(), key=lambda s: _natural(s.source)):
        link = "[%s](../tests/scenarios/%s)" % (scenario.path.stem, scenario.path.name)
        rows.append("| %s | %s | %s |" % (scenario.source.rstrip("."), link, scenario.title))
    return rows


def _natural(text):
    """Sorts 'pitfall 9' before 'pitfall 10'."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
