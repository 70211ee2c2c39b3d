"""Rows of two queries and two passages, of which a teacher has scored all four pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.data.checks import counted, rows
from easytx.data.frames import Columns, as_frame, read_file
from easytx.errors import DataError

_TEXTS = ("query_text_a", "query_text_b", "passage_text_a", "passage_text_b")
# The first letter is the query, the second one the passage.
_SCORES = ("aa_score", "ab_score", "ba_score", "bb_score")


def has_quartets(args: ModelArgs) -> bool:
    """Tell whether training rows are, or with this loss may be, quartets."""
    return bool(args["quartet_training_format"] or args["include_quartet_loss"])


def rows_of_quartets(data: Any, args: ModelArgs, *, name: str) -> Any:
    """Return quartets as training rows, two of each: a query, the better passage for it, the other as a hard negative.

    Of two passages with the same score that of the query's own letter is the better one. Other rows, which a model with
    `include_quartet_loss` takes too, are returned as they are.

    Args:
        data: A frame, or what else holds rows.
        args: Where `quartet_training_format` is set, rows have to be quartets.
        name: What to call the rows in messages.

    Raises:
        DataError: If columns or scores are missing.
    """
    if isinstance(data, (str, Path)):
        data = read_file(data, name=name, args=args)
    if not args["quartet_training_format"] and _TEXTS[0] not in getattr(data, "columns", ()):
        return data
    frame = as_frame(data, Columns(texts=(_TEXTS,), labels=_SCORES), name=name, args=args).reset_index(drop=True)
    scores = frame[list(_SCORES)].apply(pd.to_numeric, errors="coerce")
    missing = np.flatnonzero(scores.isna().any(axis=1))
    if len(missing):
        raise DataError(
            f"{name} has no number in {counted(len(missing), 'row')} of the columns {list(_SCORES)}: {rows(missing)}."
        )
    halves = [_half(frame, scores, "a", "b"), _half(frame, scores, "b", "a")]
    return pd.concat(halves).sort_index(kind="stable").reset_index(drop=True)


def _half(frame: pd.DataFrame, scores: pd.DataFrame, own: str, other: str) -> pd.DataFrame:
    """Return the rows of one of the two queries."""
    letters = np.where(scores[f"{own}{own}_score"] >= scores[f"{own}{other}_score"], own, other)
    swapped = letters == other
    first, second = frame[f"passage_text_{own}"], frame[f"passage_text_{other}"]
    pairs = scores[[f"{own}{own}_score", f"{own}{other}_score"]].to_numpy(dtype=float)
    return pd.DataFrame(
        {
            "query_text": frame[f"query_text_{own}"],
            "gold_passage": second.where(swapped, first),
            "hard_negative": first.where(swapped, second),
            "teacher_scores": np.sort(pairs, axis=1)[:, ::-1].tolist(),
        }
    )
