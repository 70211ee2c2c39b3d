"""Texts to token ids: unpadded, in batched calls of the Rust tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

if TYPE_CHECKING:
    from easytx.config.model_args import ModelArgs

# Rows per tokenizer call: enough for the Rust threads, little enough to bound memory.
_CHUNK = 8192

_TOKEN_COLUMNS = {"input_ids": pa.int32(), "token_type_ids": pa.int8(), "attention_mask": pa.int8()}


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    overlap: int | None = None,
    is_target: bool = False,
) -> Dataset:
    """Return texts, or pairs of texts, as features.

    Columns: the model inputs as unpadded lists; `row` (position of the text); `length` (tokens); and, unless there
    are windows, `cut` (whether the text was longer).

    Args:
        tokenizer: A tokenizer of transformers.
        texts: One text a row.
        pairs: The second text of each row, if rows are pairs.
        max_length: Tokens per row, or per window, special tokens included.
        overlap: Tokens that neighbouring windows share; None cuts long texts instead of making windows.
        is_target: Whether the texts are those to be written, which some tokenizers mark differently.
    """
    tables = []
    for start in range(0, len(texts), _CHUNK):
        part = slice(start, start + _CHUNK)
        seconds = None if pairs is None else list(pairs[part])
        tables.append(_encode_chunk(tokenizer, list(texts[part]), seconds, start, max_length, overlap, is_target))
    return Dataset(pa.concat_tables(tables))


def truncated_rows(dataset: Dataset) -> int:
    """Return how many texts were cut."""
    return int(column(dataset, "cut").sum()) if "cut" in dataset.column_names else 0


def _encode_chunk(
    tokenizer: Any,
    texts: list[str],
    pairs: list[str] | None,
    first_row: int,
    max_length: int,
    overlap: int | None,
    is_target: bool,
) -> pa.Table:
    windows = {"return_overflowing_tokens": True, "stride": overlap} if overlap is not None else {}
    given = {"text_target": texts} if is_target else {"text": texts, "text_pair": pairs}
    encoding = tokenizer(**given, truncation=True, max_length=max_length, padding=False, verbose=False, **windows)
    ids = encoding["input_ids"]
    lengths = np.fromiter((len(row) for row in ids), dtype=np.int32, count=len(ids))
    if overlap is None:
        cut = [n >= max_length and _was_cut(tokenizer, encoding, i, given, max_length) for i, n in enumerate(lengths)]
        places = {"row": np.arange(first_row, first_row + len(texts), dtype=np.int64), "cut": cut}
    else:
        places = {"row": np.asarray(encoding["overflow_to_sample_mapping"], dtype=np.int64) + first_row}
    columns = {
        name: pa.array(encoding[name], type=pa.list_(kind)) for name, kind in _TOKEN_COLUMNS.items() if name in encoding
    }
    return pa.table({**columns, **places, "length": lengths})


def _was_cut(tokenizer: Any, encoding: Any, i: int, given: Mapping[str, Any], max_length: int) -> bool:
    """Tell whether a text that fills its row was longer."""
    if encoding.encodings is not None:
        return bool(encoding.encodings[i].overflowing)
    # Tokenizers in Python, such as ByT5's and Marian's, do not say.
    one = {name: None if texts is None else texts[i] for name, texts in given.items()}
    return len(tokenizer(**one, verbose=False)["input_ids"]) > max_length


def window_overlap(tokenizer: Any, args: ModelArgs, *, pairs: bool = False) -> int | None:
    """Return how many tokens neighbouring windows share, or None without `sliding_window`.

    Args:
        tokenizer: Tells how many special tokens a window holds.
        args: `max_seq_length` tokens a window; `stride` says how far it moves on, as a share of a window, or above
            1 as a number of tokens.
        pairs: Whether rows are pairs.
    """
    if not args["sliding_window"]:
        return None
    room: int = args.max_seq_length - tokenizer.num_special_tokens_to_add(pair=pairs)
    step = int(args["stride"] * room) if args["stride"] <= 1 else int(args["stride"])
    # Of two long texts each gets half of a window, and a window has to move on in both.
    most = (room // 2 if pairs else room) - 1
    return max(min(room - step, most), 0)


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
