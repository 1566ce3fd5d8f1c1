"""Questions that a language model asks for passages, where the user names one: pseudo queries as people word them.

Every answer is kept in a file as it comes, so that an interrupted run asks for none again.
Source: GPL, Wang et al., arXiv:2112.07577; InPars, Bonifacio et al., arXiv:2202.05144.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import xxhash

from benchmarks.endpoint import Endpoint
from indexer.durable import storage_errors
from indexer.errors import DataError
from indexer.progress import SILENT, Progress

ANSWERS = "generated.jsonl"
INSTRUCTION = (
    "You are given a passage. Write the search query or question of somebody whom this passage would answer and who "
    "has not read it: in the passage's language, in other words than the passage's where there are any, 4 to 20 words. "
    "Answer with the query alone, on one line."
)
LONGEST = 4000  # characters of a passage that are sent
AT_ONCE = 8  # requests; a local server answers several together


def ask_for(texts: Mapping[int, str], endpoint: Endpoint, folder: Path, progress: Progress = SILENT) -> dict[int, str]:
    """Let the model ask for each text (number → text) that it has not been asked about; give number → query.

    A text that it says nothing to is left out. Raises DataError where the endpoint fails; what it answered is kept.
    """
    place = folder / ANSWERS
    keys = {number: key_of(endpoint, text) for number, text in texts.items()}
    known = dict(answers(place))
    waiting = {key: texts[number] for number, key in keys.items() if key not in known}
    progress.start("ask for questions", len(waiting), "passages")
    pool = ThreadPoolExecutor(AT_ONCE)
    asked = {pool.submit(endpoint.ask, INSTRUCTION, text[:LONGEST]): key for key, text in waiting.items()}
    try:
        with storage_errors("writing questions"), place.open("ab") as file:
            for done in as_completed(asked):
                known[asked[done]] = worded(done.result())
                record = {"text": asked[done], "query": known[asked[done]]}
                # the line break first: what a crash cut short then spoils no other line
                file.write(b"\n" + json.dumps(record, ensure_ascii=False).encode("utf-8", "replace"))
                file.flush()
                progress.advance()
    except DataError as error:
        raise DataError(f"{error}; {len(known):,} questions lie in {place}, --resume asks for the others") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    progress.finish()
    return {number: known[key] for number, key in keys.items() if known[key]}


def key_of(endpoint: Endpoint, text: str) -> str:
    """Name a question by what decides it: the model, the instruction, the text."""
    words = json.dumps([endpoint.model, INSTRUCTION, text[:LONGEST]])
    return xxhash.xxh3_128(words.encode()).hexdigest()


def answers(place: Path) -> Iterator[tuple[str, str]]:
    """Read the questions kept; a line that a crash cut short is left out, and asked for again."""
    if not place.is_file():
        return
    with storage_errors("reading questions"):
        lines = place.read_bytes().splitlines()
    for line in lines:
        try:
            record = json.loads(line)
            yield str(record["text"]), str(record["query"])
        except (ValueError, LookupError, TypeError):
            continue


def worded(answer: str) -> str:
    """Take the query out of an answer: its first line that says something, without quotes."""
    first = next((line for line in answer.splitlines() if line.strip()), "")
    return " ".join(first.split()).strip("\"'“”„«»` ")
