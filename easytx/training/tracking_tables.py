"""Tables and curves of a run: what the model answered, and how far that was right."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from easytx.training.judged import Judged
from easytx.training.tracking import Tracker

# Most labels of a confusion matrix: a chart of wandb holds 10,000 rows.
_MATRIX_LABELS = 100

# Most points of one curve, and of all curves of a chart.
_POINTS, _ALL_POINTS = 200, 10_000


def log_table(tracker: Tracker, name: str, frame: pd.DataFrame) -> None:
    """Log a frame as a `wandb.Table`."""
    if tracker.is_on and tracker.reaches_server():
        with tracker.guard(f"the table {name}"):
            tracker.log({name: as_table(frame)}, what=f"the table {name}")


def as_table(frame: pd.DataFrame) -> Any:
    """Return a frame as a `wandb.Table`: each column numbers or texts, and None for what is missing."""
    columns = [_column(frame[name]) for name in frame.columns]
    return _table([str(name) for name in frame.columns], [list(row) for row in zip(*columns, strict=True)])


def log_judgement(tracker: Tracker, judged: Judged) -> None:
    """Log what one evaluation says of each label: the confusion matrix, and ROC and precision-recall curves."""
    if not tracker.is_on or not tracker.reaches_server():
        return
    for name, chart in (("confusion_matrix", _matrix), ("roc", _roc), ("pr", _precision_recall)):
        with tracker.guard(f"the chart {name}"):
            made = chart(judged)
            if made is not None:
                tracker.log({name: made}, what=f"the chart {name}")


def _matrix(judged: Judged) -> Any:
    import wandb

    labels = judged.labels
    if judged.predicted is None or judged.truth is None or not 1 < len(labels) <= _MATRIX_LABELS:
        return None
    counts = confusion_matrix(judged.truth, judged.predicted, labels=range(len(labels)))
    rows = [[labels[i], labels[j], int(counts[i, j])] for i in range(len(labels)) for j in range(len(labels))]
    names = ["Actual", "Predicted", "nPredictions"]
    return wandb.plot_table(
        "wandb/confusion_matrix/v1", _table(names, rows), {name: name for name in names}, {"title": "Confusion"}
    )


def _roc(judged: Judged) -> Any:
    rows: list[list[Any]] = []
    for name, truth, scores in _by_label(judged):
        if 0 < truth.sum() < len(truth):
            x, y, _ = roc_curve(truth, scores)
            rows += _thinned(name, x, y, judged)
    return _curves(rows, ("fpr", "tpr"), "ROC", ("False positive rate", "True positive rate"))


def _precision_recall(judged: Judged) -> Any:
    rows: list[list[Any]] = []
    for name, truth, scores in _by_label(judged):
        if truth.sum() > 0:
            precision, recall, _ = precision_recall_curve(truth, scores)
            rows += _thinned(name, recall[::-1], precision[::-1], judged)
    return _curves(rows, ("recall", "precision"), "Precision and recall", ("Recall", "Precision"))


def _by_label(judged: Judged) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Give the name, the truth as 0 and 1, and the probabilities of each label."""
    if judged.truth is None or judged.probabilities is None or len(judged.labels) > _ALL_POINTS // 10:
        return
    known = np.isfinite(judged.probabilities).all(axis=1)
    truth, probabilities = judged.truth[known], judged.probabilities[known]
    for i, name in enumerate(judged.labels):
        yield name, (truth == i if truth.ndim == 1 else truth[:, i] > 0), probabilities[:, i]


def _thinned(name: str, x: np.ndarray, y: np.ndarray, judged: Judged) -> list[list[Any]]:
    most = max(2, min(_POINTS, _ALL_POINTS // len(judged.labels)))
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).round().astype(int))
    return [[name, float(x[i]), float(y[i])] for i in kept]


def _curves(rows: list[list[Any]], names: tuple[str, str], title: str, axes: tuple[str, str]) -> Any:
    import wandb

    if not rows:
        return None
    return wandb.plot_table(
        "wandb/area-under-curve/v0",
        _table(["class", *names], rows),
        {"x": names[0], "y": names[1], "class": "class"},
        {"title": title, "x-axis-title": axes[0], "y-axis-title": axes[1]},
    )


def _table(columns: Any, rows: Any) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=rows)


def _column(values: pd.Series) -> Sequence[Any]:
    cells = [None if _is_missing(value) else value for value in values.tolist()]
    if all(value is None or isinstance(value, numbers.Real) for value in cells):
        return [None if value is None else float(value) for value in cells]
    return [value if value is None else _text(value) for value in cells]


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, numbers.Real) and not math.isfinite(float(value)))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, tuple, dict)) else str(value)
