"""A sentence-transformers folder as it lies on disk: found, vetted before any library opens it, and identified.

Knows nothing of torch. Nothing a folder says may choose code to run: only listed module types pass, only safetensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from indexer.encoders import pretrained
from indexer.encoders.cache import sha256_of
from indexer.encoders.spec import fingerprint
from indexer.errors import ModelError

MODULES = {"Transformer", "Pooling", "Dense", "Normalize", "Dropout", "LayerNorm"}
ACTIVATIONS = {"Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU", "Linear"}
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
VOLATILE = {"transformers_version", "torch_dtype", "dtype", "use_cache", "architectures"}


@dataclass(frozen=True)
class ModelFolder:
    """A vetted folder. ``hashes`` maps each file that may matter to its sha256; ``modules`` are types, in order."""

    path: Path
    name: str
    modules: tuple[tuple[str, str], ...]
    hashes: dict[str, str]

    @property
    def key(self) -> str:
        """Name the folder's present content, file by file."""
        return fingerprint({"files": self.hashes})

    @property
    def is_cross_encoder(self) -> bool:
        """Tell whether the model ends in a layer that scores: a classification head, or a Dense module named so."""
        configs = [(kind, self._config(place)) for kind, place in self.modules if kind in ("Transformer", "Dense")]
        if any(kind == "Dense" and config.get("module_output_name") == "scores" for kind, config in configs):
            return True
        kinds = configs[0][1].get("architectures")
        return isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)

    def _config(self, place: str) -> dict[str, object]:
        config: dict[str, object] = _read_json(self.path / place / "config.json", self.path, required=False)
        return config

    def weights(self) -> dict[str, str]:
        """Give the sha256 of each weight file."""
        return {name: digest for name, digest in self.hashes.items() if name.endswith(".safetensors")}

    def architecture(self) -> dict[str, object]:
        """Give the settings of each module but Pooling, less what only says which program wrote them."""
        settings: dict[str, object] = {}
        for kind, place in self.modules:
            if kind == "Pooling":  # written in two ways over the years; the library's own reading of it counts
                continue
            config = self._config(place)
            settings[place] = {k: v for k, v in config.items() if not k.startswith("_") and k not in VOLATILE}
        return settings


def find(model: str | Path | None, root: Path) -> ModelFolder:
    """Find and vet a model: None is the default one, a folder is itself, any other name is asked of the hub.

    Raises ModelError when it cannot be had, or when loading it would mean running its code or a pickle.
    """
    name = str(model) if model is not None else pretrained.NAME
    if model is None or (name in (pretrained.NAME, pretrained.NAME.partition("/")[2]) and not Path(name).is_dir()):
        return vet(pretrained.default_folder(root), pretrained.NAME, root)
    path = Path(name).expanduser()
    if path.is_dir():
        return vet(path.resolve(), path.resolve().name, root)
    if isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: no such folder; --model takes a sentence-transformers folder or a name on the hub")
    return vet(_download(name), name, root)


def vet(path: Path, name: str, root: Path | None) -> ModelFolder:
    """Check that sentence-transformers can load the folder without running anything out of it."""
    modules = _modules(path)
    hashes = {}
    for _, place in modules:
        config = _read_json(path / place / "config.json", path, required=False)
        _refuse_code(path, place, config)
        for file in _files(path / place):
            hashes[str(Path(place) / file.name)] = sha256_of(_inside(file, path), root)
    for kind, place in modules:
        if kind in ("Transformer", "Dense") and not any((path / place).glob("*.safetensors")):
            pickled = sorted(file.name for file in (path / place).glob("*.bin"))
            problem = f"only {pickled[0]}, a pickle; convert to safetensors" if pickled else "no model.safetensors"
            raise ModelError(f"{path / place}: {problem} (from_pretrained(...).save_pretrained(...) writes it)")
    for file in _files(path):
        hashes[file.name] = sha256_of(_inside(file, path), root)
    return ModelFolder(path, name, modules, hashes)


def _files(folder: Path) -> list[Path]:
    return sorted(file for pattern in HUB_FILES for file in folder.glob(pattern) if file.is_file())


def _modules(path: Path) -> tuple[tuple[str, str], ...]:
    if not (path / "modules.json").exists():
        if not (path / "config.json").exists():
            raise ModelError(
                f"{path}: no modules.json, so no sentence-transformers model; name the folder that holds it"
            )
        return (("Transformer", ""),)
    listed = _read_json(path / "modules.json", path, kind=list)
    modules = []
    for entry in listed:
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("type"), str)
            or not isinstance(entry.get("path"), str)
        ):
            raise ModelError(f"{path / 'modules.json'}: malformed")
        package, _, kind = entry["type"].rpartition(".")
        if package.split(".")[0] != "sentence_transformers" or kind not in MODULES:
            raise ModelError(
                f"{path / 'modules.json'}: module {entry['type']!r:.80} is not supported, "
                f"only {', '.join(sorted(MODULES))}"
            )
        if not _inside(path / entry["path"], path).is_dir() and kind not in ("Normalize", "Dropout"):
            raise ModelError(f"{path / entry['path']}: no such folder, though modules.json names it")
        modules.append((kind, entry["path"]))
    if not modules or modules[0][0] != "Transformer":
        raise ModelError(f"{path / 'modules.json'}: the first module must be a Transformer")
    return tuple(modules)


def _refuse_code(path: Path, place: str, config: dict[str, object]) -> None:
    tokenizer = _read_json(path / place / "tokenizer_config.json", path, required=False)
    if "auto_map" in config or "auto_map" in tokenizer:
        raise ModelError(
            f"{path / place}: auto_map wants code from the folder to run, which is never done; choose another model"
        )
    activation = config.get("activation_function")
    if activation is not None:
        package, _, kind = str(activation).rpartition(".")
        if not package.startswith("torch.nn.modules.") or kind not in ACTIVATIONS:
            raise ModelError(f"{path / place}: activation {str(activation)!r:.80} is not supported")


def _inside(file: Path, folder: Path) -> Path:
    target = file.resolve()
    # in the hub's own cache each file is a link: models--X/snapshots/REVISION/f -> models--X/blobs/HASH
    allowed = [folder.resolve()] + (
        [folder.resolve().parents[1] / "blobs"] if folder.resolve().parent.name == "snapshots" else []
    )
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelError(f"{file}: leads out of the model's folder; copy the file itself there")
    return file


def _read_json(path: Path, folder: Path, *, required: bool = True, kind: type = dict):  # type: ignore[no-untyped-def]
    if not required and not path.exists():
        return kind()
    try:
        value = json.loads(_inside(path, folder).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: unreadable ({error})") from None
    if not isinstance(value, kind):
        raise ModelError(f"{path}: malformed, not a JSON {kind.__name__}")
    return value


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return Path(snapshot_download(repository, allow_patterns=HUB_FILES, local_files_only=True))
    except Exception:  # noqa: BLE001, S110  not in the hub's cache: the next call says why it cannot be fetched
        pass
    try:
        return Path(snapshot_download(repository, allow_patterns=HUB_FILES))
    except Exception as error:  # noqa: BLE001  the hub client raises a dozen families, requests' and its own
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{name}: neither a folder here nor to be had from the hub ({reason}); give a folder, or leave --model out"
        ) from None
