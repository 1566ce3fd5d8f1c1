"""Fine-tuned, fused, reranked: everything chosen on training claims held out, the test split measured once.

    python -m benchmarks.protocol ../shared/data/scifact --keep /tmp/protocol

1. A quarter of the training queries, by a hash of their text, becomes a dev split of a copy that has no test split.
2. On the rest: an encoder (`train supervised-hard`), then a cross-encoder from it (`train cross-encoder`).
3. On the dev split: fusion weights (`tune`, kept only where they help beyond chance), then how much of the order late
   interaction and the cross-encoder may have; the best of these, or none, is what is chosen. nDCG@10 decides.
4. On all training queries: encoder and cross-encoder once more, by the same recipes and seed.
5. The test split, once: start, fine-tuned, fused with the chosen weights, reranked as chosen; paired bootstraps.

What lies in --keep already is not made again. Two trainings of each kind: about an hour on two quiet cores for SciFact.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.beir import Dataset, open_dataset
from benchmarks.bench import build, retrieve
from benchmarks.finetune import train
from benchmarks.lines import find_file, read_objects
from benchmarks.machine import machine_line
from benchmarks.metrics import Measured, measure
from benchmarks.qrels import read_qrels
from benchmarks.rerank import Read, best_share, by_share, read_all
from benchmarks.significance import compare
from indexer.format import FUSION
from indexer.progress import SILENT
from indexer.writer import Writer
from searchengine import Searcher

SHARE = 0.25
SHOWN = "nDCG@10"
NONE = "none"


def main() -> None:
    """Read the command line, choose, measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path)
    options.add_argument("--keep", type=Path, required=True, help="folder for splits, models and indexes")
    options.add_argument("--encoder", default="supervised-hard", help="the encoder's recipe")
    options.add_argument("--cross", default="cross-encoder", help="the cross-encoder's recipe")
    options.add_argument("--rerankers", default="late,cross", help="which may be chosen: late, cross or both")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the encoder's recipe")
    options.add_argument("--set-cross", action="append", default=[], metavar="KEY=VALUE", help="of the cross-encoder's")
    options.add_argument("--depth", type=int, default=50)
    options.add_argument("--dev-only", action="store_true", help="choose, and do not open the test split")
    options.add_argument("--quick", action="store_true", help="leave out step 4: the test split by step 2's models")
    chosen = options.parse_args()
    began = time.monotonic()
    chosen.keep.mkdir(parents=True, exist_ok=True)
    say(machine_line())
    split = hold_out(chosen.data, chosen.keep / f"{chosen.data.resolve().name}-held-out")
    rerankers = [name for name in chosen.rerankers.split(",") if name]
    recipes = (chosen.encoder, changes(chosen.set), chosen.cross, changes(chosen.set_cross))
    encoder, cross = models(split, chosen.keep, "held-out", recipes, with_cross="cross" in rerankers)
    choice = choose(split, chosen.keep, encoder, {"late": "late", "cross": str(cross)}, rerankers, chosen.depth)
    say(f"chosen: {json.dumps(choice)}  ({minutes(began)})")
    (chosen.keep / "choice.json").write_text(json.dumps(choice, indent=1) + "\n", encoding="utf-8")
    if chosen.dev_only:
        return
    if not chosen.quick:
        encoder, cross = models(chosen.data, chosen.keep, "all", recipes, with_cross=choice["reranker"] == "cross")
    examine(chosen.data, chosen.keep, encoder, cross, choice, chosen.depth)
    say(f"whole protocol: {minutes(began)}")


def hold_out(data: Path, target: Path) -> Path:
    """Copy a BEIR folder with a quarter of its training queries as the dev split, and without a test split."""
    (target / "qrels").mkdir(parents=True, exist_ok=True)
    corpus, queries = find_file(data, "corpus.jsonl")[0], find_file(data, "queries.jsonl")[0]
    if corpus is None or queries is None:
        raise SystemExit(f"{data}: no BEIR folder")
    texts = {str(record["_id"]): str(record["text"]) for _, record in read_objects(queries)}
    judged, _ = read_qrels(data / "qrels" / "train.tsv")
    rows: dict[str, list[str]] = {"train": [], "dev": []}
    for query, grades in judged.items():
        digest = hashlib.sha256(texts[query].encode()).digest()[:8]
        place = "dev" if int.from_bytes(digest) < SHARE * 2**64 else "train"
        rows[place] += [f"{query}\t{document}\t{grade}" for document, grade in grades.items()]
    for name, lines in rows.items():
        text = "\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n"
        (target / "qrels" / f"{name}.tsv").write_text(text, encoding="utf-8")
    for source in (corpus, queries):
        copy = target / source.name
        if not copy.exists():
            copy.symlink_to(source.resolve())
    say(f"held out: {len(rows['dev'])} judgements; {len(rows['train'])} are left to train on")
    return target


def changes(words: Sequence[str]) -> dict[str, str]:
    """Take KEY=VALUE apart."""
    return dict(word.split("=", 1) for word in words)


