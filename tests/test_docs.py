"""Documents that cannot drift: tables, rules, targets, and nothing of anybody's machine."""

import importlib
import pathlib
import re
import subprocess

import pytest

from tools import tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROTOCOL = tables.PROTOCOL.read_text()
RULES = re.findall(r"^\| .* \| .* \| `([\w.]+)` \| `(test_\w+)` \|$", PROTOCOL, re.M)
TESTS = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", tables.DOCUMENTS, ids=lambda path: path.stem)
def test_the_tables_are_those_of_the_code(path):
    text = path.read_text()
    assert tables.rewritten(path, text) == text, "run 'make rewrite' and read the diff"
    for table in tables.DOCUMENTS[path]().values():
        other = text.replace(table, "something else\n", 1)
        assert other != text and tables.rewritten(path, other) == text


def test_a_document_without_a_part_is_refused():
    with pytest.raises(ValueError, match="air.md has no part 'parameters'"):
        tables.rewritten(tables.AIR, "")


def test_there_are_rules():
    assert len(RULES) >= 15


@pytest.mark.parametrize("function,test", RULES)
def test_every_rule_names_a_function_and_a_test_that_exist(function, test):
    module, _, rest = function.partition(".")
    found = importlib.import_module(module)
    for name in rest.split("."):
        found = getattr(found, name, None) or importlib.import_module(found.__name__ + "." + name)
    assert callable(found)
    assert "\ndef %s(" % test in TESTS, test


def test_every_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        named = set(re.findall(r"`make ([a-z]+)", document.read_text()))
        assert named <= targets, (document.name, named - targets)


def test_links_in_documents_lead_somewhere():
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), (document.name, link)


def test_tests_that_documents_link_exist_in_that_file():
    named = []
    for document in sorted((ROOT / "docs").rglob("*.md")):
        for test, path in re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", document.read_text()):
            named.append(test)
            found = (document.parent / path).read_text()
            assert "def %s(" % test in found, (document.name, test, path)
    assert len(named) > 50


def test_no_file_names_a_machine_or_a_package_host():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    wrong = re.compile(r"/(work|root|home|tmp)/\w|pypi\.org|deb\.debian|npmjs", re.I)
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in (".png", ".bin") or name == "tests/test_docs.py" or not path.exists():
            continue
        found = wrong.search(path.read_text())
        assert found is None, (name, found)
