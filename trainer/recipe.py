"""A recipe: one view, negatives, objective and regulariser, and how to run them; TOML, read and checked whole.

Shipped recipes lie in ``trainer/recipes``, a file of one's own does as well. An unknown setting is refused, never
ignored.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from indexer.errors import UsageError

FOLDER = Path(__file__).parent / "recipes"
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
CROSS = "cross-encoder"
MODELS = {"encoder", CROSS}  # what a recipe makes
FAMILIES = ("view", "auxiliary", "negatives", "objective", "regulariser")


@dataclass(frozen=True)
class Member:
    """One member of a family and its settings, as the recipe states them."""

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """How long and how fast. ``steps`` 0 takes ``epochs``; ``batch`` counts examples over all processes.

    ``minutes`` bounds the time that the steps take, 0 does not: a run cut short by it depends on the clock too.
    ``tokens``: padded tokens a block; ``cached``: GradCache; ``dropout`` -1 keeps the model's own rates;
    ``evaluate_every`` 0 evaluates before and after only; ``patience``: evaluations without a gain before it stops, 0
    never; ``mean_share``: over which last part of the run the weights are averaged, 0 takes the last ones;
    ``start_share``: how much of the starting weights the result keeps (against forgetting); ``longest``: tokens of a
    labelled document.
    """

    batch: int = 32
    epochs: float = 1.0
    steps: int = 0
    minutes: float = 0.0
    learning_rate: float = 2e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float = -1.0
    longest: int = 256
    tokens: int = 0
    cached: bool = False
    checkpointing: bool = False
    from_scratch: bool = False
    evaluate_every: int = 0
    patience: int = 0
    save_every: int = 200
    mean_share: float = 0.0
    start_share: float = 0.0
    dev_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {"batch": self.batch, "longest": self.longest, "save_every": self.save_every}
        shares = {
            "warmup": self.warmup,
            "mean_share": self.mean_share,
            "start_share": self.start_share,
            "dev_share": self.dev_share,
        }
        for name, value in positive.items():
            if value < 1:
                raise UsageError(f"run.{name} must be at least 1, not {value}")
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise UsageError(f"run.{name} must lie in 0 to 1, not {share}")
        if not 0 < self.learning_rate < 1 or self.weight_decay < 0 or self.clip <= 0:
            raise UsageError("run: learning_rate lies between 0 and 1, weight_decay at 0 or above, clip above 0")
        if self.steps < 0 or (not self.steps and not self.epochs > 0) or not math.isfinite(self.epochs):
            raise UsageError(f"run: steps or epochs must be above 0, not {self.steps} and {self.epochs}")
        if self.mean_share and self.evaluate_every:
            raise UsageError(
                "run: mean_share averages the last weights, evaluate_every takes the best ones; set one of the two"
            )
        if not 0 <= self.minutes < math.inf:
            raise UsageError(f"run.minutes must be 0 or above, not {self.minutes}")
        if self.dropout != -1 and not 0 <= self.dropout < 1:
            raise UsageError(f"run.dropout must lie in 0 to 1, or be -1 for the model's own, not {self.dropout}")


@dataclass(frozen=True)
class Recipe:
    """A method, whole: what a run does besides its data and starting model.

    ``model`` is what it makes: an encoder, or a cross-encoder of the starting encoder's transformer.
    """

    name: str
    description: str
    source: str
    view: Member
    negatives: Member
    objective: Member
    regulariser: Member
    run: Run
    auxiliary: Member | None = None
    model: Member = Member("encoder")

    @property
    def labelled(self) -> bool:
        """Tell whether it learns from judged queries."""
        return self.view.kind == "labels"

    def as_dict(self) -> dict[str, Any]:
        """Return it as the TOML states it, defaults of the run included."""
        table: dict[str, Any] = {"name": self.name, "description": self.description, "source": self.source}
        for family in FAMILIES:
            member = getattr(self, family)
            if member is not None:
                table[family] = {"kind": member.kind, **member.settings}
        if self.model.kind != "encoder":
            table["model"] = {"kind": self.model.kind}
        return {**table, "run": dataclasses.asdict(self.run)}


def names() -> list[str]:
    """List the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a shipped recipe by name, or a TOML file, and apply changes such as "run.epochs=3".

    Raises UsageError naming what is unknown or out of range.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        near = get_close_matches(name, names(), 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}; or name a .toml file"
        raise UsageError(f"no recipe {name!r} ({advice})")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    for change in changes:
        apply(table, change)
    return parse(table, path.stem)


