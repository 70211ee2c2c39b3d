"""Labels of rows as numbers, and outputs of windows as answers for rows."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.core.results import InputExample
from easytx.data.checks import counted, rows, with_article
from easytx.data.labels import LabelMap, plain
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError, LabelError


@dataclass(frozen=True)
class Answers:
    """What a classifier says about each row.

    Attributes:
        logits: Mean over the windows of a row, of shape (rows, labels).
        windows: The logits of each window, one array of shape (windows, labels) per row.
        probabilities: Of shape (rows, labels); empty for regression.
        predicted: The label id of each row, or 0 and 1 per label, or the number.
    """

    logits: np.ndarray
    windows: list[np.ndarray]
    probabilities: np.ndarray
    predicted: np.ndarray


def by_row(values: Sequence[np.ndarray], features: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the mean logits of each row, and the logits of its windows."""
    stacked = np.stack(values)
    windows = [stacked[positions] for positions in features]
    if len(stacked) == len(windows):
        return np.concatenate(windows), windows
    return np.stack([window.mean(axis=0) for window in windows]), windows


def vote(windows: Sequence[np.ndarray], tie_value: int) -> np.ndarray:
    """Return the class that most windows of each row favour, of shape (rows,).

    Of tied classes `tie_value` wins where it is one of them, else the one with the highest mean probability.
    """
    from scipy.special import softmax

    winners = np.empty(len(windows), dtype=np.int64)
    for i, window in enumerate(windows):
        votes = np.bincount(window.argmax(axis=1), minlength=window.shape[1])
        tied = np.flatnonzero(votes == votes.max())
        mean = softmax(window, axis=1).mean(axis=0)
        winners[i] = tie_value if tie_value in tied else tied[mean[tied].argmax()]
    return winners


def targets_of(data: TaskData) -> np.ndarray:
    """Return the target of each row, as the model was given it."""
    first = [features[0] for features in data.features_of_rows()]
    return np.asarray(data.dataset.with_format("numpy")["labels"][first])


def single_answers(logits: np.ndarray, windows: list[np.ndarray], args: ModelArgs) -> Answers:
    """Return one class per row; windows vote for it, and `args.tie_value` breaks ties."""
    from scipy.special import softmax

    one_each = all(len(window) == 1 for window in windows)
    predicted = logits.argmax(axis=1) if one_each else vote(windows, args["tie_value"])
    return Answers(logits, windows, softmax(logits, axis=1), predicted)


def multi_label_answers(logits: np.ndarray, windows: list[np.ndarray], threshold: float | Sequence[float]) -> Answers:
    """Return 0 or 1 per row and label: a label counts where its probability reaches its threshold.

    Over the windows of a row the highest probability of a label counts: one part of a text can earn it.

    Raises:
        ArgumentError: If there is neither one threshold nor one per label.
    """
    from scipy.special import expit

    limits = checked_threshold(threshold, logits.shape[1])
    best = logits if len(windows) == len(np.concatenate(windows)) else np.stack([w.max(axis=0) for w in windows])
    probabilities = expit(best.astype(np.float64)).astype(np.float32)
    return Answers(best, windows, probabilities, (probabilities >= limits).astype(np.int64))


def checked_threshold(threshold: float | Sequence[float], labels: int) -> np.ndarray:
    """Return one probability, or one per label.

    Raises:
        ArgumentError: If it is neither.
    """
    limits = np.asarray(threshold)
    if limits.ndim > 1 or limits.size not in (1, labels):
        raise ArgumentError(
            f"threshold must be one number or one per label ({labels}), but has the shape {limits.shape}."
        )
    if limits.dtype.kind not in "fiu" or not ((limits >= 0) & (limits <= 1)).all():
        raise ArgumentError(f"threshold must be a probability, from 0 to 1, but is {threshold!r}.")
    return limits


def regression_answers(logits: np.ndarray, windows: list[np.ndarray]) -> Answers:
    """Return one number per row, the mean of its windows."""
    return Answers(logits, windows, np.empty((len(logits), 0), dtype=np.float32), logits[:, 0])


