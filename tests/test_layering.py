"""Imports go one way: raft <- firmware, collector <- tools, host_ui. Boards know no fakes."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Built-ins that both MicroPython on the chip and CPython have, none of them a clock, a radio, a
# file, a loop or a random source.
BUILT_INS = {"micropython", "struct", "hashlib", "binascii", "array", "errno"}
MAY_IMPORT = {
    "raft": BUILT_INS | {"raft"},
    "firmware": {"raft", "firmware", "collector"},
    "collector": {"raft", "firmware", "collector"},
}
CHIP = {"asyncio", "esp32", "espnow", "gc", "json", "machine", "network", "os", "random", "select"}
CHIP |= {"socket", "struct", "sys", "time", "binascii"}
BOARD_FILES = [ROOT / "boot.py"] + sorted(
    path for folder in MAY_IMPORT for path in (ROOT / folder).glob("**/*.py")
)


def imports(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield node.module.split(".")[0]


def wrong_imports(layer, text):
    allowed = MAY_IMPORT[layer] | (set() if layer == "raft" else CHIP | BUILT_INS)
    return sorted(set(imports(text)) - allowed)


@pytest.mark.parametrize("path", BOARD_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    layer = path.relative_to(ROOT).parts[0]
    assert wrong_imports("firmware" if layer == "boot.py" else layer, path.read_text()) == []


@pytest.mark.parametrize("path", BOARD_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_board_file_knows_where_it_runs(path):
    found = re.search(r"sys\.platform|\bunix\b|\bfakes?\b", path.read_text())
    assert found is None, found


def test_the_check_can_fail():
    assert wrong_imports("raft", "import time\nfrom firmware import radio") == ["firmware", "time"]
    assert wrong_imports("collector", "from tools.air import Air") == ["tools"]


def test_the_core_stays_small():
    """The protocol, that is: state machines are beside it, and a user's own would not count."""
    machines = {"intlist.py", "keyvalue.py"}
    lines = {p.name: p.read_text().count("\n") for p in (ROOT / "raft").glob("*.py")}
    core = sum(count for name, count in lines.items() if name not in machines)
    assert core < 4600 and max(lines.values()) < 600, lines
