"""Scores for one label per text, several labels per text, and a number per text.

Every function takes arrays of one row per text and returns plain Python numbers, so that the result can be
logged, printed and written as JSON. What is undefined (a ranking score where only one class occurs, a
correlation of constants) is NaN; a precision, recall or F1 of zero over zero is 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from easytx.errors import ArgumentError, DataError, LabelError

__all__ = [
    "best_thresholds",
    "classification_scores",
    "multi_label_scores",
    "per_class_table",
    "per_label_table",
    "regression_scores",
]

Array: TypeAlias = npt.NDArray[Any]

_ROWS_NAMED = 5
_DEFAULT_THRESHOLD = 0.5


def classification_scores(
    labels: npt.ArrayLike, logits: npt.ArrayLike, *, predictions: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Return the scores of a classifier that gives each row one label.

    The averages "macro" and "weighted" run over the labels that occur in `labels` or among the predictions,
    which is scikit-learn's default. `f1_score` is the macro F1.

    Args:
        labels: The true label ids, of shape (rows,).
        logits: The scores before the softmax, of shape (rows, labels).
        predictions: The predicted label ids, of shape (rows,); the label of the greatest logit if not given.

    Returns:
        `mcc`, `accuracy`, `f1_score`, and precision, recall and F1 as `precision_macro`, `recall_micro`,
        `f1_weighted` and so on. With two labels also `tp`, `tn`, `fp`, `fn` (counts, label 1 being the
        positive one), `auroc` and `auprc` (average precision). The last two rank by the probability of
        label 1 and are NaN where `labels` holds only one class.

    Raises:
        DataError: There are no rows, the shapes do not agree, or logits are not finite.
        LabelError: A label is not a whole number from 0 to the number of labels less one.
    """
    from scipy.special import softmax
    from sklearn.metrics import confusion_matrix, matthews_corrcoef, roc_auc_score

    scores = np.asarray(logits, dtype=np.float64)
    _need_rows(labels=labels, logits=scores)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise DataError(f"logits must have the shape (rows, two labels or more), but have {scores.shape}.")
    _need_finite(scores, "logits")
    n_labels = scores.shape[1]
    truth = _class_ids(labels, n_labels, "labels")
    chosen = scores.argmax(axis=1)
    if predictions is not None:
        _need_rows(labels=labels, predictions=predictions)
        chosen = _class_ids(predictions, n_labels, "predictions")

    averaged = _averages(truth, chosen)
    with _no_user_warnings():
        mcc = float(matthews_corrcoef(truth, chosen))
    result: dict[str, float] = {
        "mcc": mcc,
        "accuracy": float((truth == chosen).mean()),
        "f1_score": averaged["f1_macro"],
    }
    if n_labels == 2:
        positive = softmax(scores, axis=1)[:, 1]
        tn, fp, fn, tp = confusion_matrix(truth, chosen, labels=[0, 1]).ravel().tolist()
        result |= {"tp": tp, "tn": tn, "fp": fp, "fn": fn}
        result["auroc"] = float(roc_auc_score(truth, positive)) if _has_both(truth) else float("nan")
        result["auprc"] = _average_precision(truth, positive)
    return result | averaged


