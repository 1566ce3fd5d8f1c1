"""Pictures of a report: measures by mode, quality against latency, and how far each query gains. PNG, by matplotlib.

The only place that knows matplotlib, which comes with the extra ``bench``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.metrics import MEASURES
from benchmarks.outputs import make_folder, write_whole
from benchmarks.report import Report
from indexer.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_plots(folder: Path) -> None:
    """Raise before any work: UsageError without matplotlib, StorageError when the folder takes no file."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UsageError("--plots needs matplotlib: pip install 'searchengine[bench]'") from error
    make_folder(folder)


def write_plots(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Draw each report into ``folder`` → the files written: DATASET.SPLIT.{measures,latency,queries}.png.

    The picture of latency is left out when nothing was timed, that of queries when there is one mode only.
    Raises UsageError without matplotlib, StorageError when a file cannot be written.
    """
    check_plots(folder)
    written = []
    for report in reports:
        drawn = {"measures": draw_measures(report), "latency": draw_latency(report), "queries": draw_queries(report)}
        for name, figure in drawn.items():
            if figure is None:
                continue
            path = folder / f"{report.dataset}.{report.split}.{name}.png"
            with write_whole(path) as part:
                figure.savefig(part, format="png", dpi=120)
            written.append(path)
    return written


def new_figure() -> Figure:
    """Make an empty figure. Figure itself, not pyplot: no window system, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(7, 4.2), layout="constrained")


def draw_measures(report: Report) -> Figure:
    """Draw a group of bars for each measure, one bar a mode."""
    figure = new_figure()
    axes = figure.add_subplot()
    width = 0.8 / len(report.results)
    for position, (mode, result) in enumerate(report.results.items()):
        places = [index - 0.4 + width * (position + 0.5) for index in range(len(MEASURES))]
        bars = axes.bar(places, [result.means[name] for name in MEASURES], width, label=mode)
        axes.bar_label(bars, fmt="%.3f", fontsize=7)
    axes.set_xticks(range(len(MEASURES)), MEASURES)
    axes.set_ylim(0, 1.05)
    axes.set_title(f"{report.dataset} ({report.split}), {report.model}", parse_math=False)
    axes.legend()
    return figure


def draw_latency(report: Report) -> Figure | None:
    """Draw nDCG@10 against the median latency, with a line from there to the 95th percentile."""
    timed = {mode: (result, result.latency) for mode, result in report.results.items() if result.latency}
    if not timed:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    for mode, (result, latency) in timed.items():
        height = result.means["nDCG@10"]
        reach = [[0.0], [max(0.0, latency.p95 - latency.p50)]]
        axes.errorbar(latency.p50, height, xerr=reach, fmt="o", capsize=3, label=mode)
    axes.set_xscale("log")
    axes.set_xlabel("ms a query, median to 95th percentile")
    axes.set_ylabel("nDCG@10")
    axes.set_title(f"{report.dataset} ({report.split})", parse_math=False)
    axes.legend()
    return figure


def draw_queries(report: Report) -> Figure | None:
    """Draw the last mode's gain in nDCG@10 over each other one, query by query, sorted: wins and losses at a glance."""
    *others, last = report.results
    if not others:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    best = report.results[last].queries["nDCG@10"]
    for mode in others:
        values = report.results[mode].queries["nDCG@10"]
        axes.plot(sorted((best[query] - values[query] for query in best), reverse=True), label=f"{last} - {mode}")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("queries, sorted by gain")
    axes.set_ylabel("difference in nDCG@10")
    axes.set_title(f"{report.dataset} ({report.split})", parse_math=False)
    axes.legend()
    return figure
