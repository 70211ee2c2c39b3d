"""Start and end logits of windows as answers, one for each question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from datasets import Dataset

# Windows that are decoded together: few enough for the processor's caches.
_CHUNK = 512

# Starts and ends that are combined, at least: with fewer, all pairs may turn out to be impossible.
_BEAM = 20

# Spans kept of each window, per answer asked for: several spans may read the same.
_SPARE = 4

# Where the neighbours of a window without neighbours would end and start.
_NOWHERE, _EVERYWHERE = -1, np.iinfo(np.int64).max


@dataclass(frozen=True)
class SpanPrediction:
    """The answers to one question, best first.

    Attributes:
        answers: Different texts; "" stands for "the context does not say".
        probabilities: The softmax of the answers' scores among each other.
        start_chars: Where each answer stands in the context; -1 for "".
        null_odds: Score of "" minus that of the best other answer, which counts as 0 if there is none.
        best_non_null: The best answer that is not ""; "" if there is none.
    """

    answers: list[str]
    probabilities: list[float]
    start_chars: list[int]
    null_odds: float
    best_non_null: str


def best_spans(
    logits: Sequence[np.ndarray],
    dataset: Dataset,
    frame: pd.DataFrame,
    *,
    n_best: int,
    max_answer_length: int,
    null_score_diff_threshold: float,
    allow_no_answer: bool,
) -> list[SpanPrediction]:
    """Return the answers to each row of the frame.

    As in the SQuAD script of BERT (Devlin et al., 2019), a span scores the sum of its start and its end
    logit, the best starts and ends of each window are combined, and "no answer" scores what CLS does in the
    window where that is least. A span that several windows hold counts only where it has the most context:
    the border between two windows is the middle of their overlap, in characters. Unlike there, a question
    whose best starts and ends do not fit together still gets its best span, found among all of them.

    Args:
        logits: For each window, start and end logits of shape (tokens, 2).
        dataset: What `easytx.question_answering.windows.encode_windows` gave for the frame, in its order.
        frame: What `easytx.question_answering.reading.as_questions` gave.
        n_best: Answers per question, at most.
        max_answer_length: Tokens per answer, at most.
        null_score_diff_threshold: "" comes first if it scores by more than this above the best other answer.
        allow_no_answer: Whether "" is among the answers. It is in any case if nothing else is possible.
    """
    predictions = [SpanPrediction([""], [1.0], [-1], 0.0, "") for _ in range(len(frame))]
    contexts = frame["context"].tolist()
    for block in _blocks(logits, dataset):
        spans = _spans(block, max(n_best, _BEAM), max_answer_length)
        spans = spans.merged(
            [
                _spans(block.window(i), block.start.shape[1], max_answer_length)
                for i in np.flatnonzero(~np.isin(block.row, spans.row)).tolist()
            ]
        )
        rows, firsts = np.unique(block.row, return_index=True)
        nulls = np.minimum.reduceat(block.null, firsts).tolist()
        bounds = np.r_[np.searchsorted(spans.row, rows), len(spans.row)].tolist()
        for i, row in enumerate(rows.tolist()):
            found = spans.texts(bounds[i], bounds[i + 1], contexts[row], n_best)
            predictions[row] = _prediction(
                found, nulls[i], n_best, threshold=null_score_diff_threshold, allow_no_answer=allow_no_answer
            )
    return predictions


@dataclass
class _Block:
    """All windows of some rows, padded to the longest.

    Attributes:
        row: Of shape (windows,), ascending.
        start: Start logits, -inf outside the context, of shape (windows, tokens); likewise `end`.
        char_start: First character of each token, of shape (windows, tokens); `char_end`: one past its last.
        null: Score of "no answer", of shape (windows,).
        before: Where the window before ends, and twice the border with it (characters); shape (windows, 2).
        after: Where the window after starts, and twice the border with it (characters); shape (windows, 2).
    """

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    char_start: np.ndarray
    char_end: np.ndarray
    null: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def window(self, i: int) -> _Block:
        return _Block(*(getattr(self, name)[i : i + 1] for name in self.__dataclass_fields__))


@dataclass
class _Spans:
    """Possible answers, by row and falling score; each array of shape (spans,)."""

    row: np.ndarray
    score: np.ndarray
    char_start: np.ndarray
    char_end: np.ndarray

    def merged(self, others: list[_Spans]) -> _Spans:
        if not others:
            return self
        everything = (self, *others)
        columns = (np.concatenate([getattr(spans, name) for spans in everything]) for name in self.__dict__)
        return _Spans(*columns).in_order()

    def in_order(self) -> _Spans:
        order = np.lexsort((-self.score, self.row))
        return _Spans(*(getattr(self, name)[order] for name in self.__dict__))

    def texts(self, low: int, high: int, context: str, n_best: int) -> dict[str, tuple[float, int]]:
        """Return the best different texts of one row's spans, each with its score and place."""
        found: dict[str, tuple[float, int]] = {}
        columns = (self.score[low:high], self.char_start[low:high], self.char_end[low:high])
        for score, start, end in zip(*(column.tolist() for column in columns), strict=True):
            text = context[start:end]
            # Some tokenizers count the space before a word to it.
            stripped = text.strip()
            if stripped and stripped not in found:
                found[stripped] = (score, start + len(text) - len(text.lstrip()))
                if len(found) == n_best:
                    break
        return found


