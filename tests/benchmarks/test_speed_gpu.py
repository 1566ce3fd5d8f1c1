"""The GPU's benchmark runs on the processor by the same code, and says what it compared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.speed import gpu


def test_it_runs_where_there_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "qrels").mkdir()
    texts = [f"Passage {number} says what a pump of {number} litres does when its valve sticks." for number in range(6)]
    lines = [f'{{"_id": "{number}", "title": "", "text": "{text}"}}' for number, text in enumerate(texts)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "a valve sticks"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t3\t1\n")
    words = [str(tmp_path), "--device", "cpu", "--vectors", "2000", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["gpu", *words])
    gpu.main()
    printed = capsys.readouterr().out
    assert "searchengine" in printed
    assert "100.0% of the first 10 the same" in printed
    assert (tmp_path / "out.json").is_file()


def test_without_a_gpu_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path)])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "--device cpu" in capsys.readouterr().err
