"""Several models over several data sets: every model and mode against one baseline, in one table.

Knows reports alone, not how they were made. BM25 asks no model: it is one system, whatever the models are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.metrics import MEASURES
from benchmarks.report import (
    COMPARED,
    ModeComparison,
    ModeResult,
    Report,
    compared,
    draw,
    dump,
    figures,
    latency_figures,
    robustness_text,
)
from benchmarks.significance import compare, holm
from indexer.errors import UsageError
from searchengine.engine import LEXICAL

BUILT_IN = "default"


class System(NamedTuple):
    """What is compared: a model's label ("" for BM25) and a mode."""

    label: str
    mode: str

    def __str__(self) -> str:
        return f"{self.label}:{self.mode}" if self.label else self.mode


def label_models(names: Iterable[str]) -> dict[str, str]:
    """Name each model by the last part of its folder or name: label → model, "default" → the built-in one's name.

    Raises UsageError for none, or for two models of one label.
    """
    from indexer.encoders import pretrained

    labels: dict[str, str] = {}
    for name in names:
        label = Path(name).expanduser().resolve().name if name.startswith((".", "/", "~")) else Path(name).name
        if not label:
            raise UsageError(f"{name!r} names no model (give names or folders, separated by commas)")
        if label in labels:
            raise UsageError(f"two models are called {label}: their results would be mixed up (rename one folder)")
        labels[label] = pretrained.NAME if name == BUILT_IN else name
    if not labels:
        raise UsageError(f"no model given (names or folders, separated by commas; {BUILT_IN} is the built-in one)")
    return labels


def check_models(models: Iterable[str]) -> None:
    """Raise ModelError now rather than after hours with the models before: each must be found and trusted."""
    from indexer.encoders.cache import cache_root
    from indexer.encoders.model_folder import find

    for model in models:
        find(model, cache_root())


def systems_of(labels: Iterable[str], modes: Sequence[str]) -> list[System]:
    """List what is compared: what asks no model once, then each model in each other mode.

    Raises UsageError where no mode asks a model.
    """
    lexical = [System("", mode) for mode in modes if mode in LEXICAL]
    others = [System(label, mode) for label in labels for mode in modes if mode not in LEXICAL]
    if not others:
        asked = " and ".join(map(str, lexical))
        raise UsageError(f"{asked} asks no model, so that there is nothing to compare (add dense or hybrid to --modes)")
    return lexical + others


def choose_baseline(wanted: str | None, systems: Sequence[System]) -> System:
    """Find the system that others are compared with: the one spelt MODEL:MODE, else the first model's dense search.

    Where dense is not among the modes, the first model's first mode. Raises UsageError for one that does not take part.
    """
    if wanted is None:
        first = next(system for system in systems if system.label).label
        return next((s for s in systems if s == (first, "dense")), next(s for s in systems if s.label == first))
    names = {str(system): system for system in systems}
    if wanted not in names:
        near = get_close_matches(wanted, names, 1)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
        raise UsageError(f"no system {wanted!r} takes part ({advice})")
    return names[wanted]


def results_of(reports: Sequence[Report], system: System) -> dict[str, ModeResult]:
    """Find a system's results: data set → result. BM25's are those of the first model, as all models' are the same."""
    found: dict[str, ModeResult] = {}
    for report in reports:
        if system.label in ("", report.label):
            found.setdefault(report.dataset, report.results[system.mode])
    return found


def mean_of(results: dict[str, ModeResult]) -> dict[str, float]:
    """Return measure → the plain mean over data sets, each set counting once."""
    return {name: sum(result.means[name] for result in results.values()) / len(results) for name in MEASURES}


def pooled(results: dict[str, ModeResult]) -> dict[str, float]:
    """Pool the queries of all sets: each value weighted so that the pool's mean is the plain mean over data sets."""
    total = sum(len(result.queries[COMPARED]) for result in results.values())
    return {
        f"{dataset}\n{query}": value * total / (len(results) * len(result.queries[COMPARED]))
        for dataset, result in results.items()
        for query, value in result.queries[COMPARED].items()
    }


def compare_systems(
    reports: Sequence[Report], systems: Sequence[System], baseline: System
) -> tuple[ModeComparison, ...]:
    """Compare each system with the baseline by nDCG@10 over the queries of all reports; p corrected for all of them.

    The difference is that of the means over data sets; the paired test swaps query by query.
    """
    base = pooled(results_of(reports, baseline))
    others = [system for system in systems if system != baseline]
    found = [compare(pooled(results_of(reports, system)), base) for system in others]
    corrected = holm([comparison.p for comparison in found])
    return tuple(
        ModeComparison(COMPARED, str(system), str(baseline), comparison, p)
        for system, comparison, p in zip(others, found, corrected, strict=True)
    )


def by_dataset(reports: Sequence[Report]) -> dict[str, list[Report]]:
    """Group reports by data set, in their order."""
    groups: dict[str, list[Report]] = {}
    for report in reports:
        groups.setdefault(report.dataset, []).append(report)
    return groups


def side_by_side(reports: Sequence[Report], systems: Sequence[System]) -> list[Report]:
    """Put all systems of each data set into one report, as pictures show them."""
    return [
        replace(
            group[0],
            model=", ".join(report.label or report.model for report in group),
            results={str(system): results_of(group, system)[dataset] for system in systems},
            label="",
            robustness=group[0].robustness if len(group) == 1 else None,  # each model has its own
        )
        for dataset, group in by_dataset(reports).items()
    ]


def contest_text(reports: Sequence[Report], systems: Sequence[System], baseline: System) -> str:
    """Draw a table for each data set, a row a system, then each against the baseline; last the same for the means."""
    parts = []
    groups = by_dataset(reports)
    for dataset, group in groups.items():
        first = group[0]
        head = f"{dataset} ({first.split}): {first.documents:,} documents, {first.queries:,} queries"
        rows = []
        for system in systems:
            found = results_of(group, system)[dataset]
            times = latency_figures(found.latency) if found.latency else ["-", "-"]
            rows.append([str(system), *figures(found.means), *times])
        parts.append(head + "\n" + draw([["", *MEASURES, "p50 ms", "p95 ms"], *rows]))
        parts.extend(compared(compare_systems(group, systems, baseline)))
        parts.extend(text for report in group for text in robustness_text(report))
    if len(groups) > 1:
        rows = [[str(system), *figures(mean_of(results_of(reports, system)))] for system in systems]
        parts.append(f"mean of {len(groups)} data sets\n" + draw([["", *MEASURES], *rows]))
        parts.extend(compared(compare_systems(reports, systems, baseline)))
    return "\n\n".join(parts) + "\n"


def contest_json(reports: Sequence[Report], systems: Sequence[System], baseline: System) -> str:
    """Write every report, the means by system, and each system against the baseline over all sets."""
    value: dict[str, Any] = {
        "datasets": [report.as_json() for report in reports],
        "mean": {str(system): mean_of(results_of(reports, system)) for system in systems},
        "baseline": str(baseline),
        "comparisons": [found.as_json() for found in compare_systems(reports, systems, baseline)],
    }
    return dump(value)
