"""Documents as blocks of tokens. A block never holds text of two documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from easytx.data.tables import joined

# Texts per tokenizer call.
_CHUNK = 8192

_KINDS = {"input_ids": pa.int32(), "token_type_ids": pa.int8(), "attention_mask": pa.int8(), "units": pa.int32()}

# The unit of a token that is not to be predicted.
GIVEN = -1


@dataclass(frozen=True)
class Cutting:
    """How documents become blocks.

    Attributes:
        block_size: Tokens of a block, special tokens included.
        overlap: Tokens that a block repeats of the one before it; they are there to be read, and are not predicted
            again, so that every token of a document counts once. None cuts a long document instead.
        causal: Whether the next token is predicted. A document then begins and ends with the special tokens that
            the tokenizer has for it, and blocks in its middle have none.
        whole_words: Whether the units that are masked are words rather than tokens.
    """

    block_size: int
    overlap: int | None
    causal: bool = False
    whole_words: bool = False


def blocks(tokenizer: Any, texts: Sequence[str], cutting: Cutting) -> Dataset:
    """Return documents as blocks.

    Columns: the model inputs as unpadded lists; `units`, which tokens are masked together, or -1 for tokens that
    are given; `row` (position of the document); `length` (tokens); `cut` (whether the document was longer). A block
    with nothing to predict is left out.

    Args:
        tokenizer: A tokenizer of transformers.
        texts: The documents.
        cutting: How to cut them.
    """

    def tables() -> Iterator[pa.Table]:
        for start in range(0, max(len(texts), 1), _CHUNK):
            columns = block_columns(tokenizer, texts[start : start + _CHUNK], cutting)
            columns["row"] = columns["row"] + start
            yield _table(columns)

    return joined(tables())


def block_columns(tokenizer: Any, texts: Sequence[str], cutting: Cutting) -> dict[str, Any]:
    """Return the columns of `blocks` as lists and arrays."""
    marked = [_with_ends(tokenizer, text) for text in texts] if cutting.causal else list(texts)
    windows = {} if cutting.overlap is None else {"return_overflowing_tokens": True, "stride": cutting.overlap}
    encoding = tokenizer(
        marked,
        truncation=True,
        max_length=cutting.block_size,
        add_special_tokens=not cutting.causal,
        return_special_tokens_mask=True,
        padding=False,
        verbose=False,
        **windows,
    )
    lengths = np.fromiter((len(ids) for ids in encoding["input_ids"]), dtype=np.int64, count=len(encoding["input_ids"]))
    row = np.asarray(encoding.get("overflow_to_sample_mapping", np.arange(len(marked))), dtype=np.int64)
    units = _units(encoding, lengths, row, cutting)
    # The first token of a row is never the next one.
    first = 1 if cutting.causal else 0
    kept = [i for i, own in enumerate(units) if (own[first:] != GIVEN).any()]
    cut = np.zeros(len(lengths), dtype=bool)
    if cutting.overlap is None:
        cut[:] = [n >= cutting.block_size and bool(encoding.encodings[i].overflowing) for i, n in enumerate(lengths)]
    columns = {name: [encoding[name][i] for i in kept] for name in _KINDS if name in encoding}
    return {**columns, "units": [units[i] for i in kept], "row": row[kept], "length": lengths[kept], "cut": cut[kept]}


def truncated(dataset: Dataset) -> int:
    """Return how many documents were cut."""
    return int(np.asarray(dataset.data.column("cut").to_numpy()).sum())


def _with_ends(tokenizer: Any, text: str) -> str:
    """Return a document between the tokens that begin and end one, where the tokenizer has such tokens."""
    begin = tokenizer.bos_token if _begins_texts(tokenizer) else ""
    return f"{begin}{text}{tokenizer.eos_token or ''}"


def _begins_texts(tokenizer: Any) -> bool:
    if tokenizer.bos_token_id is None:
        return False
    begin: list[int] = tokenizer("a", verbose=False)["input_ids"]
    return begin[0] == int(tokenizer.bos_token_id)


def _units(encoding: Any, lengths: np.ndarray, row: np.ndarray, cutting: Cutting) -> list[np.ndarray]:
    """Return, for each block, which of its tokens are masked together, and which are given."""
    special = np.fromiter(chain.from_iterable(encoding["special_tokens_mask"]), dtype=bool, count=int(lengths.sum()))
    ends = np.cumsum(lengths)
    position = np.arange(len(special)) - np.repeat(ends - lengths, lengths)
    found = position.copy()
    if cutting.whole_words:
        words = (word for one in encoding.encodings for word in one.word_ids)
        found = np.fromiter((GIVEN if word is None else word for word in words), dtype=np.int64, count=len(special))
        first = np.minimum.reduceat(np.where(found == GIVEN, len(special), found), ends - lengths)
        found = np.where(found == GIVEN, GIVEN, found - np.repeat(first, lengths))
    if cutting.overlap:
        # What a block repeats comes behind the special tokens at its beginning.
        goes_on = np.append(False, np.diff(row) == 0)
        ahead = _leading(special, lengths)
        repeated = np.where(goes_on, ahead + cutting.overlap, 0)
        found[position < np.repeat(repeated, lengths)] = GIVEN
    if not cutting.causal:
        found[special] = GIVEN
    return np.split(found, ends[:-1])


def _leading(special: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the number of special tokens at the beginning of each block."""
    starts = np.cumsum(lengths) - lengths
    plain = np.flatnonzero(np.append(~special, True))
    ahead: np.ndarray = np.minimum(plain[np.searchsorted(plain, starts)] - starts, lengths)
    return ahead


def _table(columns: dict[str, Any]) -> pa.Table:
    lists = {name: pa.array(columns[name], type=pa.list_(kind)) for name, kind in _KINDS.items() if name in columns}
    numbers = {name: pa.array(columns[name]) for name in ("row", "length", "cut")}
    return pa.table({**lists, **numbers})
