"""What a benchmark found, for a terminal and as JSON. Knows nothing of how it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import robustness
from benchmarks.metrics import MEASURES
from benchmarks.significance import Comparison

COMPARED = "nDCG@10"  # the measure by which systems and queries are compared


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one search for ten hits takes, in milliseconds: the median and the 95th percentile."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class ModeResult:
    """One mode's mean measures, each query's own values (measure → query id → value), and its latency.

    ``latency`` is None when no query could be timed: all of them are empty.
    """

    means: dict[str, float]
    queries: dict[str, dict[str, float]]
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class ModeComparison:
    """Two modes compared by one measure; ``p_holm`` is corrected for all comparisons of the report."""

    measure: str
    a: str
    b: str
    result: Comparison
    p_holm: float

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as one flat object."""
        return {"measure": self.measure, "a": self.a, "b": self.b, **asdict(self.result), "p_holm": self.p_holm}


@dataclass(frozen=True, slots=True)
class Report:
    """One data set's figures with one model. ``passages_per_second`` is None when no passage had to be encoded.

    ``label`` names the model where several are compared, else it is "". ``lists`` holds what each query found first:
    mode → query id → at most ten document ids.
    """

    dataset: str
    split: str
    model: str
    documents: int
    queries: int
    results: dict[str, ModeResult]
    index_seconds: float
    passages_per_second: float | None
    comparisons: tuple[ModeComparison, ...] = ()
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)  # fingerprint, fusion, backend, machine, command
    label: str = ""
    lists: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    robustness: robustness.Robustness | None = None  # measured where it was asked for

    def as_json(self) -> dict[str, Any]:
        """Return what ``bench --json`` writes."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "model": self.model,
            **({"label": self.label} if self.label else {}),
            "documents": self.documents,
            "queries": self.queries,
            "results": {
                mode: {**result.means, "latency_ms": asdict(result.latency) if result.latency else None}
                for mode, result in self.results.items()
            },
            "index_seconds": self.index_seconds,
            "passages_per_second": self.passages_per_second,
            "comparisons": [found.as_json() for found in self.comparisons],
            "notes": list(self.notes),
            **self.details,
            **({"robustness": self.robustness.as_json()} if self.robustness else {}),
        }


def mean_results(reports: Sequence[Report]) -> dict[str, dict[str, float]]:
    """Return mode → measure → the plain mean over data sets, each set counting once."""
    modes = reports[0].results
    return {
        mode: {name: sum(report.results[mode].means[name] for report in reports) / len(reports) for name in MEASURES}
        for mode in modes
    }


def as_text(reports: Sequence[Report]) -> str:
    """Draw a table for each report, and below more than one a table of the means."""
    parts = []
    for report in reports:
        rate = f"{report.passages_per_second:,.0f} passages/s" if report.passages_per_second else "nothing to encode"
        head = (
            f"{report.dataset} ({report.split}): {report.documents:,} documents, {report.queries:,} queries, "
            f"{report.model}, {rate}"
        )
        rows = [
            [mode, *figures(found.means), *(latency_figures(found.latency) if found.latency else ["-", "-"])]
            for mode, found in report.results.items()
        ]
        parts.append(head + "\n" + draw([["", *MEASURES, "p50 ms", "p95 ms"], *rows]))
        parts.extend(compared(report.comparisons))
        parts.extend(robustness_text(report))
    if len(reports) > 1:
        rows = [[mode, *figures(means)] for mode, means in mean_results(reports).items()]
        parts.append(f"mean of {len(reports)} data sets\n" + draw([["", *MEASURES], *rows]))
    return "\n\n".join(parts) + "\n"


def figures(means: dict[str, float]) -> list[str]:
    """Write the measures with four digits, in the order of the columns."""
    return [f"{means[name]:.4f}" for name in MEASURES]


def latency_figures(latency: Latency) -> list[str]:
    """Write both percentiles in milliseconds."""
    return [f"{latency.p50:.1f}", f"{latency.p95:.1f}"]


def compared(comparisons: Sequence[ModeComparison]) -> list[str]:
    """Write one line a comparison: the difference, its interval, p, and how many queries each side wins."""
    if not comparisons:
        return []
    lines = [
        f"{found.a} - {found.b}: {found.measure} {found.result.difference:+.4f} "
        f"[{found.result.low:+.4f}, {found.result.high:+.4f}], p {found.p_holm:.4f}, "
        f"{found.result.wins} wins, {found.result.ties} ties, {found.result.losses} losses"
        for found in comparisons
    ]
    return ["\n".join(lines)]


def robustness_text(report: Report) -> list[str]:
    """Draw a report's tables on robustness, captions above; none where it was not measured."""
    if report.robustness is None:
        return []
    name = f"{report.dataset}, {report.label}" if report.label else report.dataset
    return [f"{name}, {caption}\n{draw(rows)}" for caption, rows in robustness.tables(report.robustness)]


def draw(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def to_json(reports: Sequence[Report]) -> str:
    """Write one report as its object; several as {"datasets": [...], "mean": {MODE: {measure: value}}}."""
    value = reports[0].as_json() if len(reports) == 1 else None
    if value is None:
        value = {"datasets": [report.as_json() for report in reports], "mean": mean_results(reports)}
    return dump(value)


def dump(value: Any) -> str:
    """Write a value as JSON for people and programs. Raises ValueError for a figure that is no number."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
