"""Two queries and two passages with four scores, as two training rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from easytx import RetrievalArgs
from easytx.errors import DataError
from easytx.retrieval.quartets import rows_of_quartets

QUARTETS = pd.DataFrame(
    {
        "query_text_a": ["qa", "ra"],
        "query_text_b": ["qb", "rb"],
        "passage_text_a": ["pa", "sa"],
        "passage_text_b": ["pb", "sb"],
        "aa_score": [3.0, 1.0],
        "ab_score": [1.0, 2.0],
        "ba_score": [0.5, 5.0],
        "bb_score": [2.5, 5.0],
    },
    index=[7, 3],
)
ROWS = [
    ["qa", "pa", "pb", [3.0, 1.0]],
    ["qb", "pb", "pa", [2.5, 0.5]],
    # The other passage has the higher score.
    ["ra", "sb", "sa", [2.0, 1.0]],
    ["rb", "sb", "sa", [5.0, 5.0]],
]


def test_each_query_is_a_row_with_the_better_passage(tmp_path: Path) -> None:
    args = RetrievalArgs(quartet_training_format=True)
    found = rows_of_quartets(QUARTETS, args, name="train_df")
    assert found.columns.tolist() == ["query_text", "gold_passage", "hard_negative", "teacher_scores"]
    assert found.to_numpy().tolist() == ROWS
    path = tmp_path / "train.tsv"
    QUARTETS.to_csv(path, sep="\t", index=False)
    assert rows_of_quartets(str(path), args, name="train_df").to_numpy().tolist() == ROWS
    assert rows_of_quartets(path, RetrievalArgs(include_quartet_loss=True), name="train_df").to_numpy().tolist() == ROWS


def test_the_loss_alone_takes_other_rows_too() -> None:
    args = RetrievalArgs(include_quartet_loss=True)
    rows = pd.DataFrame({"query_text": ["q"], "gold_passage": ["p"]})
    assert rows_of_quartets(rows, args, name="train_df") is rows


def test_what_is_missing_is_said() -> None:
    args = RetrievalArgs(quartet_training_format=True)
    with pytest.raises(DataError, match=r"^train_df needs the columns \['query_text_a', 'query_text_b', "):
        rows_of_quartets(QUARTETS.drop(columns="ba_score"), args, name="train_df")
    with pytest.raises(DataError) as refused:
        rows_of_quartets(QUARTETS.assign(ab_score=[1.0, None]), args, name="train_df")
    assert str(refused.value) == (
        "train_df has no number in 1 row of the columns ['aa_score', 'ab_score', 'ba_score', 'bb_score']: row 1."
    )
