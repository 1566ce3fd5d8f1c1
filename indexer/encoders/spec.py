"""What identifies an encoder, and `encoder.json`, the file that carries it beside its graph.

Knows nothing of how a vector is computed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from indexer.errors import ModelError

FORMAT = 1
FILE_NAME = "encoder.json"


@dataclass(frozen=True)
class Spec:
    """All that texts need to become the same vectors again, weights aside (those are named by the fingerprint).

    ``max_length`` counts tokens with the special ones; ``pad_id`` fills short rows (some derive positions from it).
    """

    name: str
    fingerprint: str
    dimension: int
    max_length: int
    pad_id: int
    pooling: str
    normalised: bool
    query_prompt: str
    passage_prompt: str

    def to_json(self, files: dict[str, dict[str, object]]) -> str:
        """Render `encoder.json`; ``files`` maps each file's name to its size in bytes and sha256."""
        return json.dumps({"format": FORMAT, **asdict(self), "files": files}, indent=1, sort_keys=True) + "\n"


def fingerprint(identity: dict[str, object]) -> str:
    """Name an encoder by what its vectors depend on: 32 hexadecimal digits of a sha256 over canonical JSON."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def read(folder: Path) -> tuple[Spec, dict[str, dict[str, object]]]:
    """Read and check `encoder.json`: the spec, and the size and sha256 of each file it lists.

    Raises ModelError when it is missing, malformed, or of a format that this version does not know.
    """
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{path}: missing, so this folder holds no encoder; index again to write it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: unreadable ({error}); index again to write it anew") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelError(f"{path}: not an encoder description of format {FORMAT}; index again, or update searchengine")
    values: dict[str, Any] = {}
    for field in fields(Spec):
        value = data.get(field.name)
        # bool is an int to isinstance, and "max_length": true must not pass
        if type(value).__name__ != field.type:
            raise ModelError(
                f"{path}: {field.name!r} must be {field.type}, not {value!r:.80}; index again to write it anew"
            )
        values[field.name] = value
    spec = Spec(**values)
    if not (0 < spec.dimension <= 65_536 and 2 < spec.max_length <= 1_000_000 and spec.pad_id >= 0):
        raise ModelError(f"{path}: dimension, max_length or pad_id out of range; index again to write it anew")
    files = data.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise ModelError(f"{path}: lists no files; index again to write it anew")
    return spec, files
