"""Answers beside the truth: what a tracker, or whoever looks for mistakes, wants to see of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

# Most rows of a table of wrong predictions.
WRONG_ROWS = 1000


@dataclass(frozen=True)
class Judged:
    """Answers to labelled rows, as trackers show them.

    Attributes:
        frame: One line per answer: the texts, then truth, prediction, probability and loss.
        wrong: Which of them are wrong, of shape (rows,).
        labels: The names of the labels, in the order of the columns of `probabilities`.
        truth: The true label ids, of shape (items,), or 0 and 1 of shape (items, labels).
        probabilities: Of shape (items, labels).
        predicted: The predicted label ids, of shape (items,); None where labels do not exclude each other.
        table_name: What a table of scores per label is called.
    """

    frame: pd.DataFrame
    wrong: np.ndarray
    labels: list[str] = field(default_factory=list)
    truth: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    predicted: np.ndarray | None = None
    table_name: str = "per_label"

    def sample(self, number: int) -> pd.DataFrame:
        """Return so many lines, spread evenly over all, the same ones each time."""
        total = len(self.frame)
        return self.frame.iloc[np.unique(np.linspace(0, total - 1, min(number, total)).round().astype(int))]

    def worst(self, number: int = WRONG_ROWS) -> pd.DataFrame:
        """Return the wrong lines, highest loss first."""
        return self.frame[self.wrong].sort_values("loss", ascending=False, kind="stable").head(number)


def judged_texts(
    inputs: Mapping[str, Sequence[str]],
    truth: Sequence[str],
    predictions: Sequence[str] | None,
    losses: np.ndarray | None,
) -> Judged:
    """Return one line per row of a task whose answers are texts.

    Args:
        inputs: The columns that were read.
        truth: One true text per row.
        predictions: One text per row; None where none were written, and none is wrong then.
        losses: The mean loss of the tokens of each true text, of shape (rows,).
    """
    columns: dict[str, Sequence[object]] = {**inputs, "truth": truth}
    wrong = np.zeros(len(truth), dtype=bool)
    if predictions is not None:
        columns["prediction"] = predictions
        wrong = np.array([right.strip() != text.strip() for right, text in zip(truth, predictions, strict=True)])
    return Judged(pd.DataFrame({**columns, "loss": np.zeros(len(truth)) if losses is None else losses}), wrong)
