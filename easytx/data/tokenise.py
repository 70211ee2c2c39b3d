"""Texts to token ids: unpadded, in batched calls of the Rust tokenizer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from tokenizers import normalizers

from easytx.errors import CheckpointError

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.config.model_args import ModelArgs

# Rows per tokenizer call: enough for the Rust threads, and so few that Python's garbage collector, which looks through
# all lists as their number grows, does not run in between.
_CHUNK = 256

_TOKEN_COLUMNS = {"input_ids": pa.int32(), "token_type_ids": pa.int8(), "attention_mask": pa.int8()}


def encode(
    tokenizer: Any,
    texts: Sequence[str] | Sequence[list[str]],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    overlap: int | None = None,
    is_target: bool = False,
) -> Dataset:
    """Return texts, or pairs of texts, as features.

    Columns: the model inputs as unpadded lists; `row` (position of the text); `length` (tokens); unless there are
    windows, `cut` (whether the text was longer); and where texts are words, `word_ids` (which word of its text a token
    belongs to, or -1).

    Args:
        tokenizer: A tokenizer of transformers; for words, what `read_by_word` gave.
        texts: One text a row, or one list of words.
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
    return as_dataset(pa.concat_tables(tables))


def truncated_rows(dataset: Dataset) -> int:
    """Return how many texts were cut."""
    return int(column(dataset, "cut").sum()) if "cut" in dataset.column_names else 0


def _encode_chunk(
    tokenizer: Any,
    texts: list[Any],
    pairs: list[str] | None,
    first_row: int,
    max_length: int,
    overlap: int | None,
    is_target: bool,
) -> pa.Table:
    windows = {"return_overflowing_tokens": True, "stride": overlap} if overlap is not None else {}
    by_word = isinstance(texts[0], list)
    given: dict[str, Any] = {"text_target": texts} if is_target else {"text": texts, "text_pair": pairs}
    if by_word:
        given["is_split_into_words"] = True
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
    if by_word:
        words = [[-1 if word is None else word for word in found.word_ids] for found in encoding.encodings]
        columns["word_ids"] = pa.array(words, type=pa.list_(pa.int32()))
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


def read_by_word(tokenizer: Any) -> Any:
    """Return the tokenizer, made to read a word on its own as it reads it within a sentence.

    Byte-level vocabularies have different tokens for a word with and without a space before it. Some tokenizers
    put that space there when told so by an option; it is done here for all of them.

    Raises:
        CheckpointError: If the tokenizer cannot say which word a token belongs to.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            "A model that reads word by word needs a tokenizer that knows the word of each token; "
            f"{type(tokenizer).__name__} does not. Use a checkpoint with a tokenizer.json."
        )
    backend = tokenizer.backend_tokenizer
    step = backend.pre_tokenizer
    settings = json.loads(step.__getstate__()) if step is not None else {}
    if settings.get("type") == "ByteLevel":
        step.add_prefix_space = True
    elif any(part["type"] == "ByteLevel" for part in settings.get("pretokenizers", [])) and not _adds_space(backend):
        # Steps before it have split the word by then, and each part would get a space.
        before = [backend.normalizer] if backend.normalizer is not None else []
        backend.normalizer = normalizers.Sequence([*before, normalizers.Prepend(" ")])
    return tokenizer


def _adds_space(backend: Any) -> bool:
    tokens = backend.encode(["a"], is_pretokenized=True, add_special_tokens=False).tokens
    return bool(tokens) and tokens[0].startswith("Ġ")


def as_dataset(table: pa.Table) -> Dataset:
    """Return a table as a dataset, under a name drawn for it: left to itself, it would be named by all it holds."""
    from datasets import Dataset

    return Dataset(table, fingerprint=uuid.uuid4().hex)


def with_column(dataset: Dataset, name: str, values: np.ndarray | list[Any]) -> Dataset:
    """Return the dataset with one more column, in memory order of its rows."""
    array = pa.array(values) if not isinstance(values, pa.Array) else values
    return as_dataset(dataset.data.table.append_column(name, array))


def column(dataset: Dataset, name: str) -> np.ndarray:
    """Return a column of numbers as an array of shape (features,)."""
    return np.asarray(dataset.data.column(name).to_numpy())


def lengths_of(dataset: Dataset) -> np.ndarray:
    """Return the tokens of each feature, of shape (features,)."""
    return column(dataset, "length")
