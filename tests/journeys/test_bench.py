"""`searchengine bench` on a real collection, against the figures published for its parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Command


def test_cranfield_gives_its_known_figures(command: Command, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = command("bench", data / "cranfield", "--json", out, "--runs", tmp_path / "runs", timeout_s=280)
    assert result.returncode == 0, result.stderr
    assert "hybrid" in result.stdout
    report = json.loads(out.read_text())
    assert (report["dataset"], report["split"], report["documents"], report["queries"]) == (
        "cranfield",
        "test",
        1400,
        225,
    )
    results = report["results"]
    # DESIGN.md: MiniLM .374/.775 by sentence-transformers; BM25 .365/.735 by bm25s, whose analysis is another one.
    assert results["dense"]["nDCG@10"] == pytest.approx(0.374, abs=0.003)
    assert results["dense"]["R@100"] == pytest.approx(0.775, abs=0.005)
    assert results["bm25"]["nDCG@10"] == pytest.approx(0.365, abs=0.015)
    assert results["hybrid"]["nDCG@10"] >= 0.405
    for mode in results.values():
        assert set(mode) >= {"nDCG@10", "R@100", "RR@10", "AP@1000", "latency_ms"}
        assert mode["latency_ms"]["p50"] <= mode["latency_ms"]["p95"]
    runs = sorted((tmp_path / "runs").rglob("*"))
    assert any("hybrid" in path.name for path in runs)
