"""The whole way on virtual boards, and proof that the smoke test can fail."""

import shutil

import pytest

from tools import smoke
from tools.demo import ROOT


def test_smoke():
    result = smoke.run()
    assert result["ok"] and result["writes_acknowledged"] == 40 and result["writes_lost"] == 0
    assert result["digest_equal"] and result["interpreter"].startswith("micropython ")
    assert len(set(result["leaders"])) == len(set(result["addressed"])) == 2
    assert all(a != b for a, b in zip(result["addressed"], result["leaders"], strict=True))


def test_smoke_fails_without_the_journal_s_sync(tmp_path, monkeypatch):
    monkeypatch.setattr(smoke, "EQUAL_S", 6)
    for folder in ("raft", "firmware", "collector"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "boot.py", tmp_path)
    store = tmp_path / "firmware" / "filestore.py"
    text = store.read_text()
    assert text.count("self._file.flush()") == 1
    store.write_text(text.replace("self._file.flush()", "pass"))
    with pytest.raises(smoke.SmokeFailed, match="has lost 40 of 40 acknowledged writes"):
        smoke.run(root=tmp_path)