def regression_scores(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> dict[str, float]:
    """Return the scores of a model that gives each row a number.

    Args:
        labels: The true values, of shape (rows,).
        predictions: The predicted values, of shape (rows,) or (rows, 1).

    Returns:
        `mse`, `rmse`, `mae`, `r2`, `pearson`, `spearman`. `r2` is NaN with fewer than two rows or constant
        labels, the correlations also with constant predictions.

    Raises:
        DataError: There are no rows, the shapes do not agree, or values are not finite.
    """
    from scipy.stats import rankdata
    from sklearn.metrics import r2_score

    _need_rows(labels=labels, predictions=predictions)
    truth, guess = _numbers(labels, "labels"), _numbers(predictions, "predictions")
    error = guess - truth
    mse = float(np.square(error).mean())
    return {
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "mae": float(np.abs(error).mean()),
        "r2": float("nan") if _is_constant(truth) else float(r2_score(truth, guess)),
        "pearson": _correlation(truth, guess),
        "spearman": _correlation(rankdata(truth), rankdata(guess)),
    }


def multi_label_scores(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    threshold: float | Sequence[float] = _DEFAULT_THRESHOLD,
) -> dict[str, float]:
    """Return the scores of a classifier that gives each row any number of labels.

    Args:
        labels: 1 where the row has the label, else 0, of shape (rows, labels).
        probabilities: Between 0 and 1, of shape (rows, labels).
        threshold: A label is given from this probability on; one number, or one per label.

    Returns:
        `LRAP` (label ranking average precision, which needs no threshold), `subset_accuracy` (rows with every
        label right), `hamming_loss`, and precision, recall and F1 as `f1_micro`, `f1_macro`, `f1_weighted`,
        `precision_micro`, `recall_micro`, `precision_macro`, `recall_macro`.

    Raises:
        DataError: There are no rows, the shapes do not agree, or probabilities are not between 0 and 1.
        LabelError: `labels` holds something other than 0 and 1.
        ArgumentError: `threshold` has neither one number nor one per label.
    """
    from sklearn.metrics import label_ranking_average_precision_score

    truth, scores = _multi_label(labels, probabilities)
    given = (scores >= _thresholds(threshold, truth.shape[1])).astype(np.int64)
    averaged = _averages(*_one_axis_if_one_label(truth, given), _columns(truth))
    del averaged["precision_weighted"], averaged["recall_weighted"]
    return {
        "LRAP": float(label_ranking_average_precision_score(truth, scores)),
        "subset_accuracy": float((truth == given).all(axis=1).mean()),
        "hamming_loss": float((truth != given).mean()),
    } | averaged


def per_class_table(labels: npt.ArrayLike, predictions: npt.ArrayLike, names: Sequence[str]) -> pd.DataFrame:
    """Return precision, recall, F1 and support (rows with the label) of each label, one table row a label.

    Args:
        labels: The true label ids, of shape (rows,).
        predictions: The predicted label ids, of shape (rows,).
        names: The name of each label id, in order.

    Raises:
        DataError: There are no rows, or the shapes do not agree.
        LabelError: A label has no name.
    """
    _need_rows(labels=labels, predictions=predictions)
    truth = _class_ids(labels, len(names), "labels")
    chosen = _class_ids(predictions, len(names), "predictions")
    return _table(truth, chosen, list(range(len(names))), names)


def per_label_table(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    threshold: float | Sequence[float],
    names: Sequence[str],
) -> pd.DataFrame:
    """Return precision, recall, F1, support, threshold and AUPRC of each label, one table row a label.

    Args:
        labels: 1 where the row has the label, else 0, of shape (rows, labels).
        probabilities: Between 0 and 1, of shape (rows, labels).
        threshold: A label is given from this probability on; one number, or one per label.
        names: The name of each label, in the order of the columns.

    Raises:
        DataError: There are no rows, the shapes do not agree, or probabilities are not between 0 and 1.
        LabelError: `labels` holds something other than 0 and 1, or the names are not one per label.
        ArgumentError: `threshold` has neither one number nor one per label.
    """
    truth, scores = _multi_label(labels, probabilities)
    n_labels = truth.shape[1]
    if len(names) != n_labels:
        raise LabelError(f"names must give one name per label ({n_labels}), but has {len(names)}.")
    limits = _thresholds(threshold, n_labels)
    given = (scores >= limits).astype(np.int64)
    table = _table(*_one_axis_if_one_label(truth, given), _columns(truth), names)
    table["threshold"] = limits
    table["auprc"] = [_average_precision(truth[:, i], scores[:, i]) for i in range(n_labels)]
    return table


def best_thresholds(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> list[float]:
    """Return, for each label, the threshold that gives the greatest F1 on these rows.

    Thresholds tried are the probabilities that occur (the points of the precision-recall curve) and 0.5.
    Of several that are equally good, the one nearest to 0.5 is taken, the lower of two equally near. A label
    that no row has keeps 0.5.

    Args:
        labels: 1 where the row has the label, else 0, of shape (rows, labels).
        probabilities: Between 0 and 1, of shape (rows, labels).

    Raises:
        DataError: There are no rows, the shapes do not agree, or probabilities are not between 0 and 1.
        LabelError: `labels` holds something other than 0 and 1.
    """
    truth, scores = _multi_label(labels, probabilities)
    return [_best_threshold(truth[:, i], scores[:, i]) for i in range(truth.shape[1])]


def _best_threshold(truth: Array, scores: Array) -> float:
    from sklearn.metrics import precision_recall_curve

    positives = int(truth.sum())
    if positives == 0:
        return _DEFAULT_THRESHOLD
    _, recall, thresholds = precision_recall_curve(truth, scores)
    # F1 = 2 tp / (predicted + positives), from whole numbers, so equally good thresholds compare as equal.
    hits = np.rint(recall[:-1] * positives)
    predicted = len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
    f1 = 2 * hits / (predicted + positives)
    # 0.5 gives the same labels as the next greater probability that occurs.
    same_as_default = int(np.searchsorted(thresholds, _DEFAULT_THRESHOLD, side="left"))
    if same_as_default < len(f1) and f1[same_as_default] == f1.max():
        return _DEFAULT_THRESHOLD
    best = thresholds[f1 == f1.max()]
    return float(best[np.abs(best - _DEFAULT_THRESHOLD).argmin()])


def _averages(truth: Array, chosen: Array, columns: list[int] | None = None) -> dict[str, float]:
    from sklearn.metrics import precision_recall_fscore_support

    result: dict[str, float] = {}
    with _no_user_warnings():
        for average in ("macro", "micro", "weighted"):
            precision, recall, f1, _ = precision_recall_fscore_support(
                truth, chosen, labels=columns, average=average, zero_division=0
            )
            result[f"precision_{average}"] = float(precision)
            result[f"recall_{average}"] = float(recall)
            result[f"f1_{average}"] = float(f1)
    return result


def _table(truth: Array, chosen: Array, columns: list[int], names: Sequence[str]) -> pd.DataFrame:
    from sklearn.metrics import precision_recall_fscore_support

    with _no_user_warnings():
        precision, recall, f1, support = precision_recall_fscore_support(
            truth, chosen, labels=columns, average=None, zero_division=0
        )
    index = pd.Index(list(names), name="label")
    return pd.DataFrame({"precision": precision, "recall": recall, "f1": f1, "support": support}, index=index)


@contextmanager
def _no_user_warnings() -> Iterator[None]:
    """Silence scikit-learn where it doubts the task: many classes in few rows, or one class only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _columns(truth: Array) -> list[int]:
    """Return what scikit-learn calls the labels: the columns, or the positive class of a single column."""
    return [1] if truth.shape[1] == 1 else list(range(truth.shape[1]))


def _one_axis_if_one_label(truth: Array, given: Array) -> tuple[Array, Array]:
    return (truth[:, 0], given[:, 0]) if truth.shape[1] == 1 else (truth, given)


def _has_both(truth: Array) -> bool:
    return bool(truth.min() != truth.max())


def _average_precision(truth: Array, scores: Array) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, scores)) if _has_both(truth) else float("nan")


def _is_constant(values: Array) -> bool:
    return bool(values.min() == values.max())


def _correlation(one: Array, other: Array) -> float:
    if _is_constant(one) or _is_constant(other):
        return float("nan")
    # Scaled to a greatest distance of 1 beforehand, so that tiny or huge values neither vanish nor overflow.
    one, other = one - one.mean(), other - other.mean()
    one, other = one / np.abs(one).max(), other / np.abs(other).max()
    return float(np.clip(one @ other / np.sqrt((one @ one) * (other @ other)), -1.0, 1.0))


def _class_ids(values: npt.ArrayLike, n_labels: int, what: str) -> Array:
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise DataError(f"{what} must have the shape (rows,), but have {ids.shape}.")
    expected = f"{what} must be label ids from 0 to {n_labels - 1}"
    if ids.dtype.kind not in "biuf":
        raise LabelError(f"{expected}, but are of the type {ids.dtype}.")
    bad = ~((ids >= 0) & (ids < n_labels) & (ids == np.floor(ids)))
    if bad.any():
        raise LabelError(f"{expected}, but {_first_rows(bad)} {np.unique(ids[bad])[:_ROWS_NAMED].tolist()}.")
    return ids.astype(np.int64)


def _numbers(values: npt.ArrayLike, what: str) -> Array:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.ndim != 1:
        raise DataError(f"{what} must have the shape (rows,), but have {numbers.shape}.")
    _need_finite(numbers, what)
    return numbers


def _multi_label(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Array, Array]:
    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    _need_rows(labels=truth, probabilities=scores)
    if truth.ndim != 2 or truth.shape != scores.shape or truth.shape[1] == 0:
        raise DataError(
            "labels and probabilities must both have the shape (rows, labels), "
            f"but have {truth.shape} and {scores.shape}."
        )
    bad = ~np.isin(truth, (0, 1)).all(axis=1)
    if bad.any():
        raise LabelError(f"labels must be 0 or 1, but {_first_rows(bad)} something else.")
    _need_finite(scores, "probabilities")
    outside = ((scores < 0) | (scores > 1)).any(axis=1)
    if outside.any():
        raise DataError(
            f"probabilities must be between 0 and 1, but {_first_rows(outside)} others. "
            "Logits become probabilities by the sigmoid function."
        )
    return truth.astype(np.int64), scores


def _thresholds(threshold: float | Sequence[float], n_labels: int) -> Array:
    limits = np.asarray(threshold, dtype=np.float64)
    if limits.shape not in {(), (n_labels,)}:
        raise ArgumentError(
            f"threshold must be one number or one per label ({n_labels}), but has the shape {limits.shape}."
        )
    return np.broadcast_to(limits, (n_labels,)).copy()


def _need_rows(**arrays: npt.ArrayLike) -> None:
    lengths = {name: len(np.atleast_1d(np.asarray(values))) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{rows} in {name}" for name, rows in lengths.items())
        raise DataError(f"As many rows were expected in each array, but there are {listed}.")
    if 0 in lengths.values():
        raise DataError("There are no rows to score. Give at least one row with a label.")


def _need_finite(values: Array, what: str) -> None:
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise DataError(f"{what} must be finite numbers, but {_first_rows(bad)} NaN or infinity.")


def _first_rows(bad: npt.ArrayLike) -> str:
    rows = np.flatnonzero(bad)
    return f"{len(rows)} of {np.size(bad)} rows (first: {rows[:_ROWS_NAMED].tolist()}) hold"
