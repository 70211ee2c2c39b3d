"""Tags as numbers, and the outputs of windows as one tag for every word."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch

from easytx.data.checks import counted, rows, warn_about_duplicates
from easytx.data.labels import LabelMap
from easytx.data.prepared import TaskData
from easytx.data.tokenise import column, lengths_of
from easytx.errors import LabelError

if TYPE_CHECKING:
    from datasets import Dataset

OUTSIDE = "O"


@dataclass(frozen=True)
class Answers:
    """What a tagger says about each sentence.

    Attributes:
        tags: One label per word.
        probabilities: Of these labels; NaN for a word of which the tokenizer leaves nothing.
        logits: One array of shape (pieces, labels) per word.
    """

    tags: list[list[Any]]
    probabilities: list[np.ndarray]
    logits: list[list[np.ndarray]]

    @functools.cached_property
    def listed_logits(self) -> list[list[list[list[float]]]]:
        """The same as lists, which is what scripts expect: for each word one list of logits per piece.

        A word of which the tokenizer leaves nothing has one list of NaN, so that the mean over pieces has its shape.
        """
        return [[pieces.tolist() or [[math.nan] * pieces.shape[1]] for pieces in words] for words in self.logits]


def in_order(labels: Sequence[Any]) -> list[Any]:
    """Return labels with O first, and B-, I- and other tags of an entity type side by side."""
    if not all(isinstance(label, str) for label in labels):
        return list(labels)

    def key(label: str) -> tuple[bool, str, str]:
        prefix, hyphen, kind = label.partition("-")
        return (label != OUTSIDE, kind if hyphen else prefix, prefix)

    return sorted(labels, key=key)


def several_tags(frame: pd.DataFrame, compared: pd.DataFrame, *, name: str) -> list[Any]:
    """Return the tag of every word to learn from, and warn of sentences that are there twice.

    Args:
        frame: The sentences.
        compared: What makes them alike.
        name: What to call the rows in messages.

    Raises:
        LabelError: If there is one tag only.
    """
    tags = list(chain.from_iterable(frame["labels"]))
    if len(set(tags)) == 1:
        raise LabelError(
            f"{name} has one tag only: {tags[0]!r} for all {counted(len(tags), 'word')}. "
            "A tagger needs words of two tags or more."
        )
    texts = compared.astype(str)
    warn_about_duplicates(texts, texts.columns.tolist(), name=name, what="words", unit="sentence")
    return tags


def tag_ids(frame: pd.DataFrame, labels: LabelMap, *, name: str) -> np.ndarray:
    """Return the label id of every word, of shape (words,).

    Raises:
        LabelError: Naming tags that are no labels, with the caller's rows.
    """
    codes, tags = pd.factorize(np.array(list(chain.from_iterable(frame["labels"])), dtype=object))
    unknown = [tag for tag in tags if tag not in labels]
    if unknown:
        at = np.unique(caller_rows(frame)[np.isin(codes, [i for i, tag in enumerate(tags) if tag in unknown])])
        raise LabelError(
            f"{name} has tags that the model does not have in {counted(len(at), 'row')}: "
            f"{', '.join(map(repr, unknown[:5]))} ({rows(at)}). Its labels are {labels.labels[:20]}."
        )
    return labels.encode(list(tags), name=name)[codes]


def caller_rows(frame: pd.DataFrame) -> np.ndarray:
    """Return the caller's row of every word, of shape (words,)."""
    if "row" in frame:
        return np.fromiter(chain.from_iterable(frame["row"]), dtype=np.int64)
    return np.repeat(np.arange(len(frame)), [len(words) for words in frame["words"]])


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy over labelled tokens, and 0 where there are none.

    torch's own mean is NaN then: a window may hold nothing but the later pieces of one word.
    """
    total = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


def answers(values: Sequence[np.ndarray], data: TaskData, labels: LabelMap) -> Answers:
    """Return one label for each word: that of its first token, in the window that shows most of what is around it.

    A word of which the tokenizer leaves nothing is outside of all entities.

    Args:
        values: The logits of each feature, of shape (tokens, labels).
        data: The sentences and their features.
        labels: The labels of the logits.
    """
    from scipy.special import softmax

    sizes = [len(words) for words in data.frame["words"]]
    logits, word = _stitched(values, data.dataset, np.cumsum(sizes) - sizes)
    first = np.flatnonzero(np.diff(word, prepend=-1))
    chosen = softmax(logits[first], axis=1)
    ids = np.full(sum(sizes), labels.labels.index(OUTSIDE) if OUTSIDE in labels else 0)
    probabilities = np.full(len(ids), np.nan, dtype=np.float32)
    pieces = [logits[:0]] * len(ids)
    ids[word[first]] = chosen.argmax(axis=1)
    probabilities[word[first]] = chosen.max(axis=1)
    upto = np.append(first, len(word))[1:]
    for number, start, end in zip(word[first].tolist(), first.tolist(), upto.tolist(), strict=True):
        pieces[number] = logits[start:end]
    tags = labels.decode(ids)
    ends = np.cumsum(sizes).tolist()
    bounds = list(zip([0, *ends], ends, strict=False))
    return Answers(
        [tags[start:end] for start, end in bounds],
        [probabilities[start:end] for start, end in bounds],
        [pieces[start:end] for start, end in bounds],
    )


def _stitched(values: Sequence[np.ndarray], dataset: Dataset, first_word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of every token that belongs to a word, once each, and the number of that word."""
    logits = np.concatenate(values)
    position, word = (np.asarray(pc.list_flatten(dataset.data.column(name))) for name in ("position", "word_ids"))
    length = lengths_of(dataset)
    row = np.repeat(column(dataset, "row"), length)
    kept = np.flatnonzero(word >= 0)
    if len(dataset) > len(first_word):
        starts = np.cumsum(length) - length
        last = np.maximum.reduceat(position, starts)
        first = np.minimum.reduceat(np.where(position < 0, position.max() + 1, position), starts)
        end = np.zeros(len(first_word), dtype=np.int64)
        np.maximum.at(end, column(dataset, "row"), last)
        far = len(position)
        to_left = np.where(np.repeat(first, length) == 0, far, position - np.repeat(first, length))
        to_right = np.where(np.repeat(last, length) == end[row], far, np.repeat(last, length) - position)
        context = np.minimum(to_left, to_right)
        order = kept[np.lexsort((-context[kept], position[kept], row[kept]))]
        new = np.diff(row[order], prepend=-1).astype(bool) | np.diff(position[order], prepend=-1).astype(bool)
        kept = order[new]
    return logits[kept], (first_word[row] + word)[kept]
