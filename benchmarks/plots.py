"""Pictures of a report: measures by mode, quality against latency, and how far each query gains. PNG, by matplotlib.

The only place that knows matplotlib, which comes with the extra ``bench``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.metrics import MEASURES
from benchmarks.outputs import make_folder, write_whole
from benchmarks.report import Report
from indexer.errors import UsageError

LABELLED_BARS = 4  # systems; with more of them the figures above the bars run into each other

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_plots(folder: Path) -> None:
    """Raise before any work: UsageError without matplotlib, StorageError when the folder takes no file."""
    check_matplotlib("--plots")
    make_folder(folder)


def check_matplotlib(option: str) -> None:
    """Raise UsageError, naming the option that needs it, unless matplotlib is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{option} needs matplotlib: pip install 'searchengine[bench]'") from error


def write_plots(reports: Sequence[Report], folder: Path, baseline: str | None = None) -> list[Path]:
    """Draw each report into ``folder`` → the files written: DATASET.SPLIT.{measures,latency,queries,robustness}.png.

    Gains are those of each system over the ``baseline``, without one those of the last mode over each other one.
    The picture of latency is left out when nothing was timed, that of queries when there is one mode only,
    that of robustness when it was not measured.
    Raises UsageError without matplotlib, StorageError when a file cannot be written.
    """
    check_plots(folder)
    written = []
    for report in reports:
        for name, figure in draw_report(report, baseline).items():
            path = folder / f"{report.dataset}.{report.split}.{name}.png"
            with write_whole(path) as part:
                part.write_bytes(png(figure))
            written.append(path)
    return written


def draw_report(report: Report, baseline: str | None = None) -> dict[str, Figure]:
    """Draw every picture that a report has figures for: measures, latency, queries, robustness."""
    drawn = {
        "measures": draw_measures(report),
        "latency": draw_latency(report),
        "queries": draw_queries(report, baseline),
        "robustness": draw_robustness(report),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def png(figure: Figure) -> bytes:
    """Write a figure as the bytes of a PNG file."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def new_figure() -> Figure:
    """Make an empty figure. Figure itself, not pyplot: no window system, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(7, 4.2), layout="constrained")


def bars(values: Mapping[str, float], title: str) -> Figure:
    """Draw one bar for each name, its value beside it."""
    figure = new_figure()
    axes = figure.add_subplot()
    drawn = axes.barh(list(values)[::-1], list(values.values())[::-1])
    axes.bar_label(drawn, fmt="%.3g", fontsize=8, padding=2)
    axes.set_title(title, parse_math=False)
    axes.margins(x=0.1)
    return figure


def draw_measures(report: Report) -> Figure:
    """Draw a group of bars for each measure, one bar a mode."""
    figure = new_figure()
    axes = figure.add_subplot()
    width = 0.8 / len(report.results)
    for position, (mode, result) in enumerate(report.results.items()):
        places = [index - 0.4 + width * (position + 0.5) for index in range(len(MEASURES))]
        bars = axes.bar(places, [result.means[name] for name in MEASURES], width, label=mode)
        if len(report.results) <= LABELLED_BARS:
            axes.bar_label(bars, fmt="%.3f", fontsize=7)
    axes.set_xticks(range(len(MEASURES)), MEASURES)
    axes.set_ylim(0, 1.05)
    axes.set_title(f"{report.dataset} ({report.split}), {report.model}", parse_math=False)
    figure.legend(loc="outside lower center", ncols=4)  # inside it would hide bars
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


def draw_queries(report: Report, baseline: str | None = None) -> Figure | None:
    """Draw gains in nDCG@10, query by query, sorted: wins and losses at a glance.

    With a ``baseline`` every other system's gain over it, else the last mode's gain over each other one. None where
    there is one mode only.
    """
    *others, last = report.results
    pairs = [(last, mode) for mode in others]
    if baseline is not None:
        pairs = [(system, baseline) for system in report.results if system != baseline]
    if not pairs:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    for better, base in pairs:
        gained, values = (report.results[system].queries["nDCG@10"] for system in (better, base))
        axes.plot(sorted((gained[query] - values[query] for query in values), reverse=True), label=f"{better} - {base}")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("queries, sorted by gain")
    axes.set_ylabel("difference in nDCG@10")
    axes.set_title(f"{report.dataset} ({report.split})", parse_math=False)
    axes.legend()
    return figure


def draw_robustness(report: Report) -> Figure | None:
    """Draw nDCG@10 by the answer's place, by wording and by the answer's length, a line or bar a mode."""
    if (found := report.robustness) is None:
        return None
    figure = new_figure()
    figure.set_size_inches(11, 7)
    grid = figure.add_gridspec(2, len(found.position) + 1)
    for column, (passages, effects) in enumerate(found.position.items()):
        axes = figure.add_subplot(grid[0, column])
        for mode in report.results:
            places = [effect for effect in effects if effect.mode == mode]
            axes.plot([e.condition for e in places], [e.value for e in places], marker="o", label=mode)
        axes.set_ylim(0, 1.05)
        axes.set_title(f"answer's place ({passages})")
    axes = figure.add_subplot(grid[0, -1])
    for bias in found.length:
        axes.plot([most for most, _, _ in bias.quantiles], [value for _, _, value in bias.quantiles], marker="o")
    axes.set_ylim(0, 1.05)
    axes.set_title("relevant documents' words")
    axes = figure.add_subplot(grid[1, :])
    width = 0.8 / len(report.results)
    for position, mode in enumerate(report.results):
        ways = [effect for effect in found.wording if effect.mode == mode]
        places_x = [index - 0.4 + width * (position + 0.5) for index in range(len(ways))]
        axes.bar(places_x, [effect.value for effect in ways], width, label=mode)
        axes.set_xticks(range(len(ways)), [effect.condition for effect in ways])
    axes.set_ylabel("nDCG@10")
    axes.set_title(f"wording, {report.dataset} ({report.split})", parse_math=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