def classes(column: pd.Series, *, name: str) -> list[Any]:
    """Return a column of classes as plain Python values.

    Raises:
        LabelError: If a label is missing, or the column holds fractions.
    """
    values = _present(column, name)
    fractions = [i for i, value in enumerate(values) if isinstance(value, float) and not value.is_integer()]
    if fractions:
        raise LabelError(
            f"{name} has numbers such as {values[fractions[0]]!r} where classes are expected ({rows(fractions)}). "
            "To predict numbers, set regression=True in args and num_labels=1."
        )
    several = [i for i, value in enumerate(column) if _is_several(value)]
    if several:
        raise LabelError(
            f"{name} has {with_article(type(column.iloc[several[0]]).__name__)} where one class a row is expected "
            f"({rows(several)}). For several labels a row use MultiLabelClassificationModel."
        )
    return [int(value) if isinstance(value, float) else value for value in values]


def numbers(column: pd.Series, *, name: str) -> np.ndarray:
    """Return a column of regression targets, float32 of shape (rows,).

    Raises:
        LabelError: If a value is missing, infinite or not a number.
    """
    values = _present(column, name)
    wrong = [
        i for i, v in enumerate(values) if isinstance(v, bool) or not isinstance(v, (int, float)) or abs(v) == np.inf
    ]
    if wrong:
        first = values[wrong[0]]
        remedy = "To predict classes, leave regression=False."
        if isinstance(first, float):
            remedy = "Replace or drop it."
        elif isinstance(first, str) and _reads_as_number(first):
            remedy = f"Make numbers of texts, for example {name}['{column.name}'].astype(float)."
        raise LabelError(f"{name} has {first!r} where a number is expected ({rows(wrong)}). {remedy}")
    return np.asarray(values, dtype=np.float32)


