"""Passages that are near a query and wrong: what a retriever learns most from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from easytx.config.warn import warn_user
from easytx.data.checks import counted
from easytx.retrieval.relevance import texts_right_for

FILE = "hard_negatives.tsv"


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
