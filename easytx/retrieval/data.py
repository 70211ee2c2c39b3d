"""Rows of a query, its passage and its hard negatives, as batches of two kinds of texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from datasets import Dataset

from easytx.config.model_args import ModelArgs
from easytx.config.warn import warn_user
from easytx.data.checks import counted, rows, texts_of
from easytx.data.padding import padded
from easytx.errors import DataError
from easytx.retrieval.losses import GOLD, OTHER, OTHER_NEGATIVE, OWN_NEGATIVE, SAME, needs_negatives, needs_teacher
from easytx.retrieval.quartets import has_quartets

# A training row: its columns below.
Row = Mapping[str, Any]
Change = Callable[[Row], Row]

# Takes the rows of a batch, the keys of its passages and the labels, and returns the labels.
Teaching = Callable[[Sequence[int], Sequence[int], torch.Tensor], torch.Tensor]

# Columns of training rows.
TRAINING = ("query_input_ids", "passage_input_ids", "passage_keys", "right_keys", "teacher_scores", "row")

_NEGATIVE = "hard_negative"


def gold_passages(frame: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """Return the passage of each row, with its title where there is one, in the rows' order.

    Raises:
        DataError: If one is missing.
    """
    found = {"passages": texts_of(frame, "gold_passage", name=name)}
    if "title" in frame:
        found["title"] = frame["title"].fillna("").astype(str).tolist()
    return pd.DataFrame(found)


def hard_negatives(frame: pd.DataFrame, args: ModelArgs, *, name: str) -> list[list[str]]:
    """Return the hard negatives of each row, as many as the arguments ask for; a row may have none.

    They stand in the columns `hard_negative`, `hard_negative_2` ..., or as lists in the first of them.

    Raises:
        DataError: If the arguments ask for them and the column is not there.
    """
    if not args["hard_negatives"] and not (_NEGATIVE in frame and has_quartets(args)):
        return [[] for _ in range(len(frame))]
    if _NEGATIVE not in frame:
        raise DataError(
            f"hard_negatives is set, but {name} has no column '{_NEGATIVE}'; it has {list(frame.columns)}. "
            "build_hard_negatives makes one."
        )
    names = [_NEGATIVE, *(f"{_NEGATIVE}_{number}" for number in range(2, len(frame.columns) + 1))]
    columns = [frame[column].tolist() for column in names if column in frame]
    most = args["n_hard_negatives"]
    return [[text for cell in cells for text in _listed(cell)][:most] for cells in zip(*columns, strict=True)]


def teacher_scores(frame: pd.DataFrame, negatives: Sequence[list[str]], *, name: str) -> list[list[float]]:
    """Return, per row, what a teacher scores its passage and then its hard negatives; NaN without a teacher.

    Raises:
        DataError: If a row has fewer scores than texts.
    """
    if "teacher_scores" not in frame:
        return [[float("nan")] * (1 + len(texts)) for texts in negatives]
    scores = [_numbers(cell) for cell in frame["teacher_scores"]]
    short = [i for i, (found, texts) in enumerate(zip(scores, negatives, strict=True)) if len(found) <= len(texts)]
    if short:
        raise DataError(
            f"{name} has too few teacher_scores in {counted(len(short), 'row')}: {rows(short)}. Each row needs a list: "
            "the score of its passage, then one per hard negative."
        )
    return [found[: 1 + len(texts)] for found, texts in zip(scores, negatives, strict=True)]


def check_losses(
    frame: pd.DataFrame, negatives: Sequence[list[str]], args: ModelArgs, *, name: str, taught: bool = False
) -> None:
    """Raise if rows lack what the losses compare; warn of hard negatives that are not used.

    Args:
        frame: The rows.
        negatives: The hard negatives of each row.
        args: Include losses.
        name: What to call the rows in messages.
        taught: Whether a teacher scores passages while training.

    Raises:
        DataError: Naming the loss and the column.
    """
    if _NEGATIVE in frame and not (args["hard_negatives"] or has_quartets(args)):
        warn_user(f"The column '{_NEGATIVE}' of {name} is not used: set hard_negatives=True in args.")
    for loss in needs_teacher(args):
        if "teacher_scores" not in frame and not taught:
            raise DataError(
                f"{loss} is set, but {name} has no column 'teacher_scores'; it has {list(frame.columns)}. Or name a "
                "teacher, with teacher_model_name."
            )
    for loss in needs_negatives(args):
        # Those that are searched for while training have no score in a column.
        searched = args["ance_training"] and (taught or loss not in needs_teacher(args))
        if not any(negatives) and not searched:
            raise DataError(
                f"{loss} is set, but {name} has no hard negatives. Add a column '{_NEGATIVE}' and set "
                "hard_negatives=True."
            )


def pair_features(
    queries: Dataset,
    passages: Dataset,
    used: Sequence[Sequence[int]],
    right: Sequence[Iterable[int]],
    scores: Sequence[Sequence[float]],
) -> Dataset:
    """Return training rows: the tokens of a query, and those of its passage and its hard negatives.

    Args:
        queries: The tokenised queries, one a row.
        passages: The tokenised passages, each once.
        used: The numbers of each row's passage and of its hard negatives.
        right: The numbers of all passages that are right for its query.
        scores: What a teacher scores them.
    """
    ids = passages.data.column("input_ids").combine_chunks()
    flat = pa.array([number for row in used for number in row], type=pa.int64())
    offsets = pa.array(np.cumsum([0, *(len(row) for row in used)]), type=pa.int32())
    sizes = np.asarray(passages.data.column("length"))
    length = np.asarray(queries.data.column("length")) + [sum(int(sizes[number]) for number in row) for row in used]
    return Dataset(
        pa.table(
            {
                "query_input_ids": queries.data.column("input_ids"),
                "passage_input_ids": pa.ListArray.from_arrays(offsets, ids.take(flat)),
                "passage_keys": pa.ListArray.from_arrays(offsets, flat),
                "right_keys": pa.array([list(row) for row in right], type=pa.list_(pa.int64())),
                "teacher_scores": pa.array([list(row) for row in scores], type=pa.list_(pa.float32())),
                "row": np.arange(len(used), dtype=np.int64),
                "length": length.astype(np.int32),
            }
        )
    )


class PairCollator:
    """Makes batches of queries, their passages and all hard negatives, and says which belongs to which.

    The passages of the queries come first, in their order, and then the hard negatives, row by row.

    Attributes:
        changes: What makes of each row another one, with other hard negatives.
        teaching: Fills in the scores of a teacher; None for those of the rows.
    """

    def __init__(self, query_pad_id: int | None, passage_pad_id: int | None) -> None:
        """Take the ids to pad with."""
        self.query_pad_id, self.passage_pad_id = query_pad_id or 0, passage_pad_id or 0
        self.changes: list[Change] = []
        self.teaching: Teaching | None = None

    def __call__(self, features: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return token ids and masks of both kinds of texts, and labels as in `losses`."""
        for change in self.changes:
            features = [change(feature) for feature in features]
        places = [(row, 0) for row in range(len(features))]
        places += [(row, i) for row, feature in enumerate(features) for i in range(1, len(feature["passage_keys"]))]
        queries = [feature["query_input_ids"] for feature in features]
        passages = [features[row]["passage_input_ids"][i] for row, i in places]
        keys = [features[row]["passage_keys"][i] for row, i in places]
        labels = _labels(features, places, np.array(keys))
        if self.teaching is not None:
            labels = self.teaching([feature["row"] for feature in features], keys, labels)
        return {
            "query_input_ids": padded(queries, self.query_pad_id),
            "query_attention_mask": padded([[1] * len(ids) for ids in queries], 0),
            "passage_input_ids": padded(passages, self.passage_pad_id),
            "passage_attention_mask": padded([[1] * len(ids) for ids in passages], 0),
            "labels": labels,
        }