def label_lists(column: pd.Series, *, name: str) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the labels of each row, and whether they are vectors of 0 and 1 rather than names.

    A text such as "[1, 0, 1]", as a csv file holds it, is read as the list it shows.

    Raises:
        LabelError: If a row has no list, or a list with fractions, or vectors differ in length.
    """
    lists = [_as_list(value) for value in column]
    wrong = [i for i, value in enumerate(lists) if value is None]
    if wrong:
        raise LabelError(
            f"{name} has no list of labels in {counted(len(wrong), 'row')} of the column 'labels': {rows(wrong)}. "
            "Give a list of 0 and 1, one per label, or a list of label names."
        )
    found = [value for value in lists if value is not None]
    missing = [i for i, row in enumerate(found) if any(pd.api.types.is_scalar(v) and pd.isna(v) for v in row)]
    if missing:
        raise LabelError(
            f"{name} has lists with a missing label, such as {list(found[missing[0]])} ({rows(missing)}). "
            "Fill them with 1 or 0, or leave the name out."
        )
    shares = [i for i, row in enumerate(found) if any(isinstance(v, float) and not v.is_integer() for v in row)]
    if shares:
        raise LabelError(
            f"{name} has lists of labels with fractions, such as {list(found[shares[0]])} ({rows(shares)}). "
            "A label is there or not: give 1 or 0."
        )
    vectors = any(found) and all(item in (0, 1) and not isinstance(item, str) for row in found for item in row)
    if vectors:
        length = len(found[0])
        other = [i for i, row in enumerate(found) if len(row) != length]
        if other:
            raise LabelError(
                f"{name} has label lists of different lengths: {length} in row 0, but {len(found[other[0]])} in "
                f"{rows(other)}. Each row needs one 0 or 1 per label."
            )
    elif _are_meant_as_vectors(found):
        strange = [i for i, row in enumerate(found) if any(item not in (0, 1) for item in row)]
        raise LabelError(
            f"{name} has lists with other numbers than 0 and 1, such as {list(found[strange[0]])} ({rows(strange)}). "
            "A label is there or not: give 1 or 0. A list of label names holds no name twice."
        )
    return found, vectors


def refuse_one_answer(matrix: np.ndarray, labels: LabelMap, *, name: str) -> None:
    """Raise if there is nothing to tell apart.

    Args:
        matrix: 0 and 1, of shape (rows, labels).
        labels: The labels.
        name: What to call the rows in messages.

    Raises:
        LabelError: If all rows have the same labels.
    """
    if len(matrix) > 1 and (matrix == matrix[0]).all():
        raise LabelError(
            f"{name} has the same labels in all {counted(len(matrix), 'row')}: "
            f"{labels.decode(np.flatnonzero(matrix[0]))}. A classifier needs rows that differ."
        )


def label_matrix(lists: Sequence[tuple[Any, ...]], vectors: bool, labels: LabelMap, *, name: str) -> np.ndarray:
    """Return 0 and 1 per row and label, float32 of shape (rows, labels).

    Raises:
        LabelError: If vectors have another length, or names are unknown.
    """
    if vectors:
        if len(lists[0]) != len(labels):
            raise LabelError(
                f"{name} has {len(lists[0])} labels a row, but the model has {len(labels)}: {labels.labels[:20]}."
            )
        return np.asarray(lists, dtype=np.float32)
    matrix = np.zeros((len(lists), len(labels)), dtype=np.float32)
    row_of = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    flat = [label for row in lists for label in row]
    unknown = sorted({int(row_of[i]) for i, label in enumerate(flat) if label not in labels})
    if unknown:
        strange = next(label for label in flat if label not in labels)
        raise LabelError(
            f"{name} has {counted(len(unknown), 'row')} with labels that training did not have, such as {strange!r} "
            f"({rows(unknown)}). Known labels are {labels.labels[:20]}."
        )
    matrix[row_of, labels.encode(flat, name=name)] = 1.0
    return matrix


def probability_frame(answers: Answers, labels: LabelMap | None, index: pd.Index) -> pd.DataFrame:
    """Return the probabilities of answers, one column per label.

    Raises:
        ArgumentError: If there are no labels, which is regression.
    """
    if labels is None:
        raise ArgumentError("predict_proba needs classes, but regression is set: use predict.")
    return pd.DataFrame(answers.probabilities, index=index, columns=labels.labels)


def wrong_examples(frame: pd.DataFrame, columns: Sequence[str], positions: np.ndarray) -> list[InputExample]:
    """Return the rows at these positions as examples of wrong predictions.

    Args:
        frame: Rows with their text columns, `labels` and `prediction`.
        columns: The text columns.
        positions: Which rows, counted from 0.
    """
    picked = frame.iloc[positions]
    seconds = picked[columns[1]] if len(columns) == 2 else [None] * len(picked)
    parts = zip(positions, picked[columns[0]], seconds, picked["labels"], picked["prediction"], strict=True)
    return [InputExample(int(guid), *rest) for guid, *rest in parts]


def _present(column: pd.Series, name: str) -> list[Any]:
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        raise LabelError(
            f"{name} has no label in {counted(len(missing), 'row')} of the column '{column.name}': {rows(missing)}. "
            f"Fill or drop them, for example {name}.dropna(subset=['{column.name}'])."
        )
    return [plain(value) for value in column]


def _are_meant_as_vectors(lists: Sequence[tuple[Any, ...]]) -> bool:
    """Tell whether lists are of whole numbers, of one length, and with a number twice, as no list of names is."""
    numbers = all(isinstance(item, (int, float)) for row in lists for item in row)
    return numbers and len({len(row) for row in lists}) == 1 and any(len(set(row)) < len(row) for row in lists)


def _reads_as_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _is_several(value: Any) -> bool:
    """Tell whether a label is no single one: a list, or the tuple of 0 and 1 that says which labels there are."""
    if isinstance(value, tuple):
        return all(item in (0, 1) for item in value)
    return not isinstance(plain(value), Hashable) or isinstance(value, list) or getattr(value, "ndim", 0) > 0


def _as_list(value: Any) -> tuple[Any, ...] | None:
    if isinstance(value, str) and value.strip().startswith("["):
        value = _read_list(value.strip())
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return None
    return tuple(plain(item) for item in value)


def _read_list(text: str) -> Any:
    """Return the list that a text shows, as JSON or as Python writes it, or None."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError):
            return read(text)
    return None
