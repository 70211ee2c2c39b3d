"""Answers of classifiers as trackers show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from easytx.classification.data import Answers, targets_of
from easytx.data.prepared import TaskData
from easytx.training.judged import Judged

if TYPE_CHECKING:
    from easytx.classification.model import ClassificationModel

# Keeps the logarithm of a probability finite.
_TINY = 1e-12


def judged(model: ClassificationModel, answers: Answers, data: TaskData) -> Judged:
    """Return answers with their losses: cross entropy, its mean over the labels, or the squared error."""
    texts = model.compared(data.frame)
    truth = targets_of(data)
    if model.args["regression"]:
        error = (answers.predicted - truth) ** 2
        columns = {"truth": truth, "prediction": answers.predicted, "loss": error}
        return Judged(texts.assign(**columns), np.full(len(truth), True))
    names = model.known_labels().names
    chances = np.asarray(answers.probabilities, dtype=np.float64)
    if truth.ndim == 2:
        return _several(texts, truth, chances, answers, names)
    rows = np.arange(len(truth))
    columns = {
        "truth": [names[i] for i in truth],
        "prediction": [names[i] for i in answers.predicted],
        "probability": chances[rows, answers.predicted],
        "loss": -np.log(chances[rows, truth].clip(_TINY)),
    }
    wrong = truth != answers.predicted
    return Judged(texts.assign(**columns), wrong, names, truth, chances, answers.predicted, "per_class")


def _several(texts: pd.DataFrame, truth: np.ndarray, chances: np.ndarray, answers: Answers, names: list[str]) -> Judged:
    """Return answers of several labels each; their probability is that of the least certain decision."""
    given = answers.predicted > 0
    of_truth = np.where(truth > 0, chances, 1 - chances)
    columns = {
        "truth": [_listed(row, names) for row in truth],
        "prediction": [_listed(row, names) for row in given],
        "probability": np.where(given, chances, 1 - chances).min(axis=1),
        "loss": -np.log(of_truth.clip(_TINY)).mean(axis=1),
    }
    wrong = (given != (truth > 0)).any(axis=1)
    return Judged(texts.assign(**columns), wrong, names, truth, chances, None, "per_label")


def _listed(row: np.ndarray, names: list[str]) -> str:
    return ", ".join(names[i] for i in np.flatnonzero(row))
