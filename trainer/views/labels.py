"""Labelled pairs: a judged query and a document that answers it. Made by ``data.LabelledExamples``, not cut from text.

Here stand its settings alone, so that a recipe names it as any other view.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Labels:
    """Nothing to set: the data says what belongs together."""