def apply(table: dict[str, Any], change: str) -> None:
    """Set one value: "section.key=value", the value as TOML writes it, bare words as strings."""
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts) or len(parts) > 2:
        raise UsageError(f"--set {change}: section.key=value is expected, such as run.epochs=3")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {change}: {part} has no settings")
    table[parts[-1]] = value


def parse(table: dict[str, Any], name: str) -> Recipe:
    """Check a recipe's table. Raises UsageError."""
    known = {"name", "description", "source", "run", "model", *FAMILIES}
    for key in table:
        if key not in known:
            raise UsageError(f"recipe {name}: unknown section {key!r}{nearest(key, known)}")
    members = {family: member_of(table.get(family), family, name) for family in FAMILIES}
    run = build(Run, table.get("run", {}), "run", name)
    view, negatives, objective = members["view"], members["negatives"], members["objective"]
    if view is None or objective is None:
        raise UsageError(f"recipe {name}: [view] and [objective] must name a kind")
    recipe = Recipe(
        name=str(table.get("name", name)),
        description=str(table.get("description", "")),
        source=str(table.get("source", "")),
        view=view,
        negatives=negatives or Member("inbatch"),
        objective=objective,
        regulariser=members["regulariser"] or Member("none"),
        run=run,
        auxiliary=members["auxiliary"],
        model=member_of(table.get("model"), "model", name) or Member("encoder"),
    )
    return recipe


def member_of(section: Any, family: str, name: str) -> Member | None:
    """Take a family's section apart."""
    if section is None:
        return None
    if not isinstance(section, dict) or not isinstance(section.get("kind"), str):
        raise UsageError(f'recipe {name}: [{family}] needs kind = "…"')
    return Member(section["kind"], {key: value for key, value in section.items() if key != "kind"})


def build(kind: Callable[..., Any], settings: dict[str, Any], section: str, name: str, **fixed: Any) -> Any:
    """Make a member from its settings and from ``fixed`` values that no recipe may set.

    Raises UsageError for a key that ``kind`` does not take and for a value of another type than its default's.
    """
    known = {key: one.default for key, one in inspect.signature(kind).parameters.items() if key not in fixed}
    for key, value in settings.items():
        if key not in known:
            raise UsageError(f"recipe {name}: [{section}] has no setting {key!r}{nearest(key, set(known))}")
        check_type(value, known[key], f"{section}.{key}")
    missing = [key for key, default in known.items() if default is inspect.Parameter.empty and key not in settings]
    if missing:
        raise UsageError(f"recipe {name}: [{section}] needs {missing[0]}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return kind(**values, **fixed)


def check_type(value: Any, default: Any, name: str) -> None:
    """Raise UsageError unless a value is of its default's type; whole numbers pass where fractions are expected."""
    wanted = type(default)
    if wanted in KINDS and type(value) is not wanted and not (wanted is float and type(value) is int):
        raise UsageError(f"{name} must be {KINDS[wanted]}, not {value!r}")


def choose(family: dict[str, Any], chosen: Member, section: str, name: str) -> Any:
    """Find a member of a family by its kind. Raises UsageError with the nearest name."""
    if chosen.kind not in family:
        raise UsageError(f"recipe {name}: no {section} {chosen.kind!r}{nearest(chosen.kind, set(family))}")
    return family[chosen.kind]


def nearest(key: str, known: set[str]) -> str:
    """Spell out the nearest known name, or all of them."""
    near = get_close_matches(key, sorted(known), 1)
    return f" (did you mean {near[0]}?)" if near else f" (there are {', '.join(sorted(known))})"