def _labels(features: Sequence[Row], places: Sequence[tuple[int, int]], keys: np.ndarray) -> torch.Tensor:
    owner, place = np.array(places, dtype=np.int64).T
    own = owner == np.arange(len(features))[:, None]
    kind = np.where(place == 0, OTHER, OTHER_NEGATIVE) + np.zeros(own.shape)
    kind[own] = np.broadcast_to(np.where(place == 0, GOLD, OWN_NEGATIVE), own.shape)[own]
    right = np.stack([np.isin(keys, feature["right_keys"]) for feature in features])
    kind[right & (kind != GOLD)] = SAME
    # A hard negative counts once, in its row's place.
    repeated = np.stack([np.isin(keys, feature["passage_keys"]) for feature in features])
    kind[repeated & ~own] = SAME
    scores = np.full(own.shape, np.nan)
    scores[own] = np.broadcast_to([features[row]["teacher_scores"][i] for row, i in places], own.shape)[own]
    return torch.from_numpy(np.stack([kind, scores], axis=-1).astype(np.float32))


def _listed(cell: Any) -> list[str]:
    if isinstance(cell, (list, tuple, np.ndarray)):
        return [str(text) for text in cell]
    return [] if cell is None or cell != cell or cell == "" else [str(cell)]


def _numbers(cell: Any) -> list[float]:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError:
            return []
    return [float(value) for value in cell] if isinstance(cell, (list, tuple, np.ndarray)) else []
