"""Texts to token ids: unpadded, in batched calls of the Rust tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset

# Rows per tokenizer call: enough for the Rust threads, little enough to bound memory.
_CHUNK = 8192

_TOKEN_COLUMNS = {"input_ids": pa.int32(), "token_type_ids": pa.int8(), "attention_mask": pa.int8()}


class Encoded(NamedTuple):
    """Tokenised rows.

    Attributes:
        dataset: The model inputs as unpadded lists, `row` (position of the text) and `length` (tokens).
        truncated: How many texts were cut.
    """

    dataset: Dataset
    truncated: int


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    overlap: int | None = None,
) -> Encoded:
    """Return texts, or pairs of texts, as a Dataset.

    Args:
        tokenizer: A tokenizer of transformers.
        texts: One text a row.
        pairs: The second text of each row, if rows are pairs.
        max_length: Tokens per row, or per window, special tokens included.
        overlap: Tokens that neighbouring windows share; None cuts long texts instead of making windows.
    """
    tables, truncated = [], 0
    for start in range(0, len(texts), _CHUNK):
        part = slice(start, start + _CHUNK)
        table, cut = _encode_chunk(
            tokenizer,
            list(texts[part]),
            None if pairs is None else list(pairs[part]),
            start,
            max_length,
            overlap,
        )
        tables.append(table)
        truncated += cut
    return Encoded(Dataset(pa.concat_tables(tables)), truncated)


def _encode_chunk(
    tokenizer: Any,
    texts: list[str],
    pairs: list[str] | None,
    first_row: int,
    max_length: int,
    overlap: int | None,
) -> tuple[pa.Table, int]:
    windows = {"return_overflowing_tokens": True, "stride": overlap} if overlap is not None else {}
    encoding = tokenizer(texts, pairs, truncation=True, max_length=max_length, padding=False, verbose=False, **windows)
    ids = encoding["input_ids"]
    if overlap is None:
        rows = np.arange(first_row, first_row + len(texts), dtype=np.int64)
        cut = sum(len(row) >= max_length and bool(encoding.encodings[i].overflowing) for i, row in enumerate(ids))
    else:
        rows = np.asarray(encoding["overflow_to_sample_mapping"], dtype=np.int64) + first_row
        cut = 0
    columns = {
        name: pa.array(encoding[name], type=pa.list_(kind)) for name, kind in _TOKEN_COLUMNS.items() if name in encoding
    }
    lengths = np.fromiter((len(row) for row in ids), dtype=np.int32, count=len(ids))
    return pa.table({**columns, "row": rows, "length": lengths}), cut


def window_overlap(tokenizer: Any, max_length: int, stride: float, *, pairs: bool) -> int:
    """Return how many tokens neighbouring windows share.

    Args:
        tokenizer: Tells how many special tokens a window holds.
        max_length: Tokens per window.
        stride: How far a window moves on: a share of a window, or above 1 a number of tokens.
        pairs: Whether rows are pairs.
    """
    room: int = max_length - tokenizer.num_special_tokens_to_add(pair=pairs)
    step = int(stride * room) if stride <= 1 else int(stride)
    return room - min(max(step, 1), room)


def with_column(dataset: Dataset, name: str, values: np.ndarray | list[Any]) -> Dataset:
    """Return the dataset with one more column, in memory order of its rows."""
    array = pa.array(values) if not isinstance(values, pa.Array) else values
    return Dataset(dataset.data.table.append_column(name, array))


def column(dataset: Dataset, name: str) -> np.ndarray:
    """Return a column of numbers as an array of shape (features,)."""
    return np.asarray(dataset.data.column(name).to_numpy())


def lengths_of(dataset: Dataset) -> np.ndarray:
    """Return the tokens of each feature, of shape (features,)."""
    return column(dataset, "length")
