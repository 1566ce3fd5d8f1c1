"""How much of a text a tokenizer reads, and how much it only spells. Knows nothing of models, vectors and scores.

A tokenizer never fails: what its vocabulary has no words for it writes letter by letter, or as one unknown token. The
model has learnt nothing about such a text, and a cosine with it is noise.
"""

from __future__ import annotations

import unicodedata
from functools import cached_property

from tokenizers import Tokenizer

LOOKED_AT = 512  # entries of a vocabulary, evenly chosen


class Reading:
    """What a tokenizer, without special tokens of its own in the texts, makes of a text's letters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def share(self, text: str) -> float:
        """Tell the share of a text's letters that are read, 0 to 1: 1 for a text without letters.

        A letter is read in a piece of several, in a word of its own, or as an ideograph or a Korean syllable in one
        piece. It is spelled where a longer word has a piece for it alone, or it takes several pieces itself. Nothing of
        an unknown token is read; one without letters counts as one (an emoji). ASCII is taken as read: every
        published encoder has English pieces, and an identifier is spelled by all of them.
        """
        if text.isascii():
            return 1.0
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        pieces: dict[tuple[int, int], list[int]] = {}
        for place, token in zip(encoding.offsets, encoding.ids, strict=True):
            pieces.setdefault(place, []).append(token)
        letters = spelled = 0
        for (start, end), tokens in pieces.items():
            count = sum(map(str.isalpha, text[start:end]))
            if not self._unknown.isdisjoint(tokens):
                letters += count or 1
                spelled += count or 1
                continue
            letters += count
            if count == 1 and self._has_words and (len(tokens) > 1 or _is_part(text, start, end)):
                spelled += 1
        return 1 - spelled / letters if letters else 1.0

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """The tokens that stand for anything: a Unigram model does not tell its own, but all name it alike."""
        names = {getattr(self._tokenizer.model, "unk_token", None) or "<unk>", "<unk>", "[UNK]"}
        return frozenset(number for name in names if (number := self._tokenizer.token_to_id(name)) is not None)

    @cached_property
    def _has_words(self) -> bool:
        """Whether a tenth of the vocabulary has several letters: a model of characters reads by spelling."""
        size = self._tokenizer.get_vocab_size()
        entries = [self._tokenizer.id_to_token(number) or "" for number in range(0, size, max(1, size // LOOKED_AT))]
        return sum(sum(map(str.isalpha, entry)) > 1 for entry in entries) * 10 >= len(entries)


def _is_part(text: str, start: int, end: int) -> bool:
    """Tell whether a piece of one letter belongs to a longer word; an ideograph or a Korean syllable is a word."""
    if any(map(_is_whole, text[start:end])):
        return False
    return (start > 0 and _continues(text[start - 1])) or (end < len(text) and _continues(text[end]))


def _continues(character: str) -> bool:
    if character.isalpha():
        return not _is_whole(character)
    return unicodedata.category(character)[0] == "M"  # half the letters of Thai and Hindi words


def _is_whole(character: str) -> bool:
    return (
        "\u3400" <= character <= "\u9fff"
        or "\uac00" <= character <= "\ud7a3"
        or "\uf900" <= character <= "\ufaff"
        or "\U00020000" <= character <= "\U0003ffff"
    )
