"""What training brings: `searchengine train` and `adapt`, by several seeds or settings, measured on test or on dev.

    python -m benchmarks.finetune seeds ../shared/data/scifact --untouched ../shared/data/cranfield --keep /tmp/models
    python -m benchmarks.finetune negatives ../shared/data/scifact --keep /tmp/ablation
    python -m benchmarks.finetune adapt ../shared/data/scifact ../shared/data/cranfield --keep /tmp/adapted

``seeds``: one model a seed, then the test split, dense and hybrid, against the starting model: the mean over seeds of
each query, a paired bootstrap over queries; and a collection that training never saw. ``negatives``: which negatives
and which filter help, on held-out training queries alone. ``adapt``: each collection's documents alone, no judgement
opened before the last measurement, which is of every split. Models that lie in --keep already are not trained again,
interrupted runs go on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bench import bench
from benchmarks.lines import find_file, read_objects
from benchmarks.machine import machine_line
from benchmarks.qrels import read_qrels
from benchmarks.report import Report
from benchmarks.significance import compare

MODES = ("dense", "hybrid")
SPLITS = ("test", "dev", "train")
SHORT = {"run.dev_share": "0.25", "run.epochs": "2", "run.longest": "128"}  # a quarter held out, for narrower intervals
NEGATIVES: dict[str, tuple[str, dict[str, str]]] = {
    "in-batch alone": ("supervised", {"run.batch": "32", "run.learning_rate": "5e-5"}),
    "hard, no filter": ("supervised-hard", {"negatives.share": "10.0"}),
    "hard, 0.95 of the positive": ("supervised-hard", {}),
    "hard, margin 0.1": ("supervised-hard", {"negatives.share": "1.0", "negatives.margin": "0.1"}),
    "hard from hybrid": ("supervised-hard", {"negatives.source": "hybrid"}),
    "hard, none at random": ("supervised-hard", {"negatives.random": "0.0"}),
}


def main() -> None:
    """Read the command line and measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["seeds", "negatives", "adapt"])
    options.add_argument("data", type=Path, nargs="+")
    options.add_argument("--recipe", default="supervised-hard")
    options.add_argument("--seeds", default="0,1,2")
    options.add_argument("--untouched", type=Path, help="a collection to measure what was forgotten")
    options.add_argument("--documents", type=int, default=1000, help="size of the sub-corpus of `negatives`")
    options.add_argument("--only", type=int, nargs="*", help="which choices of `negatives`, by number from 0")
    options.add_argument("--keep", type=Path, required=True, help="folder for the models")
    chosen = options.parse_args()
    chosen.keep.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{machine_line()}\n")
    if chosen.what == "adapt":
        for data in chosen.data:
            adapt(data, chosen.keep / data.name)
        return
    if len(chosen.data) > 1:
        options.error("one collection, please")
    (learnt,) = chosen.data
    if chosen.what == "negatives":
        ablate(reduced(learnt, chosen.keep / "sub-corpus", chosen.documents), chosen.keep, chosen.only)
        return
    models = [
        train(chosen.recipe, learnt, chosen.keep / f"seed-{seed}", {"run.seed": seed})
        for seed in chosen.seeds.split(",")
    ]
    for data in (learnt, chosen.untouched):
        if data is not None:
            against_start(data, models)


def train(recipe: str, data: Path, output: Path, changes: Mapping[str, str], base: Path | None = None) -> Path:
    """Train a model by the installed command, unless it is there."""
    if not (output / "training" / "report.json").is_file():
        words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
        words += [] if base is None else ["--base", str(base)]
        run(["train", recipe, "--data", str(data), "--no-gate", *words], output)
    return output


def run(words: Sequence[str], output: Path) -> None:
    """Run the installed command into ``output``, or go on where that was interrupted."""
    program = str(Path(sys.executable).with_name("searchengine"))
    resume = ["--resume"] if output.exists() else []
    subprocess.run([program, *words, "--output", str(output), *resume], check=True, stdout=subprocess.DEVNULL)


