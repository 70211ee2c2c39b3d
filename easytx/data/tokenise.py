"""Texts to token ids: unpadded, in batched calls of the Rust tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import normalizers
from typing_extensions import override

from easytx.data.tables import as_dataset, joined, lists_of
from easytx.errors import CheckpointError

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.config.model_args import ModelArgs

# Rows per tokenizer call: enough that the Rust threads hardly wait for each other.
_CHUNK = 1024

_TOKEN_COLUMNS = {
    "input_ids": pa.int32(),
    "token_type_ids": pa.int8(),
    "attention_mask": pa.int8(),
    "word_ids": pa.int32(),
}


class _Features(NamedTuple):
    # The token columns, a list of numbers a feature; which of the texts each feature is of; which texts were cut; and
    # of columns that hold one number only, that number.
    tokens: Mapping[str, Any]
    place: Sequence[int] | np.ndarray
    cut: list[bool] | None
    constant: Mapping[str, int] = {}


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
    windows = {} if overlap is None else {"return_overflowing_tokens": True, "stride": overlap}
    options = {"truncation": True, "max_length": max_length, "padding": False, "verbose": False, **windows}
    by_word = len(texts) > 0 and isinstance(texts[0], list)
    kind = _BackendCalls if _is_all_backend(tokenizer, is_target) and not by_word else _Calls
    calls = kind(tokenizer, options, is_target)

    def tables() -> Iterator[pa.Table]:
        for start in range(0, len(texts), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield _table(calls.features(list(texts[part]), None if pairs is None else list(pairs[part])), start)

    return joined(tables())


def truncated_rows(dataset: Dataset) -> int:
    """Return how many texts were cut."""
    return int(column(dataset, "cut").sum()) if "cut" in dataset.column_names else 0


def _table(features: _Features, first_row: int) -> pa.Table:
    ids = features.tokens["input_ids"]
    lengths = np.fromiter(map(len, ids), dtype=np.int32, count=len(ids))

    def column_of(name: str, kind: pa.DataType) -> pa.Array:
        if name not in features.constant:
            return pa.array(features.tokens[name], type=pa.list_(kind))
        return lists_of(np.full(lengths.sum(), features.constant[name], dtype=kind.to_pandas_dtype()), lengths)

    has = {*features.tokens, *features.constant}
    columns = {name: column_of(name, kind) for name, kind in _TOKEN_COLUMNS.items() if name in has}
    row = np.asarray(features.place, dtype=np.int64) + first_row
    cut = {} if features.cut is None else {"cut": np.asarray(features.cut, dtype=bool)}
    return pa.table({**columns, "row": row, **cut, "length": lengths})


class _Calls:
    """Calls of a tokenizer, whatever it is made of."""

    def __init__(self, tokenizer: Any, options: Mapping[str, Any], is_target: bool) -> None:
        self.tokenizer, self.options = tokenizer, options
        self.is_target = is_target
        self.has_windows = "stride" in options

    def features(self, texts: list[Any], pairs: list[str] | None) -> _Features:
        given: dict[str, Any] = {"text_target": texts} if self.is_target else {"text": texts, "text_pair": pairs}
        if by_word := isinstance(texts[0], list):
            given["is_split_into_words"] = True
        found = self.tokenizer(**given, **self.options)
        if by_word:
            words = [[-1 if word is None else word for word in one.word_ids] for one in found.encodings]
            found["word_ids"] = words
        if self.has_windows:
            return _Features(found, found["overflow_to_sample_mapping"], None)
        most = self.options["max_length"]
        cut = [len(ids) >= most and self._was_cut(found, i, given, most) for i, ids in enumerate(found["input_ids"])]
        return _Features(found, range(len(texts)), cut)

    def _was_cut(self, found: Any, i: int, given: Mapping[str, Any], most: int) -> bool:
        """Tell whether a text that fills its row was longer."""
        if found.encodings is not None:
            return bool(found.encodings[i].overflowing)
        # Tokenizers in Python, such as ByT5's and Marian's, do not say.
        one = {name: None if texts is None else texts[i] for name, texts in given.items()}
        return len(self.tokenizer(**one, verbose=False)["input_ids"]) > most


def _is_all_backend(tokenizer: Any, is_target: bool) -> bool:
    """Tell whether a call of the tokenizer is a call of its backend in Rust and nothing else."""
    from transformers import PreTrainedTokenizerFast

    kind = type(tokenizer)
    if not issubclass(kind, PreTrainedTokenizerFast) or (is_target and hasattr(kind, "_switch_to_target_mode")):
        return False
    return all(getattr(kind, name) is getattr(PreTrainedTokenizerFast, name) for name in ("__call__", "_encode_plus"))


class _BackendCalls(_Calls):
    """The same without what nobody reads here: offsets, and a dictionary for each text."""

    def __init__(self, tokenizer: Any, options: Mapping[str, Any], is_target: bool) -> None:
        super().__init__(tokenizer, options, is_target)
        # Tells what the model takes, and leaves the backend set as the options say.
        self.taken = tokenizer([""], **options).keys()

    @override
    def features(self, texts: list[str], pairs: list[str] | None) -> _Features:
        backend, most = self.tokenizer.backend_tokenizer, self.options["max_length"]
        # The fast call gives the second texts of all windows but the first the types of first texts.
        encode_batch = backend.encode_batch if self.has_windows else backend.encode_batch_fast
        found = encode_batch(texts if pairs is None else [*zip(texts, pairs, strict=True)])
        place, cut = np.arange(len(texts)), None
        if self.has_windows:
            windows = [[first, *first.overflowing] for first in found]
            place = np.repeat(place, [*map(len, windows)])
            found = [*chain.from_iterable(windows)]
        ids = [one.ids for one in found]
        if not self.has_windows:
            cut = [len(row) >= most and bool(one.overflowing) for row, one in zip(ids, found, strict=True)]
        tokens, constant = {"input_ids": ids}, {}
        if "token_type_ids" in self.taken:
            # A single text has one type, and the special tokens around it have theirs, whatever the text is.
            if pairs is None and not any(max(found, key=len).type_ids):
                constant["token_type_ids"] = 0
            else:
                tokens["token_type_ids"] = [one.type_ids for one in found]
        if "attention_mask" in self.taken:
            # Nothing is padded.
            constant["attention_mask"] = 1
        return _Features(tokens, place, cut, constant)


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


def with_column(dataset: Dataset, name: str, values: np.ndarray | list[Any] | pa.Array | pa.ChunkedArray) -> Dataset:
    """Return the dataset with one more column, in memory order of its rows; an array of two axes is a list a row."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        values = lists_of(values.ravel(), np.full(len(values), values.shape[1]))
    array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return as_dataset(dataset.data.table.append_column(name, array))


def column(dataset: Dataset, name: str) -> np.ndarray:
    """Return a column of numbers as an array of shape (features,)."""
    return np.asarray(dataset.data.column(name).to_numpy())


def lengths_of(dataset: Dataset) -> np.ndarray:
    """Return the tokens of each feature, of shape (features,)."""
    return column(dataset, "length")
