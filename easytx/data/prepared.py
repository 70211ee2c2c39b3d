"""The rows of one call, from the caller's frame to the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from easytx.data.tokenise import column

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset


@dataclass(frozen=True)
class TaskData:
    """Rows that a task has prepared.

    Attributes:
        frame: The rows with our column names, in the caller's order and under the caller's index.
        dataset: Their features; the column `row` says which position of the frame each came from.
        name: What to call the rows in messages.
        labelled: Whether the label columns are there.
        options: What was asked of this call alone.
    """

    frame: pd.DataFrame
    dataset: Dataset
    name: str
    labelled: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    def features_of_rows(self) -> list[np.ndarray]:
        """Return, for each row of the frame, the positions of its features in the dataset."""
        return rows_to_features(column(self.dataset, "row"), len(self.frame))


def rows_to_features(row: np.ndarray, number: int) -> list[np.ndarray]:
    """Return the positions of each row's features.

    Args:
        row: The row of each feature, of shape (features,).
        number: How many rows there are.
    """
    order = np.argsort(row, kind="stable")
    return np.split(order, np.searchsorted(row[order], np.arange(1, number)))
