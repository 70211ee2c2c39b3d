"""From turns and replies to features, and from features to batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

from easytx.conv_ai.rendering import ChatFormat, Turn
from easytx.data.tokenise import column
from easytx.errors import ArgumentError
from easytx.training.generation import shifted_right

IGNORED = -100

# Fewest tokens that a turn needs to be read at all.
_FEWEST = 8

_IDS = pa.list_(pa.int32())


@dataclass(frozen=True)
class Cutting:
    """How much of a conversation is read.

    Attributes:
        max_length: Tokens of a turn; for a decoder, with its reply.
        reserved: Tokens that are kept for the reply.
        max_history: Earlier exchanges.
    """

    max_length: int
    reserved: int
    max_history: int

    @property
    def room(self) -> int:
        """Tokens of a turn without its reply.

        Raises:
            ArgumentError: If there are next to none.
        """
        room = self.max_length - self.reserved
        if room < _FEWEST:
            raise ArgumentError(
                f"max_seq_length is {self.max_length}, of which max_length={self.reserved} tokens are kept for the "
                "reply: too little is left for what it replies to. Set a higher max_seq_length or a lower max_length."
            )
        return room


def turns_of(frame: pd.DataFrame, max_history: int) -> list[Turn]:
    """Return what each row replies to."""
    pairs = zip(frame["personality"], frame["history"], strict=True)
    return [Turn(tuple(lines), tuple(said[-(2 * max_history + 1) :])) for lines, said in pairs]


def permuted(turns: Sequence[Turn], times: int) -> list[tuple[int, Turn]]:
    """Return each turn, with its number, under so many orders of its lines: as it is, then turned on by one."""
    return [
        (row, replace(turn, personality=turn.personality[start:] + turn.personality[:start]))
        for row, turn in enumerate(turns)
        for start in range(min(times, max(len(turn.personality), 1)))
    ]


def features(
    chat: ChatFormat,
    turns: Sequence[tuple[int, Turn]],
    replies: Sequence[Sequence[str]] | None,
    cutting: Cutting,
    *,
    together: bool,
) -> Dataset:
    """Return turns, and replies to them, as features.

    Columns: `input_ids`, what is read; `replies`, a list of ids for each reply of the feature; `row`; `length`, the
    tokens of all its sequences; `cut`, whether something was left out.

    Args:
        chat: Makes ids of texts.
        turns: What is replied to, each with the number of its row.
        replies: One list of replies per row, the true one last; None to predict.
        cutting: How much is read.
        together: Whether all replies of a row are in one feature, or each in one of its own.
    """
    prompts, shortened = _prompts(chat, [turn for _, turn in turns], cutting.room)
    records: list[tuple[list[int], list[list[int]], int, int, bool]] = []
    encoded = None if replies is None else _replies(chat, replies)
    for (row, _), prompt, short in zip(turns, prompts, shortened, strict=True):
        room = cutting.max_length - (0 if chat.reads_apart else len(prompt))
        whole = [] if encoded is None else encoded[row]
        kept = [_cut(ids, room, chat) for ids in whole]
        cut = short or any(len(a) < len(b) for a, b in zip(kept, whole, strict=True))
        for group in [kept] if together or encoded is None else [[ids] for ids in kept]:
            longest = max(map(len, group), default=0)
            length = max(len(group), 1) * (max(len(prompt), longest) if chat.reads_apart else len(prompt) + longest)
            records.append((prompt, group, row, length, cut))
    names = ("input_ids", "replies", "row", "length", "cut")
    kinds = (_IDS, pa.list_(_IDS), pa.int64(), pa.int32(), pa.bool_())
    columns = zip(*records, strict=True) if records else [()] * len(names)
    return Dataset(
        pa.table({name: pa.array(list(v), type=kind) for name, kind, v in zip(names, kinds, columns, strict=True)})
    )


def rows_cut(dataset: Dataset) -> int:
    """Return of how many rows something was left out."""
    return len(np.unique(column(dataset, "row")[column(dataset, "cut")]))


def true_features(dataset: Dataset) -> np.ndarray:
    """Return the position of the last feature of each row: that of the true reply."""
    row = column(dataset, "row")
    return np.flatnonzero(np.append(row[1:] != row[:-1], True))


class Collator:
    """Makes a padded batch of features: one sequence per reply, the features in order.

    Args:
        pad: The id to pad with.
        reads_apart: Whether an encoder reads the turns.
        weights: For a model that chooses, the weights of the losses of tokens and of choosing and, where labels are
            smoothed, how much; else None.
        first: The id that starts a decoder, where its model is not told labels; else None.
    """

    def __init__(
        self,
        pad: int,
        *,
        reads_apart: bool,
        weights: tuple[float, ...] | None = None,
        first: int | None = None,
    ) -> None:
        self.pad, self.reads_apart, self.weights, self.first = pad, reads_apart, weights, first

    def __call__(self, features: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        """Return ids, mask, labels and, for a model that chooses, the number of replies of each feature."""
        pairs = [(feature["input_ids"], reply) for feature in features for reply in feature["replies"]]
        if self.reads_apart:
            read, labels = [prompt for prompt, _ in pairs], [reply for _, reply in pairs]
        else:
            read = [[*prompt, *reply] for prompt, reply in pairs]
            labels = [[*[IGNORED] * len(prompt), *reply] for prompt, reply in pairs]
        batch = {
            "input_ids": _padded(read, self.pad),
            "attention_mask": _padded([[1] * len(ids) for ids in read], 0),
            "labels": _padded(labels, IGNORED),
        }
        if self.weights is not None:
            batch["candidates"] = torch.tensor([len(feature["replies"]) for feature in features])
            batch["loss_weights"] = torch.tensor(self.weights)
        if self.first is not None:
            batch["decoder_input_ids"] = shifted_right(batch["labels"], first=self.first, pad=self.pad)
        return batch


def _padded(sequences: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(ids) for ids in sequences], batch_first=True, padding_value=value)


def _replies(chat: ChatFormat, replies: Sequence[Sequence[str]]) -> list[list[list[int]]]:
    flat = iter(chat.replies([text for row in replies for text in row]))
    return [[next(flat) for _ in row] for row in replies]


def _cut(reply: list[int], room: int, chat: ChatFormat) -> list[int]:
    """Return a reply of at most so many tokens, with its end."""
    if len(reply) <= room:
        return reply
    end = chat.end or reply[-1:]
    return [*reply[: max(room - len(end), 0)], *end]


def _prompts(chat: ChatFormat, turns: Sequence[Turn], room: int) -> tuple[list[list[int]], list[bool]]:
    """Return turns as ids of at most so many tokens, and whether each had to be shortened for that.

    The oldest utterances go first, one by one; then the beginning of the newest. The personality stays.
    """
    ids = chat.prompts(turns)
    shortened = [False] * len(ids)
    left = list(turns)
    while long := [place for place, own in enumerate(ids) if len(own) > room and len(left[place].history) > 1]:
        for place in long:
            left[place] = replace(left[place], history=left[place].history[1:])
            shortened[place] = True
        for place, own in zip(long, chat.prompts([left[place] for place in long]), strict=True):
            ids[place] = own
    for place, own in enumerate(ids):
        if len(own) > room:
            shortened[place] = True
            ids[place] = _newest(chat, left[place], own, room)
    return ids, shortened


def _newest(chat: ChatFormat, turn: Turn, ids: list[int], room: int) -> list[int]:
    """Return a turn of one utterance without the beginning of it; without that of all, where this is not enough."""
    words = turn.history[-1].split()
    while len(ids) > room and len(words) > 1:
        # A word has a token at least, and mostly no more than three.
        words = words[min(max((len(ids) - room) // 3, 1), len(words) - 1) :]
        (ids,) = chat.prompts([replace(turn, history=(" ".join(words),))])
    return ids[-room:]
