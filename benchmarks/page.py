"""A benchmark as one HTML page that needs nothing else: no network, no script; its pictures are inside.

Every text on it, also a data set's or a model's, is escaped; the page's own policy forbids whatever slips through.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from benchmarks.contest import System, by_dataset, compare_systems, mean_of, results_of, side_by_side
from benchmarks.machine import machine_line
from benchmarks.metrics import MEASURES
from benchmarks.outputs import write_text
from benchmarks.plots import draw_report, draw_robustness, png
from benchmarks.report import ModeComparison, ModeResult, Report, figures, latency_figures
from benchmarks.robustness import tables
from benchmarks.worst import LostQuery, ResultList, mark
from searchengine.render import clean

STYLE = """
:root { color-scheme: light dark; --line: #bbb; --soft: #666; --good: #d8f0dc; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --soft: #aaa; --good: #1e4628; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
table.found th, table.found td { text-align: left; vertical-align: top; overflow-wrap: anywhere; }
tr.relevant { background: var(--good); }
td.best { font-weight: bold; }
p.soft, caption { color: var(--soft); text-align: left; }
code { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem; }
.beside > * { flex: 1 1 26rem; min-width: 0; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_page(
    reports: Sequence[Report],
    systems: Sequence[System],
    baseline: System | None,
    path: Path,
    lost: Sequence[LostQuery] | None = None,
) -> None:
    """Write the page, whole or not at all. Raises StorageError."""
    write_text(path, page(reports, systems, baseline, lost))


def page(
    reports: Sequence[Report],
    systems: Sequence[System],
    baseline: System | None,
    lost: Sequence[LostQuery] | None = None,
) -> str:
    """Draw reports as a page: the means first, then each data set, the queries lost (None: not asked for), the machine.

    With a ``baseline`` every system is compared with it, without one each report's own comparisons are shown.
    """
    groups = by_dataset(reports)
    title = f"Benchmark: {', '.join(groups)}"
    parts = [f"<h1>{safe(title)}</h1>"]
    if len(groups) > 1:
        rows = [[str(system), *figures(mean_of(results_of(reports, system)))] for system in systems]
        parts.append(f"<h2>Mean of {len(groups)} data sets</h2>" + table(["", *MEASURES], rows, best=len(MEASURES)))
        if baseline is not None:
            parts.append(comparisons(compare_systems(reports, systems, baseline)))
    for dataset, group in groups.items():
        parts.append(section(dataset, group, systems, baseline))
    if lost is not None:
        parts.append("<h2>Queries lost most</h2>")
        parts += [lost_query(number, entry) for number, entry in enumerate(lost, 1)] or ["<p>No query is lost.</p>"]
    parts.append("<h2>Machine</h2>")
    machines = dict.fromkeys(machine_line(r.details["machine"]) for r in reports if "machine" in r.details)
    parts += [f'<p class="soft">{safe(line)}</p>' for line in machines]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def section(dataset: str, group: Sequence[Report], systems: Sequence[System], baseline: System | None) -> str:
    """Draw one data set: its table, comparisons, notes, pictures and commands."""
    first = group[0]
    models = ", ".join(dict.fromkeys(f"{r.label} = {r.model}" if r.label else r.model for r in group))
    about = f"{first.documents:,} documents, {first.queries:,} queries, {models}"
    found = compare_systems(group, systems, baseline) if baseline is not None else first.comparisons
    rows = [[str(system), *cells(results_of(group, system)[dataset])] for system in systems]
    parts = [
        f"<h2>{safe(dataset)} ({safe(first.split)})</h2>",
        f"<p>{safe(about)}</p>",
        table(["", *MEASURES, "p50 ms", "p95 ms"], rows, best=len(MEASURES)),
        comparisons(found),
    ]
    parts += [f'<p class="soft">{safe(note)}</p>' for note in dict.fromkeys(n for r in group for n in r.notes)]
    (drawn,) = side_by_side(group, systems)
    figures_by_kind = draw_report(replace(drawn, robustness=None), None if baseline is None else str(baseline))
    pictures = [picture(png(figure), f"{dataset}: {kind}") for kind, figure in figures_by_kind.items()]
    parts.append(f'<div class="beside">{"".join(pictures)}</div>')
    parts += [robustness_section(report) for report in group if report.robustness is not None]
    commands = [str(report.details["command"]) for report in group if "command" in report.details]
    parts += [f"<p><code>{safe(command)}</code></p>" for command in commands]
    return "\n".join(parts)


def robustness_section(report: Report) -> str:
    """Draw how robust a report's index is: a picture, then the tables with their captions."""
    if report.robustness is None:
        return ""
    name = f"Robustness, {report.label}" if report.label else "Robustness"
    parts = [f"<h3>{safe(name)}</h3>"]
    if (figure := draw_robustness(report)) is not None:
        parts.append(picture(png(figure), f"{report.dataset}: robustness"))
    for caption, (head, *rows) in tables(report.robustness):
        parts.append(f'<p class="soft">{safe(caption)}</p>' + table(head, rows))
    return "\n".join(parts)


def cells(result: ModeResult) -> list[str]:
    """Write a result's measures and latency."""
    return [*figures(result.means), *(latency_figures(result.latency) if result.latency else ["-", "-"])]


def comparisons(found: Sequence[ModeComparison]) -> str:
    """Draw a row a comparison, or nothing where there is none."""
    if not found:
        return ""
    head = ["", f"difference in {found[0].measure}", "95 % interval", "p (Holm)", "wins", "ties", "losses"]
    rows = [
        [
            f"{entry.a} - {entry.b}",
            f"{entry.result.difference:+.4f}",
            f"{entry.result.low:+.4f} to {entry.result.high:+.4f}",
            f"{entry.p_holm:.4f}",
            *(f"{count:,}" for count in (entry.result.wins, entry.result.ties, entry.result.losses)),
        ]
        for entry in found
    ]
    return table(head, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], best: int = 0) -> str:
    """Draw a table; in its first ``best`` columns of figures the highest ones are bold."""
    tops = [max(row[column] for row in rows) for column in range(1, best + 1)]  # as written: all have one width
    lines = []
    for row in rows:
        marked = [
            f"{opened('td', 'best' if 0 < column <= best and cell == tops[column - 1] else '')}{safe(cell)}</td>"
            for column, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(marked)}</tr>")
    header = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in head)
    return f'<div class="wide"><table><thead><tr>{header}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def lost_query(number: int, lost: LostQuery) -> str:
    """Draw a lost query with both lists beside each other."""
    return (
        f"<h3>{number}. {safe(lost.text)}</h3>"
        f'<p class="soft">{safe(lost.dataset)}, query {safe(lost.query)}: nDCG@10 -{lost.loss:.4f}</p>'
        f'<div class="beside">{result_list(lost.loser)}{result_list(lost.winner)}</div>'
    )


def result_list(found: ResultList) -> str:
    """Draw what one system found; relevant documents are marked by a sign and a colour."""
    caption = f"{found.system} {found.value:.4f}, {found.relevant} relevant in all"
    rows = [
        f"{opened('tr', 'relevant' if line.is_relevant else '')}<td>{rank}</td><td>{mark(line)}</td>"
        f"<td>{safe(line.document)}</td><td>{safe(line.words)}</td></tr>"
        for rank, line in enumerate(found.found, 1)
    ]
    return f'<table class="found"><caption>{safe(caption)}</caption><tbody>{"".join(rows)}</tbody></table>'


def opened(tag: str, kind: str) -> str:
    """Open a tag, of a class where one is given."""
    return f'<{tag} class="{kind}">' if kind else f"<{tag}>"


def picture(data: bytes, text: str) -> str:
    """Put a PNG inside the page."""
    return f'<img alt="{safe(text)}" src="data:image/png;base64,{b64encode(data).decode("ascii")}">'


def safe(text: str) -> str:
    """Escape a text for HTML; what is not printable, or would turn text around, is replaced."""
    return escape(clean(text))
