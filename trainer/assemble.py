"""A recipe's members, made: views over the data, negatives, objective, regulariser. The one place that knows all."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import nn

from indexer.errors import UsageError
from trainer.corpus import Corpus
from trainer.data import Batches, Examples, LabelledExamples, Pieces
from trainer.encoder import TrainableEncoder
from trainer.negatives import NEGATIVES
from trainer.negatives.hard import HardSettings
from trainer.negatives.inbatch import InBatch
from trainer.objectives import OBJECTIVES
from trainer.pseudo import PseudoQueries
from trainer.recipe import CROSS, MODELS, Member, Recipe, build, choose
from trainer.regularisers import REGULARISERS, Regulariser
from trainer.sources import Labels
from trainer.taught import Pseudo
from trainer.views import VIEWS, View


def check(recipe: Recipe) -> None:
    """Refuse what no member takes, before anything is read or made. Raises UsageError."""
    if recipe.view.kind == "pseudo":
        if pseudo_settings(recipe).words and recipe.negatives.kind == "queue":
            raise UsageError(f"recipe {recipe.name}: view.words does not go with a queue, whose keys have no words")
        if recipe.auxiliary is not None:
            raise UsageError(f"recipe {recipe.name}: [auxiliary] does not go with pseudo queries")
    for member in (recipe.view, recipe.auxiliary):
        if member is not None and not (member is recipe.view and recipe.view.kind in ("labels", "pseudo")):
            settings = {key: value for key, value in member.settings.items() if key != "share"}
            build(choose(VIEWS, member, "view", recipe.name), settings, "view", recipe.name)
    make_negatives(recipe)
    make_objective(recipe)
    make_regulariser(recipe)
    choose(dict.fromkeys(MODELS), recipe.model, "model", recipe.name)
    if recipe.model.settings:
        raise UsageError(f"recipe {recipe.name}: [model] has no setting {next(iter(recipe.model.settings))!r}")
    if recipe.model.kind == CROSS:
        fits = {"view": ("labels",), "negatives": ("hard",), "regulariser": ("none",)}
        for family, kinds in fits.items():
            kind = getattr(recipe, family).kind
            if kind not in kinds:
                raise UsageError(f"recipe {recipe.name}: a cross-encoder takes {family} {kinds[0]!r}, not {kind!r}")
        if recipe.auxiliary is not None or recipe.run.from_scratch:
            raise UsageError(f"recipe {recipe.name}: a cross-encoder takes no auxiliary view and no from_scratch")


def make_batches(
    recipe: Recipe, corpus: Corpus, labels: Labels | None, aside: frozenset[int], encoder: TrainableEncoder
) -> Batches:
    """Make a run's batches by the recipe's view, and those of the auxiliary view beside it."""
    examples: Examples
    if labels is not None:
        hard = None
        if recipe.negatives.kind == "hard":
            hard = build(HardSettings, recipe.negatives.settings, "negatives", recipe.name)
        elif any(label.negatives for label in labels.train):
            hard = HardSettings(random=0.0)  # negatives that came with the data are part of it
        examples = LabelledExamples(
            corpus,
            labels.train,
            encoder.tokenizer,
            longest=min(recipe.run.longest, encoder.passage_frame.longest),
            hard=hard,
            graded=recipe.objective.kind == "listwise",
        )
    else:
        examples = Pieces(corpus, make_view(recipe.view, recipe.name, encoder), aside)
    auxiliary, share = None, 0.0
    if recipe.auxiliary is not None:
        settings = dict(recipe.auxiliary.settings)
        share = float(settings.pop("share", 1.0))
        member = Member(recipe.auxiliary.kind, settings)
        auxiliary = Pieces(corpus, make_view(member, recipe.name, encoder), aside)
    return Batches(examples, recipe.run.batch, recipe.run.seed, auxiliary, share)


def pseudo_settings(recipe: Recipe) -> Pseudo:
    """Make the settings of a recipe's pseudo queries."""
    settings: Pseudo = build(Pseudo, recipe.view.settings, "view", recipe.name)
    return settings


def make_pseudo(corpus: Corpus, owners: np.ndarray, encoder: TrainableEncoder, seed: int) -> PseudoQueries:
    """Make the maker of a corpus's pseudo queries."""
    return PseudoQueries(corpus, sentence_enders(encoder), continuing(encoder), owners, seed=seed)


def continuing(encoder: TrainableEncoder) -> np.ndarray:
    """Find which token ids go on with the word before them: bool [vocabulary].

    WordPiece marks those that do ("##ing"), SentencePiece and byte-level BPE those that do not ("▁the", "Ġthe").
    """
    tokens = [encoder.tokenizer.id_to_token(number) or "" for number in range(encoder.tokenizer.get_vocab_size())]
    if any(token.startswith(("▁", "Ġ")) for token in tokens):
        return np.array([not token.startswith(("▁", "Ġ")) for token in tokens])
    return np.array([token.startswith("##") for token in tokens])


def make_view(member: Member, name: str, encoder: TrainableEncoder) -> View:
    """Make a view, with what it must know of the tokenizer."""
    known: dict[str, Any] = {
        "vocabulary": encoder.tokenizer.get_vocab_size(),
        "mask_id": encoder.tokenizer.token_to_id("[MASK]") or encoder.tokenizer.token_to_id("<mask>") or 0,
        "special": encoder.special,
        "enders": sentence_enders(encoder),
    }
    kind: Any = choose(VIEWS, member, "view", name)
    fields = {field.name for field in dataclasses.fields(kind)}
    view: View = build(kind, member.settings, "view", name, **{key: known[key] for key in known if key in fields})
    return view


def make_negatives(recipe: Recipe) -> InBatch:
    """Make the recipe's negatives."""
    kind, settings = choose(NEGATIVES, recipe.negatives, "negatives", recipe.name)
    negatives: InBatch = kind(build(settings, recipe.negatives.settings, "negatives", recipe.name))
    return negatives


def make_objective(recipe: Recipe) -> nn.Module:
    """Make the recipe's objective."""
    kind = choose(OBJECTIVES, recipe.objective, "objective", recipe.name)
    return build(kind, recipe.objective.settings, "objective", recipe.name)


def make_regulariser(recipe: Recipe) -> Regulariser:
    """Make the recipe's regulariser."""
    kind = choose(REGULARISERS, recipe.regulariser, "regulariser", recipe.name)
    fixed = {"seed": recipe.run.seed} if recipe.regulariser.kind == "matryoshka2d" else {}
    regulariser: Regulariser = build(kind, recipe.regulariser.settings, "regulariser", recipe.name, **fixed)
    return regulariser


def sentence_enders(encoder: TrainableEncoder) -> frozenset[int]:
    """Find the token ids that end a sentence."""
    ids = (encoder.tokenizer.token_to_id(mark) for mark in ".?!。？！")
    return frozenset(number for number in ids if number is not None)
