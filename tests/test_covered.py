"""Campaigns that use parts of tests/ run as installed, from anywhere; and coverage is measured."""

import json
import pathlib
import subprocess
import sys

RAFTNOW = pathlib.Path(sys.executable).parent / "raftnow"


def raftnow(folder, *words):
    return subprocess.run(
        [RAFTNOW, *words], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_parsers_run_from_anywhere(tmp_path):
    done = raftnow(tmp_path, "parsers", "--target", "frames", "--cases", "3")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["cases"] == 6


def test_coverage_counts_what_scenarios_and_fuzzing_run(tmp_path):
    done = raftnow(tmp_path, "coverage", "--runs", "2", "--cases", "1")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] == (result["percent"] >= result["least"]) == (done.returncode == 0)
    assert 80 < result["percent"] < 100
    assert "raft/election.py" in done.stderr and "Branch" in done.stderr
