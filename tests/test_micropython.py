"""The portable tests once more, on the MicroPython interpreter that the boards run."""

import pathlib
import subprocess

import pytest

from tools.virtual.image import find_interpreter

ROOT = pathlib.Path(__file__).parent.parent
MODULES = sorted(p.stem for p in (ROOT / "tests" / "portable").glob("test_*.py"))


def run_portable(*modules):
    # The interpreter's own 2 MB are too few for whole flash chips in memory.
    heap = ("-X", "heapsize=16M")
    command = [find_interpreter(), *heap, "tests/portable/run.py", *modules]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("module", MODULES)
def test_on_micropython(module):
    done = run_portable(module)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (ROOT / "tests" / "portable" / (module + ".py")).read_text()
    assert f"{text.count(chr(10) + 'def test_')} passed, 0 failed" in done.stdout


def test_the_runner_can_fail():
    done = run_portable("table")
    assert done.returncode == 1 and "0 passed, 0 failed" in done.stdout
