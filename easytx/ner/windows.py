"""Words as windows of tokens that together hold every word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from easytx.data.tables import joined, lists_of

if TYPE_CHECKING:
    from datasets import Dataset

# Sentences per tokenizer call: enough for its threads, little enough to bound memory.
_CHUNK = 8192


def encode_words(
    tokenizer: Any, sentences: Sequence[list[str]], ids: np.ndarray | None, *, max_length: int, overlap: int
) -> Dataset:
    """Return sentences as features: one for each, or overlapping windows that together hold all its tokens.

    Columns: the model inputs, unpadded; `row` (position of the sentence); `length` (tokens); `word_ids` and
    `position` (which word of the sentence a token belongs to, and which token of the sentence it is; -1 for special
    tokens); and with `ids` the `labels`: an id for the first token of each word, -100 for all others.

    Args:
        tokenizer: What `read_by_word` gave.
        sentences: Their words.
        ids: The label id of every word, of shape (words,).
        max_length: Tokens per window, special tokens included.
        overlap: Tokens of words that neighbouring windows share.
    """
    layout = _Layout.of(tokenizer, max_length, overlap)

    def tables() -> Iterator[pa.Table]:
        first_word = 0
        for start in range(0, len(sentences), _CHUNK):
            part = list(sentences[start : start + _CHUNK])
            sizes = np.array([len(words) for words in part], dtype=np.int64)
            words = slice(first_word, first_word + int(sizes.sum()))
            yield _windows(tokenizer, part, sizes, None if ids is None else ids[words], layout, start)
            first_word = words.stop

    return joined(tables())


@dataclass(frozen=True)
class _Layout:
    """What stands around the words of a window, and how windows follow each other.

    Attributes:
        ids: The special tokens, those before the words and then those behind them.
        types: The token types of these, and last that of the words; None where the model takes none.
        before: How many stand before the words.
        room: Tokens of words in a window.
        step: How far a window moves on.
        filler: Stands for a sentence without any token.
    """

    ids: np.ndarray
    types: np.ndarray | None
    before: int
    room: int
    step: int
    filler: int

    @classmethod
    def of(cls, tokenizer: Any, max_length: int, overlap: int) -> _Layout:
        sample = tokenizer([["a"]], is_split_into_words=True, verbose=False)
        special = np.array(sample.encodings[0].special_tokens_mask, dtype=bool)
        before = int(special.argmin())
        types = None
        if "token_type_ids" in sample:
            given = np.array(sample["token_type_ids"][0])
            types = np.append(given[special], given[before])
        room = max_length - int(special.sum())
        return cls(
            ids=np.array(sample["input_ids"][0])[special],
            types=types,
            before=before,
            room=room,
            step=room - overlap,
            filler=next(i for i in (tokenizer.unk_token_id, tokenizer.eos_token_id, 0) if i is not None),
        )


def _windows(
    tokenizer: Any,
    sentences: list[list[str]],
    sizes: np.ndarray,
    tag_of_word: np.ndarray | None,
    layout: _Layout,
    first_row: int,
) -> pa.Table:
    encoding = tokenizer(sentences, is_split_into_words=True, add_special_tokens=False, verbose=False)
    ids = [row or [layout.filler] for row in encoding["input_ids"]]
    words = _flat([found.word_ids or [-1] for found in encoding.encodings])
    tokens = np.array([len(row) for row in ids], dtype=np.int64)
    first_token = np.cumsum(tokens) - tokens

    # The last window of a sentence is as full as the others: it moves back instead of ending early.
    number = 1 + np.maximum(-(-(tokens - layout.room) // layout.step), 0)
    row = np.repeat(np.arange(len(ids)), number)
    start = np.minimum(_counting(number) * layout.step, np.maximum(tokens - layout.room, 0)[row])
    length = np.minimum(tokens, layout.room)[row] + len(layout.ids)

    place = _counting(length)
    position = np.repeat(start, length) + place - layout.before
    behind = place - np.repeat(length - len(layout.ids), length)
    inside = (place >= layout.before) & (behind < layout.before)
    special = np.where(place < layout.before, place, behind)[~inside]
    source = (np.repeat(first_token[row], length) + position)[inside]

    def spread(values: np.ndarray, others: Any) -> np.ndarray:
        found = np.empty(len(place), dtype=np.int64)
        found[inside], found[~inside] = values, others
        return found

    columns = {"input_ids": lists_of(spread(_flat(ids)[source], layout.ids[special]), length, pa.int32())}
    columns["attention_mask"] = lists_of(np.ones(len(place)), length, pa.int8())
    if layout.types is not None:
        columns["token_type_ids"] = lists_of(spread(layout.types[-1], layout.types[special]), length, pa.int8())
    columns["word_ids"] = lists_of(spread(words[source], -1), length, pa.int32())
    columns["position"] = lists_of(spread(position[inside], -1), length, pa.int32())
    if tag_of_word is not None:
        opens = (words >= 0) & (np.diff(words, prepend=-1) != 0)
        opens[first_token] = words[first_token] >= 0
        first_word = np.repeat(np.cumsum(sizes) - sizes, tokens)
        labels = np.full(len(words), -100, dtype=np.int64)
        labels[opens] = tag_of_word[(first_word + words)[opens]]
        columns["labels"] = lists_of(spread(labels[source], -100), length, pa.int64())
    return pa.table({**columns, "row": row + first_row, "length": length.astype(np.int32)})


def _flat(lists: list[list[int]]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), dtype=np.int64)


def _counting(numbers: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... up to each number, one after another."""
    counted: np.ndarray = np.arange(numbers.sum()) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    return counted