def adapt(data: Path, output: Path) -> None:
    """Adapt to a collection's documents by the installed command, and print what it says and what judges say."""
    report = output / "training" / "report.json"
    if not report.is_file():
        # a copy without judgements: nothing that the command could have looked at by mistake
        bare = output.with_name(f"{output.name}-documents")
        bare.mkdir(exist_ok=True)
        corpus = find_file(data, "corpus.jsonl")[0]
        if corpus is None:
            raise SystemExit(f"{data}: no BEIR folder")
        (bare / corpus.name).write_bytes(corpus.read_bytes())
        run(["adapt", "--data", str(bare)], output)
    told = json.loads(report.read_text())
    sys.stdout.write(f"\n{data.name}: {told['reason']}; {told['steps']} steps, {told['seconds'] / 60:.1f} minutes\n")
    if told["kept"]:
        for split in SPLITS:  # all of them: no judgement of any split was learnt from
            if (data / "qrels" / f"{split}.tsv").is_file():
                against_start(data, [output], split)


def reduced(data: Path, target: Path, documents: int) -> Path:
    """Write a smaller BEIR folder: every document that training queries judge, and the corpus's first others."""
    (target / "qrels").mkdir(parents=True, exist_ok=True)
    rows = (data / "qrels" / "train.tsv").read_text(encoding="utf-8")
    (target / "qrels" / "train.tsv").write_text(rows, encoding="utf-8")
    judged = {document for grades in read_qrels(data / "qrels" / "train.tsv")[0].values() for document in grades}
    corpus, queries = find_file(data, "corpus.jsonl")[0], find_file(data, "queries.jsonl")[0]
    if corpus is None or queries is None:
        raise SystemExit(f"{data}: no BEIR folder")
    records = [record for _, record in read_objects(corpus)]
    others = [record for record in records if record["_id"] not in judged][: max(0, documents - len(judged))]
    kept = [record for record in records if record["_id"] in judged] + others
    for name, lines in (("corpus", kept), ("queries", [record for _, record in read_objects(queries)])):
        text = "".join(json.dumps(record) + "\n" for record in lines)
        (target / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return target


def ablate(data: Path, keep: Path, only: Sequence[int] | None) -> None:
    """Print held-out figures for each choice of negatives."""
    sys.stdout.write(f"{'negatives':<30}{'nDCG@10':>9}{'R@100':>8}{'minutes':>9}\n")
    first = True
    for number, (name, (recipe, changes)) in enumerate(NEGATIVES.items()):
        if only is not None and number not in only:
            continue
        place = train(recipe, data, keep / f"negatives-{number}", {**SHORT, **changes})
        told = json.loads((place / "training" / "report.json").read_text())
        if first:
            first = False
            before = told["before"]
            sys.stdout.write(f"{'(before training)':<30}{before['nDCG@10']:>9.4f}{before['R@100']:>8.4f}\n")
        after = told["after"]
        line = f"{name:<30}{after['nDCG@10']:>9.4f}{after['R@100']:>8.4f}{told['seconds'] / 60:>9.1f}\n"
        sys.stdout.write(line)
        sys.stdout.flush()


def against_start(data: Path, models: Sequence[Path], split: str = "test") -> None:
    """Print a split's figures: start, each model, their mean and its paired bootstrap."""
    reports = [bench(data, split=split, modes=MODES, model=model) for model in (None, *map(str, models))]
    sys.stdout.write(f"\n{reports[0].dataset}, {reports[0].split}: {reports[0].queries} queries\n")
    for mode in MODES:
        for name, report in zip(["start", *(model.name for model in models)], reports, strict=True):
            means = report.results[mode].means
            sys.stdout.write(f"{mode:<8}{name:<10} nDCG@10 {means['nDCG@10']:.4f}  R@100 {means['R@100']:.4f}\n")
        values = mean_of(reports[1:], mode)
        found = compare(values, reports[0].results[mode].queries["nDCG@10"])
        sys.stdout.write(
            f"{mode:<8}mean       nDCG@10 {sum(values.values()) / len(values):.4f}, "
            f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p {found.p:.4f}, "
            f"{found.wins} won, {found.losses} lost\n"
        )
    sys.stdout.flush()


def mean_of(reports: Sequence[Report], mode: str) -> dict[str, float]:
    """Average each query's nDCG@10 over the models."""
    by_query = [report.results[mode].queries["nDCG@10"] for report in reports]
    return {query: sum(values[query] for values in by_query) / len(by_query) for query in by_query[0]}


if __name__ == "__main__":
    main()
