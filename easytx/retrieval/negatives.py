"""Passages that are near a query and wrong: what a retriever learns most from.

Sources:
    Xiong et al. 2020, "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval",
    https://arxiv.org/abs/2007.00808
    Hofstätter et al. 2021, "Efficiently Teaching an Effective Dense Retriever with Balanced Topic Aware Sampling",
    https://arxiv.org/abs/2104.06967
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from easytx.config.warn import warn_user
from easytx.data.checks import counted
from easytx.retrieval.data import Row
from easytx.retrieval.relevance import texts_right_for

FILE = "hard_negatives.tsv"

# Groups of margins of which Hofstätter et al. 2021 draw each as often.
_BINS = 10


def with_negatives(queries: pd.DataFrame, found: Sequence[Sequence[str]], number: int) -> pd.DataFrame:
    """Return the queries with what was found and is not right, as `hard_negative`, `hard_negative_2` ...

    Args:
        queries: Rows with `query_text`, and `gold_passage` where it is known.
        found: The passages found for each query, best first.
        number: How many a query gets.
    """
    right = texts_right_for(queries)
    rows = [[text for text in texts if text not in own][:number] for texts, own in zip(found, right, strict=True)]
    short = sum(len(row) < number for row in rows)
    if short:
        warn_user(f"Of {len(rows)} queries {short} got fewer than {counted(number, 'hard negative')}.")
    names = ["hard_negative", *(f"hard_negative_{place}" for place in range(2, number + 1))]
    columns = {
        name: pd.Series([row[place] if place < len(row) else None for row in rows], dtype=object).array
        for place, name in enumerate(names)
    }
    return queries.assign(**columns)


def write_negatives(frame: pd.DataFrame, folder: str | Path) -> Path:
    """Write the rows as `hard_negatives.tsv`, which `train_model` reads."""
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, sep="\t", index=False)
    return path


class SearchedNegatives:
    """Adds to training rows negatives that the present weights find, as ANCE does (Xiong et al. 2020).

    What is right for a row's query never becomes one, nor what is a negative of the row already.
    """

    def __init__(self, input_ids: pa.ListArray, number: int, seed: int) -> None:
        """Take the tokens of all passages that are searched, and how many of those found a row gets."""
        self.input_ids, self.number, self.seed = input_ids, number, seed
        self.found = np.zeros((0, 0), dtype=np.int64)
        self.epoch = 0

    def __call__(self, row: Row) -> Row:
        """Return a row with negatives drawn from what was found for it, others in each epoch; one score is missing."""
        left_out = {*row["right_keys"], *row["passage_keys"]}
        found = [key for key in self.found[row["row"]].tolist() if key >= 0 and key not in left_out]
        draw = np.random.default_rng([self.seed, self.epoch, row["row"]])
        keys = draw.choice(found, min(self.number, len(found)), replace=False).tolist() if found else []
        return {
            **row,
            "passage_keys": [*row["passage_keys"], *keys],
            "passage_input_ids": [
                *row["passage_input_ids"],
                *self.input_ids.take(pa.array(keys, pa.int64())).to_pylist(),
            ],
            "teacher_scores": [*row["teacher_scores"], *[float("nan")] * len(keys)],
        }


class BalancedNegatives:
    """Leaves training rows one of their negatives, drawn so that all margins come up (Hofstätter et al. 2021).

    The margin is what a teacher gives the passage more than the negative. Those of a row are put in ten groups of the
    same width, from the smallest to the largest; a group that is not empty is drawn, and then one of it.
    """

    def __init__(self, seed: int) -> None:
        """Take the seed."""
        self.seed, self.epoch = seed, 0

    def __call__(self, row: Row) -> Row:
        """Return a row with one negative, another one in each epoch; as it is where scores are missing."""
        scores = np.asarray(row["teacher_scores"], dtype=float)
        if len(scores) <= 2 or not np.isfinite(scores).all():
            return row
        groups = margin_groups(scores[0] - scores[1:])
        draw = np.random.default_rng([self.seed, self.epoch, row["row"]])
        place = int(draw.choice(np.flatnonzero(groups == draw.choice(np.unique(groups))))) + 1
        lists = ("passage_keys", "passage_input_ids", "teacher_scores")
        return {**row, **{name: [row[name][0], row[name][place]] for name in lists}}


def margin_groups(margins: np.ndarray) -> np.ndarray:
    """Return which of ten groups of the same width each margin is in, from 0, both of shape (negatives,)."""
    lowest, width = margins.min(), np.ptp(margins) / _BINS
    if width == 0:
        return np.zeros(len(margins), dtype=np.int64)
    groups: np.ndarray = np.minimum((margins - lowest) // width, _BINS - 1).astype(np.int64)
    return groups
