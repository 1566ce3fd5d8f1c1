"""One file over HTTP, resumed where it broke off, and accepted by its checksum alone.

Knows nothing of what the file is. By the standard library: a data set is fetched seldom, and by one connection.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from indexer.errors import DataError, StorageError
from indexer.progress import SILENT, Progress

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE_S = 2.0  # before the second attempt; each later pause is longer by as much
TIMEOUT_S = 60.0  # without a byte
LIMIT_BYTES = 8 << 30  # no file that is fetched here is half as large
BLOCK = 1 << 20
RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


class _Broken(Exception):
    """The connection failed or ended early: worth another attempt."""


def download(url: str, md5: str, path: Path, *, progress: Progress = SILENT) -> None:
    """Bring the file at ``url`` to ``path``; bytes that are there from an earlier attempt are gone on from.

    A file resumed to a wrong checksum is fetched once more from its start: the server's may have changed in between.
    Raises DataError when it cannot be had, keeping what came, or has another checksum, keeping nothing; StorageError
    when it cannot be written.
    """
    resumed = size_of(path) > 0
    receive_all(url, path, progress)
    found = md5_of(path)
    if found != md5 and resumed:
        path.unlink()
        progress.note(f"{url}: what was there belonged to another file: fetched again from its start")
        receive_all(url, path, progress)
        found = md5_of(path)
    if found != md5:
        path.unlink()
        raise DataError(
            f"{url}: md5 {found}, expected {md5}: not the published file (nothing was kept; try again later)"
        )


def receive_all(url: str, path: Path, progress: Progress = SILENT) -> None:
    """Receive until the file is whole, however often the connection breaks; five attempts in vain end it.

    Raises DataError, keeping what came; StorageError.
    """
    vain = 0
    while True:
        before = size_of(path)
        try:
            receive(url, path, progress)
            return
        except _Broken as error:
            vain = 0 if size_of(path) > before else vain + 1
            if vain == ATTEMPTS:
                raise DataError(
                    f"{url}: {error} ({size_of(path):,} bytes are kept; run the same command again to go on)"
                ) from error
        finally:
            progress.finish()
        time.sleep(PAUSE_S * max(vain, 1))


def receive(url: str, path: Path, progress: Progress) -> None:
    """Ask once for what the file lacks, and append it; from the start where the server knows no ranges.

    Raises _Broken, DataError when the server refuses or sends too much (then nothing is kept), StorageError.
    """
    have = size_of(path)
    headers = {"User-Agent": "searchengine", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={have}-"} if have else {}))  # noqa: S310  # fetch.ADDRESS
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # nothing lies beyond what is there: the checksum tells whether it is the file
        what = f"the server answers {error.code} {error.reason}"
        if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code == http.client.TOO_MANY_REQUESTS:
            raise _Broken(what) from error
        raise DataError(f"{url}: {what} (is the address still right?)") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"no connection: {reason(error)}") from error
    with closing(response):
        begins = beginning(response)
        if begins not in (0, have):
            raise _Broken(f"the server sent a part that begins at byte {begins:,}, not {have:,}")
        left = int(response.headers.get("Content-Length", -1))
        progress.start(path.name.strip("."), begins + left if left >= 0 else None, "bytes")
        progress.advance(begins)
        received = begins
        with writing(path), path.open("ab" if begins else "wb") as file:
            for block in blocks(response):
                file.write(block)
                received += len(block)
                progress.advance(len(block))
                if received > LIMIT_BYTES:
                    path.unlink()
                    raise DataError(f"{url}: more than {LIMIT_BYTES:,} bytes: no data set (nothing was kept)")
        if left >= 0 and received < begins + left:
            raise _Broken(f"the connection ended after {received:,} of {begins + left:,} bytes")


def beginning(response: http.client.HTTPResponse) -> int:
    """Find which byte of the file a response begins with: 0 unless it is a part."""
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    found = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        raise _Broken("the server sent a part without saying which")
    return int(found[1])


def blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Read a response in blocks. Raises _Broken, so that failures of the network and of the disk stay apart."""
    try:
        while block := response.read(BLOCK):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"the connection broke: {reason(error)}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the disk into the sentence a user reads."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error} (what came is kept: free some space and run again)"
        ) from error


def reason(error: BaseException) -> str:
    """Say in a few words why a connection failed."""
    inner = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return str(getattr(inner, "strerror", None) or inner) or type(error).__name__


def size_of(path: Path) -> int:
    """Return a file's size, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def md5_of(path: Path) -> str:
    """Return the md5 of a file's bytes, as BEIR publishes it: against accidents, no proof against an attacker."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
