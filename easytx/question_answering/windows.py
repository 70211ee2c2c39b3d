"""Pairs of question and context as windows of tokens that together cover the whole context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from easytx.data.tables import joined, lists_of
from easytx.errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from datasets import Dataset

# Rows that are tokenised together: bounds the memory that Python's lists of offsets take.
_CHUNK = 1024


def check_window(max_length: int, stride: int, max_query_length: int, n_special: int) -> None:
    """Raise if a window has no room for the context, or neighbours overlap so far that they do not move on.

    Args:
        max_length: Tokens per window.
        stride: Tokens that neighbouring windows share.
        max_query_length: Tokens of the longest question.
        n_special: Special tokens per window.

    Raises:
        ArgumentError: Naming the numbers and what to change.
    """
    room = max_length - max_query_length - n_special
    if room < 1:
        raise ArgumentError(
            f"max_seq_length={max_length} leaves no room for the context: a question takes up to "
            f"{max_query_length} tokens and there are {n_special} special tokens. "
            "Raise max_seq_length or lower max_query_length."
        )
    if not 0 <= stride < room:
        raise ArgumentError(
            f"Windows of max_seq_length={max_length} have room for {room} tokens of context, so neighbours "
            f"can share 0 to {room - 1} tokens, but not {stride}. Change the stride, raise max_seq_length or "
            "lower max_query_length."
        )


def window_overlap(max_length: int, doc_stride: int, question_length: int, n_special: int) -> int:
    """Return how many tokens neighbouring windows share if each starts `doc_stride` after the one before.

    Where they would leave gaps or only touch, they share a quarter of their room, lest answers be cut in two.

    Args:
        max_length: Tokens per window.
        doc_stride: How many tokens of context a window moves on.
        question_length: Tokens of the question.
        n_special: Special tokens per window.

    Raises:
        ArgumentError: If a window has no room for the context, or does not move on.
    """
    if doc_stride < 1:
        raise ArgumentError(f"doc_stride must be at least 1, but is {doc_stride}.")
    check_window(max_length, 0, question_length, n_special)
    room = max_length - question_length - n_special
    return room - doc_stride if doc_stride < room else room // 4


def encode_windows(
    tokenizer: Any,
    frame: pd.DataFrame,
    *,
    max_length: int,
    max_query_length: int,
    stride: int | None = None,
    doc_stride: int | None = None,
    with_answers: bool,
) -> Dataset:
    """Return the windows of all rows, in the order of the rows and of their contexts.

    The question stands first and the context second; the other way round if the tokenizer pads on the left.
    Columns: the model inputs, unpadded; `row` (position in the frame); `length` (tokens); `context_start` and
    `context_end` (which tokens are context, end exclusive); `offset_starts` and `offset_ends` (the characters
    of the context that each token stands for; 0 for all other tokens); `cls_index` (the token that stands for
    "no answer": CLS, or where there is none the first that is not context); with answers `start_positions`
    and `end_positions` (the tokens of the first answer, end inclusive; `cls_index` where the window does not
    hold it whole).

    Args:
        tokenizer: A tokenizer of transformers.
        frame: What `easytx.question_answering.reading.as_questions` gave.
        max_length: Tokens per window.
        max_query_length: Longer questions are cut to so many tokens.
        stride: Tokens that neighbouring windows share.
        doc_stride: Instead of `stride`: how many tokens of context a window moves on (see `window_overlap`).
        with_answers: Whether to add the answers' positions.

    Raises:
        ArgumentError: If the lengths do not fit together.
        CheckpointError: If the tokenizer cannot say which characters a token stands for.
    """
    if (stride is None) == (doc_stride is None):
        raise ArgumentError("Give either stride or doc_stride.")
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            "Question answering needs a tokenizer that knows each token's characters; "
            f"{type(tokenizer).__name__} does not. Use a checkpoint with a tokenizer.json."
        )
    questions, question_lengths = _cut_questions(tokenizer, frame["question"].tolist(), max_query_length)
    n_special = tokenizer.num_special_tokens_to_add(pair=True)
    overlaps: dict[int, int] = {}
    for length in sorted(set(question_lengths.tolist()), reverse=True):
        if doc_stride is not None:
            overlaps[length] = window_overlap(max_length, doc_stride, length, n_special)
        elif stride is not None:
            check_window(max_length, stride, length, n_special)
            overlaps[length] = stride
    overlap_of_row = np.array([overlaps[length] for length in question_lengths.tolist()], dtype=np.int64)
    contexts = frame["context"].tolist()
    answers = _answer_places(frame) if with_answers else None

    def tables() -> Iterator[pa.Table]:
        for first in range(0, len(frame), _CHUNK):
            chunk = np.arange(first, min(first + _CHUNK, len(frame)))
            windows = _Windows([], [], [], [], [], [])
            # A tokenizer call knows one overlap; rows with equal overlaps go together.
            for overlap in np.unique(overlap_of_row[chunk]).tolist():
                same = chunk[overlap_of_row[chunk] == overlap]
                _tokenise(tokenizer, questions, contexts, same, max_length, overlap, windows)
            yield _table(windows.in_order(), tokenizer.cls_token_id, answers)

    return joined(tables())


class _Windows(NamedTuple):
    # One list entry a window; `types` stays empty if the tokenizer gives no token types.
    row: list[int]
    ids: list[list[int]]
    types: list[list[int]]
    offsets: list[list[tuple[int, int]]]
    context_start: list[int]
    context_end: list[int]

    def in_order(self) -> _Windows:
        # Where the tokenizer cuts from the left, a context's last window comes first.
        first = [offsets[start][0] for offsets, start in zip(self.offsets, self.context_start, strict=True)]
        last = [offsets[end - 1][1] for offsets, end in zip(self.offsets, self.context_end, strict=True)]
        order = np.lexsort((last, first, self.row)).tolist()
        return _Windows(*([column[i] for i in order] if column else column for column in self))  # type: ignore[arg-type]


def _cut_questions(tokenizer: Any, questions: list[str], limit: int) -> tuple[list[str], np.ndarray]:
    """Return the questions cut to `limit` tokens, and how many tokens each has."""

    def tokens_of(texts: list[str]) -> Any:
        return tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )

    questions = [question.strip() for question in questions]
    encoded = tokens_of(questions)
    lengths = np.fromiter(map(len, encoded["input_ids"]), dtype=np.int64, count=len(questions))
    long = np.flatnonzero(lengths > limit).tolist()
    for i in long:
        questions[i] = questions[i][: encoded["offset_mapping"][i][limit - 1][1]]
    if long:
        # A cut word may fall into other tokens than before.
        lengths[long] = list(map(len, tokens_of([questions[i] for i in long])["input_ids"]))
    return questions, lengths


def _tokenise(
    tokenizer: Any,
    questions: list[str],
    contexts: list[str],
    rows: np.ndarray,
    max_length: int,
    overlap: int,
    windows: _Windows,
) -> None:
    """Add the windows of the given rows."""
    left = tokenizer.padding_side == "left"
    parts = [[texts[row] for row in rows.tolist()] for texts in (questions, contexts)]
    encoded = tokenizer(
        *(reversed(parts) if left else parts),
        truncation="only_first" if left else "only_second",
        max_length=max_length,
        stride=overlap,
        padding=False,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    windows.row.extend(rows[encoded["overflow_to_sample_mapping"]].tolist())
    windows.ids.extend(encoded["input_ids"])
    windows.types.extend(encoded.get("token_type_ids", []))
    windows.offsets.extend(encoded["offset_mapping"])
    context = 0 if left else 1
    for window in range(len(encoded["input_ids"])):
        sequences = encoded.sequence_ids(window)
        # A context of nothing but characters that the tokenizer drops has no tokens.
        start = sequences.index(context) if context in sequences else 0
        windows.context_start.append(start)
        windows.context_end.append(start + sequences.count(context))


def _table(windows: _Windows, cls_token: int | None, answers: np.ndarray | None) -> pa.Table:
    sizes = np.fromiter(map(len, windows.ids), dtype=np.int64, count=len(windows.ids))
    numbers = (windows.row, windows.context_start, windows.context_end)
    row, context_start, context_end = (np.array(column, dtype=np.int64) for column in numbers)
    window = np.repeat(np.arange(len(sizes)), sizes)
    firsts = np.cumsum(sizes) - sizes
    place = np.arange(len(window)) - firsts[window]
    in_context = (place >= context_start[window]) & (place < context_end[window])
    ids = _flat(windows.ids, np.int32)
    offsets = _flat(chain.from_iterable(windows.offsets), np.int32).reshape(-1, 2) * in_context[:, None]

    cls_index = np.where(context_start > 0, 0, np.minimum(context_end, sizes - 1))
    if cls_token is not None:
        # The text itself may spell the token; the first one of its window outside the context is meant.
        tokens = np.flatnonzero((ids == cls_token) & ~in_context)
        found, at = np.unique(window[tokens], return_index=True)
        cls_index[found] = place[tokens[at]]

    columns = {
        "input_ids": lists_of(ids, sizes),
        "attention_mask": lists_of(np.ones(len(ids), dtype=np.int8), sizes),
        "row": row,
        "length": sizes,
        "context_start": context_start,
        "context_end": context_end,
        "offset_starts": lists_of(offsets[:, 0], sizes),
        "offset_ends": lists_of(offsets[:, 1], sizes),
        "cls_index": cls_index,
    }
    if windows.types:
        columns["token_type_ids"] = lists_of(_flat(windows.types, np.int8), sizes)
    if answers is not None:
        tokens = np.flatnonzero(in_context)
        start, end = _answer_tokens(window[tokens], offsets[tokens], answers[row], row)
        # Positions among all context tokens become positions in their window.
        inside = end >= 0
        columns["start_positions"] = np.where(inside, place[tokens[start]] if len(tokens) else 0, cls_index)
        columns["end_positions"] = np.where(inside, place[tokens[end]] if len(tokens) else 0, cls_index)
    return pa.table(columns)


def _answer_tokens(
    window: np.ndarray, offsets: np.ndarray, answer: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last token of each window's answer; 0 and -1 if it is not wholly there.

    Args:
        window: The window of each context token, ascending, of shape (tokens,).
        offsets: The characters of each context token, of shape (tokens, 2).
        answer: The characters of each window's answer, -1 if there is none, of shape (windows, 2).
        row: The row of each window, of shape (windows,).
    """
    number = len(answer)
    if not len(window):
        return np.zeros(number, dtype=np.int64), np.full(number, -1, dtype=np.int64)
    # One search over all windows: each window's characters get a range of numbers of their own.
    span = max(int(offsets.max()), int(answer.max())) + 2
    base = np.arange(number) * span
    # Some tokenizers give the odd token (0, 0); the search needs ascending numbers.
    starts, ends = (np.maximum.accumulate(window * span + offsets[:, side]) for side in (0, 1))
    start = np.searchsorted(ends, base + answer[:, 0], side="right")
    end = np.searchsorted(starts, base + answer[:, 1], side="left") - 1
    low = np.searchsorted(window, np.arange(number))
    high = np.searchsorted(window, np.arange(number), side="right") - 1
    inside = (answer[:, 0] >= 0) & (low <= start) & (start <= end) & (end <= high)
    start, end = np.where(inside, start, 0), np.where(inside, end, -1)
    # Characters at the rim of a context may have no token; at a cut they are in another window.
    first_of_row = np.r_[True, row[1:] != row[:-1]]
    last_of_row = np.r_[row[1:] != row[:-1], True]
    inside &= (offsets[start, 0] <= answer[:, 0]) | (first_of_row & (start == low))
    inside &= (offsets[end, 1] >= answer[:, 1]) | (last_of_row & (end == high))
    return np.where(inside, start, 0), np.where(inside, end, -1)


def _answer_places(frame: pd.DataFrame) -> np.ndarray:
    """Return the first and one-past-last character of the first answers, or -1, of shape (rows, 2)."""
    places = [
        (starts[0], starts[0] + len(texts[0])) if texts and starts[0] >= 0 else (-1, -1)
        for texts, starts in zip(frame["answers"], frame["answer_starts"], strict=True)
    ]
    return np.array(places, dtype=np.int64).reshape(-1, 2)


def _flat(lists: Iterable[Iterable[int]], kind: type[np.generic]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), dtype=kind)