def models(
    data: Path,
    keep: Path,
    name: str,
    recipes: tuple[str, Mapping[str, str], str, Mapping[str, str]],
    *,
    with_cross: bool,
) -> tuple[Path, Path]:
    """Train the encoder, and a cross-encoder from it where one may be asked."""
    recipe, settings, cross_recipe, cross_settings = recipes
    began = time.monotonic()
    encoder = train(recipe, data, keep / f"encoder-{name}", settings)
    say(f"encoder on {name}: {minutes(began)}")
    cross = keep / f"cross-{name}"
    if with_cross:
        began = time.monotonic()
        train(cross_recipe, data, cross, cross_settings, base=encoder)
        say(f"cross-encoder on {name}: {minutes(began)}")
    return encoder, cross


def choose(
    split: Path, keep: Path, encoder: Path, known: Mapping[str, str], rerankers: Sequence[str], depth: int
) -> dict[str, Any]:
    """Choose fusion weights, reranker and its share on the dev split; print what each gives."""
    dataset = open_dataset(split, "dev")
    place = keep / "index-held-out"
    build(dataset, place, str(encoder), "auto", SILENT).close()
    say(run_tune(split, place))
    with build(dataset, place, str(encoder), "auto", SILENT) as searcher:
        weights = searcher.settings().get(FUSION)
        found: dict[str, dict[float, Measured]] = {}
        for name in rerankers:
            began = time.monotonic()
            read = read_by(searcher, dataset, known[name], depth)
            found[name] = by_share(read, dataset.queries, dataset.qrels)
            means = "  ".join(f"{share:.1f} {one.means[SHOWN]:.4f}" for share, one in found[name].items())
            say(f"dev, {name} at each share: {means}  ({minutes(began)})")
    best: dict[str, Any] = {"reranker": NONE, "share": 0.0, "depth": depth, "fusion": weights}
    highest = found[rerankers[0]][0.0].means[SHOWN] if rerankers else 0.0
    for name, measured in found.items():
        share = best_share(measured)
        if measured[share].means[SHOWN] > highest:
            highest = measured[share].means[SHOWN]
            best |= {"reranker": name, "share": share}
    return best


def run_tune(split: Path, place: Path) -> str:
    """Learn the index's fusion weights on the dev split, by the installed command."""
    program = str(Path(sys.executable).with_name("searchengine"))
    command = [program, "tune", str(split), "--split", "dev", "--index", str(place)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return "tune: " + (done.stdout.strip().splitlines() or [""])[-1]


def read_by(searcher: Searcher, dataset: Dataset, reranker: str, depth: int) -> dict[str, Read]:
    """Read a split's queries by a reranker."""
    return read_all(searcher, dataset.queries, searcher.reranker(reranker), depth=depth, own=frozenset(dataset.own))


def examine(data: Path, keep: Path, encoder: Path, cross: Path, choice: Mapping[str, Any], depth: int) -> None:
    """Measure the test split as it was decided before, and print the table."""
    dataset = open_dataset(data, "test")
    known = {"late": "late", "cross": str(cross)}
    rows: dict[str, dict[str, float]] = {}
    with build(dataset, keep / "index-start", None, "auto", SILENT) as searcher:
        rows["start, hybrid"] = values(searcher, dataset, "hybrid")
    place = keep / f"index-{encoder.name}"
    with build(dataset, place, str(encoder), "auto", SILENT) as searcher:
        rows["fine-tuned, dense"] = values(searcher, dataset, "dense")
        rows["fine-tuned, hybrid"] = values(searcher, dataset, "hybrid")
    if choice["fusion"] is not None:
        with Writer(place) as writer:
            writer.store_setting(FUSION, choice["fusion"])
    with build(dataset, place, str(encoder), "auto", SILENT) as searcher:
        if choice["fusion"] is not None:
            rows["fine-tuned, fused as chosen"] = values(searcher, dataset, "hybrid")
        if choice["reranker"] != NONE:
            read = read_by(searcher, dataset, known[choice["reranker"]], depth)
            measured = by_share(read, dataset.queries, dataset.qrels)[choice["share"]]
            rows[f"reranked ({choice['reranker']}, {choice['share']})"] = measured.queries[SHOWN]
    say(f"\n{dataset.name}, test: {len(dataset.queries)} queries, {SHOWN}")
    last = ""
    for name, queries in rows.items():
        line = f"{name:<32}{sum(queries.values()) / len(queries):.4f}"
        for other in dict.fromkeys(("start, hybrid", last)):
            if other and other != name:
                found = compare(queries, rows[other])
                line += (
                    f"   over {other}: {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}] p {found.p:.4f}, "
                    f"{found.wins} won, {found.losses} lost"
                )
        say(line)
        last = name


def values(searcher: Searcher, dataset: Dataset, mode: str) -> dict[str, float]:
    """Measure a mode: each query's nDCG@10."""
    return measure(retrieve(searcher, dataset, mode), dataset.qrels).queries[SHOWN]


def minutes(began: float) -> str:
    """Say how long something took."""
    return f"{(time.monotonic() - began) / 60:.1f} minutes"


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
