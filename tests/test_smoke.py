"""The whole way on virtual boards, and proof that the smoke test can fail."""

import shutil

import pytest

from tools import smoke
from tools.demo import ROOT
from tools.link import LinkError


def test_smoke():
    result = smoke.run()
    assert result["ok"] and result["writes_acknowledged"] == 40 and result["writes_lost"] == 0
    assert result["digest_equal"] and result["interpreter"].startswith("micropython ")
    assert len(set(result["leaders"])) == len(set(result["addressed"])) == 2
    assert all(a != b for a, b in zip(result["addressed"], result["leaders"], strict=True))


@pytest.mark.parametrize(
    "module,line,failure,what",
    [
        # Boards that have forgotten everything know that, and do not act as if they were new.
        (
            "ringstore",
            "self._program(self._newest, self._at + 1, record[1:])",
            LinkError,
            "no leader",
        ),
        ("journal", "self._append(_ENTRY, end - _HEAD)", smoke.SmokeFailed, "lost 40 of 40"),
    ],
)
def test_smoke_fails_without_the_journal(tmp_path, monkeypatch, module, line, failure, what):
    monkeypatch.setattr(smoke, "EQUAL_S", 6)
    monkeypatch.setattr(smoke, "LEADER_S", 10)
    for folder in ("raft", "firmware", "collector"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "boot.py", tmp_path)
    broken = tmp_path / "firmware" / (module + ".py")
    text = broken.read_text()
    assert text.count(line) == 1
    broken.write_text(text.replace(line, "pass"))
    with pytest.raises(failure, match=what):
        smoke.run(root=tmp_path)
