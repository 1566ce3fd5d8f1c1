"""A damaged catalog → a new one of all rows that still prove themselves. Its texts are the index's only primary data.

A passage proves itself by the digest that was stored with it; a document, by all its passages. What no digest covers
(offsets, names) is taken as it stands, and every file is marked to be read again by the next ``index``, which encodes
nothing that it finds unchanged. Knows nothing of how the files beside the catalog are mended.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from indexer.catalog import TABLES, Catalog
from indexer.documents import passage_digest
from indexer.errors import DamagedIndex
from indexer.format import ANN, CATALOG, ENCODER
from indexer.snapshot import component, document_name, owned

_CHECKSUM = re.compile("[0-9a-f]{32}")
_ENCODER = {"name": str, "fingerprint": str, "dimension": int, "max_length": int}


def salvage(damaged: Path, folder: Path, at_least: int) -> tuple[Path, int, list[str]]:
    """Write what can be read of a damaged catalog (a copy of it) to a new file in ``folder``.

    Returns the file, its generation (above ``at_least`` and the old one), and the names of documents that were lost.
    Raises DamagedIndex where the settings are gone: nothing can be told of such an index.
    """
    temporary = folder / f"{CATALOG}.{secrets.token_hex(4)}.tmp"
    with closing(sqlite3.connect(f"{damaged.resolve().as_uri()}?mode=ro", uri=True)) as old:
        old.execute("PRAGMA trusted_schema=OFF")
        settings = _settings(old)
        state = next(iter(_rows(old, "state", "id", 1)), {})
        generation = max(_number(state.get("generation")), at_least) + 1
        catalog = Catalog.create(temporary, settings, [])
        catalog.checkpoint()
        catalog.close(keep_log=False)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as new:
            new.execute("PRAGMA synchronous=FULL")
            new.execute("PRAGMA foreign_keys=OFF")
            new.execute("BEGIN IMMEDIATE")
            lost = _copy(old, new, state)
            new.execute("UPDATE state SET generation = ?", (generation,))
            new.execute("COMMIT")
            new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return temporary, generation, lost


def _settings(old: sqlite3.Connection) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = {
            key: json.loads(value) for key, value in old.execute("SELECT key, value FROM settings")
        }
        encoder, splitting = settings["encoder"], settings["splitting"]
        sound = all(isinstance(encoder[name], kind) for name, kind in _ENCODER.items()) and isinstance(
            settings["base"], str
        )
        if (
            not sound
            or not _CHECKSUM.fullmatch(encoder["fingerprint"])
            or set(splitting) != {"mode", "tokens", "overlap"}
        ):
            raise ValueError("the settings are altered")
        settings.pop(ANN, None)  # what was derived from vectors is left behind, and derived anew as by default
        settings["requires"] = [name for name in settings["requires"] if name != ANN]
    except (sqlite3.Error, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DamagedIndex(
            f"the catalog cannot be read ({str(error)[:80]}), and with it the index's texts are lost; your source "
            "files are not: move the index aside and make it anew with: searchengine index FOLDER"
        ) from None
    return settings


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, state: dict[str, Any]) -> list[str]:
    most = {"passages": _number(state.get("next_passage")), "documents": _number(state.get("next_document"))}
    bound = max(*most.values(), 10_000)
    segments = {row["id"]: row for row in _rows(old, "segments") if _is_segment(row)}
    sources = {row["id"]: row for row in _rows(old, "sources", "id", bound) if isinstance(row["path"], bytes)}
    documents = {row["id"]: row for row in _rows(old, "documents", "id", bound)}
    whole: dict[int, list[dict[str, Any]]] = {key: [] for key in documents}
    broken: set[int] = {
        key for key, row in documents.items() if row["source"] is not None and row["source"] not in sources
    }
    for passage in _rows(old, "passages", "id", bound):
        owner = documents.get(passage["document"])
        if owner is None or passage["segment"] not in segments or not _proves_itself(owner, passage):
            broken.add(passage["document"])
        else:
            whole[owner["id"]].append(passage)
    for key, passages in whole.items():
        if sorted(passage["ordinal"] for passage in passages) != list(range(len(passages))):
            broken.add(key)  # a passage could not be read at all
    lost = [_name(documents.get(key), sources, key) for key in sorted(broken, key=str)]
    for row in sources.values():
        _insert(new, "sources", row | {"size": -1, "digest": ""})  # so that the next run reads the file again
    kept = [row for key, row in documents.items() if key not in broken]
    for row in kept:
        _insert(new, "documents", row | {"digest": ""})
    used: dict[str, set[int]] = {}
    for row in (passage for document in kept for passage in whole[document["id"]]):
        _insert(new, "passages", row)
        used.setdefault(row["segment"], set()).add(row["row"])
    for name, rows in used.items():
        _insert(new, "segments", segments[name])
        buried = sorted(set(range(segments[name]["rows"])) - rows)
        new.executemany("INSERT INTO tombstones VALUES (?, ?)", [(name, row) for row in buried])
    for row in _rows(old, "roots"):
        _insert(new, "roots", row)
    lexical = state.get("lexical")
    for row in _rows(old, "files"):
        if _is_file(row, {*used, lexical}):
            _insert(new, "files", row)
    counters = (
        lexical if isinstance(lexical, str) and "/" not in lexical else None,
        max([most["passages"], *(row["id"] + 1 for rows in whole.values() for row in rows)]),
        max([most["documents"], *(key + 1 for key in documents)]),
    )
    new.execute("UPDATE state SET lexical = ?, next_passage = ?, next_document = ?", counters)
    return lost


def _proves_itself(owner: dict[str, Any], passage: dict[str, Any]) -> bool:
    try:
        return bool(passage_digest(owner["title"], passage["heading"], passage["text"]) == passage["digest"])
    except (TypeError, ValueError, AttributeError):
        return False


def _is_segment(row: dict[str, Any]) -> bool:
    try:
        return bool(component(row["id"])) and 0 < row["rows"] < 1 << 40 and 0 < row["dimension"] <= 65_536
    except (TypeError, ValueError):
        return False


def _is_file(row: dict[str, Any], folders: set[Any]) -> bool:
    try:
        place, folder, _ = owned(row["path"]).split("/")
        return bool((place == ENCODER or folder in folders) and _CHECKSUM.fullmatch(row["checksum"]))
    except (TypeError, ValueError):
        return False


def _name(document: dict[str, Any] | None, sources: dict[int, dict[str, Any]], key: object) -> str:
    if document is None:
        return f"document {key!s:.20}, whose name is lost too"
    source = sources.get(document["source"])
    if document["source"] is not None and source is None:
        return f"document {key!s:.20} ({document['title']!s:.80}), whose file's name is lost"
    return document_name(str(document["key"]), None if source is None else source["path"].decode(errors="replace"))


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 40 else 0


def _rows(old: sqlite3.Connection, table: str, key: str = "", bound: int = 0) -> Iterator[dict[str, Any]]:
    """Read a table from end to end; from where it is damaged on, row by row by its key."""
    columns = [column.name for column in TABLES.tables[table].columns]
    select = f"SELECT {', '.join(f'{chr(34)}{name}{chr(34)}' for name in columns)} FROM {table}"  # noqa: S608  our names
    seen: set[object] = set()
    try:
        for row in old.execute(select):
            seen.add(row[0])
            yield dict(zip(columns, row, strict=True))
    except sqlite3.Error:
        for value in range(bound + 1) if key else ():
            if value in seen:
                continue
            try:
                found = old.execute(f"{select} WHERE {key} = ?", (value,)).fetchone()
            except sqlite3.Error:
                continue
            if found is not None:
                yield dict(zip(columns, found, strict=True))


def _insert(new: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join("?" * len(row))
    new.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})", list(row.values()))  # noqa: S608