def _blocks(logits: Sequence[np.ndarray], dataset: Dataset) -> Iterator[_Block]:
    arrow = dataset.with_format("arrow")
    row = arrow[:]["row"].to_numpy()
    firsts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    # A chunk ends between two rows.
    cuts = np.unique(firsts[np.searchsorted(firsts, np.arange(0, len(row), _CHUNK), side="right") - 1])
    for low, high in zip(cuts, [*cuts[1:], len(row)], strict=True):
        yield _block(logits[low:high], arrow[int(low) : int(high)])


def _block(logits: Sequence[np.ndarray], table: Any) -> _Block:
    row, length, first, past, cls_index = (
        table[name].to_numpy() for name in ("row", "length", "context_start", "context_end", "cls_index")
    )
    place = np.arange(length.max())
    filled = place < length[:, None]
    in_context = (place >= first[:, None]) & (place < past[:, None])
    flat = np.concatenate(logits).astype(np.float32, copy=False)

    def padded(values: np.ndarray) -> np.ndarray:
        matrix = np.zeros(filled.shape, dtype=values.dtype)
        matrix[filled] = values
        return matrix

    start, end = padded(flat[:, 0]), padded(flat[:, 1])
    windows = np.arange(len(row))
    null = start[windows, cls_index] + end[windows, cls_index]
    null = np.where(np.isfinite(null), null, np.finfo(np.float32).min)
    char_start, char_end = (
        padded(table[name].combine_chunks().flatten().to_numpy()).astype(np.int64)
        for name in ("offset_starts", "offset_ends")
    )
    opens, closes = char_start[windows, first], char_end[windows, np.maximum(past - 1, 0)]
    same = row[1:] == row[:-1]
    before, after = np.full((len(row), 2), _NOWHERE), np.full((len(row), 2), _EVERYWHERE)
    border = opens[1:] + closes[:-1]
    before[1:][same] = np.stack([closes[:-1], border], axis=1)[same]
    after[:-1][same] = np.stack([opens[1:], border], axis=1)[same]
    start, end = (np.where(in_context & np.isfinite(scores), scores, -np.inf) for scores in (start, end))
    return _Block(row, start, end, char_start, char_end, null, before, after)


def _spans(block: _Block, beam: int, max_answer_length: int) -> _Spans:
    """Return the best spans that the `beam` best starts and ends of each window make."""
    starts, ends = _top(block.start, beam), _top(block.end, beam)
    scores = (
        np.take_along_axis(block.start, starts, axis=1)[:, :, None]
        + np.take_along_axis(block.end, ends, axis=1)[:, None, :]
    )
    extra = ends[:, None, :] - starts[:, :, None]
    possible = (extra >= 0) & (extra < max_answer_length)
    char_start = np.take_along_axis(block.char_start, starts, axis=1)[:, :, None]
    char_end = np.take_along_axis(block.char_end, ends, axis=1)[:, None, :]
    if block.before.max() > _NOWHERE or block.after.min() < _EVERYWHERE:
        middle = char_start + char_end
        before, after = block.before[:, :, None, None], block.after[:, :, None, None]
        possible &= (char_end > before[:, 0]) | (middle >= before[:, 1])
        possible &= (char_start < after[:, 0]) | (middle < after[:, 1])
    scores[~possible] = -np.inf

    flat = scores.reshape(len(scores), -1)
    keep = min(_SPARE * beam, flat.shape[1])
    worst = np.partition(flat, flat.shape[1] - keep, axis=1)[:, flat.shape[1] - keep]
    window, i, j = np.nonzero((scores >= worst[:, None, None]) & np.isfinite(scores))
    return _Spans(block.row[window], scores[window, i, j], char_start[window, i, 0], char_end[window, 0, j]).in_order()


def _top(scores: np.ndarray, number: int) -> np.ndarray:
    """Return the places of the highest scores of each window, of shape (windows, number)."""
    others = max(scores.shape[1] - number, 0)
    places: np.ndarray = np.argpartition(scores, others, axis=1)[:, others:]
    return places


def _prediction(
    found: dict[str, tuple[float, int]], null: float, n_best: int, *, threshold: float, allow_no_answer: bool
) -> SpanPrediction:
    """Return the answers in order; `found` falls in score."""
    answers = [(text, score, start) for text, (score, start) in found.items()]
    null_odds = null - (answers[0][1] if answers else 0.0)
    best = answers[0][0] if answers else ""
    nothing = ("", null, -1)
    if not answers:
        answers = [nothing]
    elif allow_no_answer and null_odds > threshold:
        answers = [nothing, *answers][:n_best]
    elif allow_no_answer and n_best > 1:
        first, *others = answers[: n_best - 1]
        answers = [first, *sorted([*others, nothing], key=lambda answer: -answer[1])]
    highest = max(score for _, score, _ in answers)
    weights = [math.exp(score - highest) for _, score, _ in answers]
    total = sum(weights)
    return SpanPrediction(
        answers=[text for text, _, _ in answers],
        probabilities=[weight / total for weight in weights],
        start_chars=[start for _, _, start in answers],
        null_odds=null_odds,
        best_non_null=best,
    )
