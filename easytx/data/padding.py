"""Rows of unlike lengths as one tensor, filled up with padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

# How many numbers a token has in each of the columns that a network may read besides its id, one after another.
_WIDTHS = {"bbox": 4, "global_attention_mask": 1}


def padded(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> torch.Tensor:
    """Return rows of numbers as whole numbers of shape (rows, longest), filled up with `value` at their ends.

    Args:
        rows: Of any lengths.
        value: To fill up with.
        left: Whether to fill up at their beginnings instead.
    """
    lengths = _lengths(rows)
    filled = np.full((len(rows), int(lengths.max(initial=0))), value, dtype=np.int64)
    filled[_inside(lengths, left=left)] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return torch.from_numpy(filled)


def _lengths(rows: Sequence[Sequence[int]]) -> np.ndarray:
    return np.fromiter(map(len, rows), np.int64, len(rows))


def _inside(lengths: np.ndarray, *, left: bool) -> np.ndarray:
    places = np.arange(int(lengths.max(initial=0)))
    inside: np.ndarray = places >= len(places) - lengths[:, None] if left else places < lengths[:, None]
    return inside


class Padding:
    """Makes batches as `transformers.DataCollatorWithPadding` does, or with `labels` the one for token classification.

    These look at each number several times, which takes half of the time that a GPU needs to predict short texts.
    """

    def __init__(self, tokenizer: Any, *, labels: int | None = None) -> None:
        """Take a tokenizer, and what labels are filled up with where each token has one."""
        self.left = tokenizer.padding_side == "left"
        self.values = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
        self.values["attention_mask"] = 0
        if labels is not None:
            self.values["labels"] = labels

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return one tensor per column: of shape (rows, tokens) where tokens have one value each, else (rows, ...)."""
        batch = {}
        for name in features[0]:
            rows = [row[name] for row in features]
            values = self.values.get(name)
            batch[name] = torch.tensor(rows) if values is None else padded(rows, values, left=self.left)
        if "input_ids" in batch and "attention_mask" not in batch:
            inside = _inside(_lengths([row["input_ids"] for row in features]), left=self.left)
            batch["attention_mask"] = torch.from_numpy(inside.astype(np.int64))
        return batch


class RightPadding:
    """Makes batches of tokens that are padded on the right, whatever side the tokenizer pads on.

    There no model needs to be told the positions of its tokens: each row starts at the first one, and what comes
    behind its last token is masked, for an encoder, or not yet seen, for a decoder.
    """

    def __init__(self, pad_id: int | None) -> None:
        """Take the id to pad with; any will do where a tokenizer has none, as the padding is masked."""
        self.pad_id = pad_id or 0

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return one tensor of shape (rows, tokens) per column."""
        return {
            name: padded([row[name] for row in features], self.pad_id if name == "input_ids" else 0)
            for name in features[0]
        }


class TokenColumns:
    """Makes batches with the columns that have one or more numbers for each token, besides what another collator pads.

    They are `bbox`, where on a page a token stands, and `global_attention_mask`; features without any are left to the
    other collator.
    """

    def __init__(self, pad: Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]) -> None:
        """Take what pads everything else."""
        self.pad = pad

    def __call__(self, features: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        """Return a batch with these columns of shape (rows, tokens), or (rows, tokens, width), zero where padded."""
        widths = {name: width for name, width in _WIDTHS.items() if name in features[0]}
        if not widths:
            return self.pad(features)
        others = [{name: value for name, value in row.items() if name not in widths} for row in features]
        batch = dict(self.pad(others))
        # Whatever side the tokenizer pads on.
        inside = batch["attention_mask"].bool()
        for name, width in widths.items():
            numbers = np.concatenate([np.asarray(row[name], dtype=np.int64) for row in features])
            padded = torch.zeros((*inside.shape, width), dtype=torch.long)
            padded[inside] = torch.from_numpy(numbers.reshape(-1, width))
            batch[name] = padded if width > 1 else padded.squeeze(-1)
        return batch
