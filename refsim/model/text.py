"""From texts to token ids, in batches of about equal lengths."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import ContentError, DomainError

BATCH = 32
"""Texts at a time."""
MOST = 1 << 30
"""Greatest size of a file of texts, in bytes."""


def lines(path: Path) -> list[str]:
    """The texts of a file, a line each; empty lines are left out.

    Raises
    ------
    ContentError
        The file cannot be read, is too large, is not UTF-8, or holds no text.
    """
    try:
        texts = [line.strip() for line in files.read(path, MOST).decode().split("\n")]  # and at no other mark of a line
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"{path}: {error}") from None
    texts = [text for text in texts if text]
    if not texts:
        raise ContentError(f"{path}: holds no text (one text a line is expected)")
    return texts


class Reader:
    """A tokenizer whose ids lie within a vocabulary.

    Parameters
    ----------
    tokenizer : bytes or None
        tokenizer.json.
    vocabulary : int
        Ids that there are.
    longest : int
        Tokens that a text is cut to.
    padding : int
        Id that fills up the shorter texts of a batch.

    Raises
    ------
    ContentError
        There is no tokenizer, or it is damaged.
    """

    def __init__(self, tokenizer: bytes | None, vocabulary: int, longest: int, padding: int) -> None:
        if tokenizer is None:
            raise ContentError("tokenizer.json: not there, so texts have no token ids")
        from tokenizers import Tokenizer

        try:
            json.loads(tokenizer)
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except Exception as error:  # noqa: BLE001 (the library raises nothing narrower)
            raise ContentError(f"tokenizer.json: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        self.vocabulary, self.padding = vocabulary, padding

    def ids(self, text: str) -> list[int]:
        """The token ids of a text.

        Raises
        ------
        DomainError
            The text is empty, or the tokenizer gives an id that the model does not know: it belongs to another model.
        """
        if not text.strip():
            raise DomainError("text", text, "at least one letter")
        found = list(self._tokenizer.encode(text).ids)
        if not found:
            raise DomainError("text", text[:80], "a text that the tokenizer makes tokens of")
        if max(found) >= self.vocabulary:
            raise DomainError("token id", max(found), f"below {self.vocabulary}: this tokenizer belongs to another model")
        return found

    def batches(self, texts: Sequence[str], size: int = BATCH) -> Iterator[tuple[list[int], Any, Any]]:
        """Numbers of the texts, their ids and which tokens are kept: by length, so that little is filled up."""
        every = [self.ids(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(every[i]))
        for start in range(0, len(order), size):
            numbers = order[start : start + size]
            yield numbers, *padded([every[i] for i in numbers], self.padding)


def padded(every: Sequence[Sequence[int]], padding: int) -> tuple[Any, Any]:
    """Ids of several texts as one array, and which of them are no padding."""
    longest = max(map(len, every))
    ids = np.full((len(every), longest), padding, np.int64)
    kept = np.zeros(ids.shape, np.bool_)
    for row, own in enumerate(every):
        ids[row, : len(own)] = own
        kept[row, : len(own)] = True
    return ids, kept
