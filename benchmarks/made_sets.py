"""Test sets made of texts that every Debian or Python machine can have: other languages, code, long documents.

    python -m benchmarks.made_sets SETS code                                    docstring → the function it describes
    python -m benchmarks.made_sets SETS manual german 'ref/*.de.html' 'guide/de/*.html'        heading → its section
    python -m benchmarks.made_sets SETS articles ../shared/data/train-text/pmc.jsonl.gz           title → whole article
    python -m benchmarks.made_sets SETS mixed several SETS/german SETS/russian …             many corpora become one

Each writes one BEIR folder into SETS, its judgements in qrels/test.tsv. What answers a query never holds it as title.
The manuals are DocBook pages: ``apt-get download debian-reference-de installation-guide-amd64``, ``dpkg -x`` each.
"""

from __future__ import annotations

import argparse
import ast
import glob
import gzip
import json
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from benchmarks.beir import open_dataset
from indexer.errors import DataError

LEAST_CHARACTERS = 200  # a shorter section or function says too little to be found by
_NUMBERED = re.compile(r"^\W*(?:\w+\s)?\W*[\dA-Z]+(?:\.\d+)*\.?\W+")  # "2.1.3. ", "Kapitel 2. ", "第 2 章 "
_SPACES = re.compile(r"\s+")


def manual(pages: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Read DocBook pages: (heading, the section's own text without its sub-sections), headings without their number."""
    for page in pages:
        tree = LexborHTMLParser(page.read_bytes())
        for heading in tree.css("h1.title, h2.title, h3.title, h4.title, h5.title"):
            front: LexborNode | None = heading
            while front is not None and front.attributes.get("class") != "titlepage":
                front = front.parent
            if front is None or front.parent is None:
                continue
            blocks = [
                child.text(separator=" ")
                for child in front.parent.iter()
                if child.mem_id != front.mem_id
                and not re.match(r"sect|chapter|appendix|toc", child.attributes.get("class") or "")
            ]
            yield _NUMBERED.sub("", _flat(heading.text())), _flat(" ".join(blocks))


def code(folder: Path) -> Iterator[tuple[str, str]]:
    """Read Python files: (the first paragraph of a function's docstring, its source without the docstring)."""
    for path in sorted(folder.rglob("*.py")):
        if {"test", "tests", "site-packages", "idlelib", "lib2to3"} & set(path.relative_to(folder).parts):
            continue
        try:
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        lines = source.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (said := ast.get_docstring(node)):
                first = node.body[0]
                kept = (
                    lines[node.lineno - 1 : first.lineno - 1]
                    + lines[first.end_lineno or first.lineno : node.end_lineno]
                )
                yield _flat(said.split("\n\n")[0]), "\n".join(kept)


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Read a JSONL file of whole articles, gzipped: (title, text)."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            article = json.loads(line)
            yield article["title"], article["text"]


def _flat(text: str) -> str:
    return _SPACES.sub(" ", text.replace("\u200b", "")).strip()


def paired(pairs: Iterable[tuple[str, str]], *, words: int = 2, most: int = 1000) -> list[tuple[str, str, str]]:
    """Choose what can be asked: (id, query, text). Every query and every text once, long enough, evenly up to ``most``.

    A heading that stands above several sections asks for none of them. ``words`` counts a query's words, or pairs of
    its characters where it has no spaces.
    """
    found = [(query, text) for query, text in dict.fromkeys(pairs) if len(text) >= LEAST_CHARACTERS]
    queries, texts = Counter(query for query, _ in found), Counter(text for _, text in found)
    kept = [
        (query, text)
        for query, text in found
        if queries[query] == texts[text] == 1 and (len(query.split()) >= words or len(query.encode()) >= 6 * words)
    ]
    stride = -(-len(kept) // most) or 1
    return [(str(number), query, text) for number, (query, text) in enumerate(kept[::stride])]


def write(folder: Path, corpus: Iterable[tuple[str, str, str]], queries: Iterable[tuple[str, str, str]]) -> None:
    """Write a BEIR folder: corpus (id, title, text), queries (id, text, the id of what answers it)."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as lines:
        for document, title, text in corpus:
            lines.write(json.dumps({"_id": document, "title": title, "text": text}, ensure_ascii=False) + "\n")
    with (
        (folder / "queries.jsonl").open("w", encoding="utf-8") as lines,
        (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as judged,
    ):
        judged.write("query-id\tcorpus-id\tscore\n")
        for query, text, answer in queries:
            lines.write(json.dumps({"_id": query, "text": text}, ensure_ascii=False) + "\n")
            judged.write(f"{query}\t{answer}\t1\n")


def write_pairs(folder: Path, pairs: list[tuple[str, str, str]]) -> None:
    """Write a set of which every text answers one query. Raises DataError where there is none."""
    if not pairs:
        raise DataError(f"{folder.name}: nothing to make a set of (are these the right files?)")
    write(folder, ((name, "", text) for name, _, text in pairs), ((name, query, name) for name, query, _ in pairs))


def mixed(folder: Path, parts: Iterable[Path]) -> None:
    """Write several sets as one: each query is asked of all their documents."""
    sets = [open_dataset(part) for part in parts]
    write(
        folder,
        ((f"{part.name}-{found.id}", found.title, found.text) for part in sets for found in part.corpus),
        (
            (f"{part.name}-{query}", text, f"{part.name}-{answer}")
            for part in sets
            for query, text in part.queries.items()
            for answer, grade in part.qrels[query].items()
            if grade > 0
        ),
    )


def main() -> None:
    """Read the command line, write one set, say how large it is."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sets", type=Path, help="the folder that sets are written into")
    kinds = options.add_subparsers(dest="kind", required=True)
    kinds.add_parser("code")
    from_pages = kinds.add_parser("manual")
    from_pages.add_argument("name")
    from_pages.add_argument("pages", nargs="+", help="files or patterns")
    kinds.add_parser("articles").add_argument("file", type=Path)
    of_several = kinds.add_parser("mixed")
    of_several.add_argument("name")
    of_several.add_argument("parts", type=Path, nargs="+")
    chosen = options.parse_args()
    folder = chosen.sets / (chosen.name if "name" in chosen else chosen.kind)
    if chosen.kind == "mixed":
        mixed(folder, chosen.parts)
    elif chosen.kind == "manual":
        pages = [Path(found) for pattern in chosen.pages for found in sorted(glob.glob(pattern))]
        write_pairs(folder, paired(manual(pages)))
    elif chosen.kind == "code":
        write_pairs(folder, paired(code(Path(sysconfig.get_paths()["stdlib"])), words=5))
    else:
        write_pairs(folder, paired(articles(chosen.file), words=4))
    made = open_dataset(folder)
    sys.stderr.write(f"{folder}: {len(made.corpus)} documents, {len(made.queries)} queries\n")


if __name__ == "__main__":
    main()
