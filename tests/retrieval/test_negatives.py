"""Hard negatives that change from epoch to epoch."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from easytx.retrieval.negatives import BalancedNegatives, SearchedNegatives, margin_groups

IDS = pa.array([[number, number] for number in range(10)])


def _row(number: int, keys: list[int], right: list[int], scores: list[float]) -> dict[str, Any]:
    return {
        "row": number,
        "passage_keys": keys,
        "passage_input_ids": [[key, key] for key in keys],
        "right_keys": right,
        "teacher_scores": scores,
        "query_input_ids": [1],
    }


def test_what_is_found_and_not_right_is_added() -> None:
    negatives = SearchedNegatives(IDS, number=2, seed=1)
    negatives.found = np.array([[0, 3, 5, 6, 7], [2, 1, 0, -1, -1]])
    row = _row(0, [0, 5], [0, 6], [2.0, 1.0])
    changed = negatives(row)
    assert changed["passage_keys"][:2] == [0, 5]
    # 0 and 6 are right for the query, 5 is a negative of the row already.
    assert sorted(changed["passage_keys"][2:]) == [3, 7]
    assert changed["passage_input_ids"] == [[key, key] for key in changed["passage_keys"]]
    assert changed["teacher_scores"][:2] == [2.0, 1.0]
    assert all(math.isnan(score) for score in changed["teacher_scores"][2:])
    assert row["passage_keys"] == [0, 5]
    # Fewer where there are fewer.
    assert negatives(_row(1, [2], [2, 1], [1.0]))["passage_keys"] == [2, 0]
    assert negatives(_row(1, [2], [2, 1, 0], [1.0]))["passage_keys"] == [2]


def test_each_epoch_draws_anew_among_them() -> None:
    negatives = SearchedNegatives(IDS, number=1, seed=1)
    negatives.found = np.array([[0, 3, 5, 6, 7]])
    row = _row(0, [0], [0], [2.0])
    drawn = []
    for epoch in range(60):
        negatives.epoch = epoch
        assert negatives(row)["passage_keys"] == negatives(row)["passage_keys"]
        drawn.append(negatives(row)["passage_keys"][1])
    assert set(drawn) == {3, 5, 6, 7}


def test_margins_are_grouped_by_tenths_of_their_range() -> None:
    assert margin_groups(np.array([0.0, 0.05, 0.1, 0.55, 0.99, 1.0])).tolist() == [0, 0, 1, 5, 9, 9]
    assert margin_groups(np.array([2.0, 2.0])).tolist() == [0, 0]


def test_rare_margins_come_up_as_often_as_frequent_ones() -> None:
    balanced = BalancedNegatives(seed=1)
    # Four negatives with a small margin, one with a large one.
    row = _row(0, [0, 1, 2, 3, 4, 5], [0], [5.0, 4.9, 4.9, 4.9, 4.9, -5.0])
    drawn = []
    for epoch in range(400):
        balanced.epoch = epoch
        changed = balanced(row)
        assert changed["passage_keys"][0] == 0
        assert len(changed["passage_keys"]) == len(changed["passage_input_ids"]) == 2
        assert changed["passage_input_ids"][1] == [changed["passage_keys"][1]] * 2
        drawn.append(changed["passage_keys"][1])
    counts = Counter(drawn)
    assert set(counts) == {1, 2, 3, 4, 5}
    # Half of 400, give or take four standard deviations.
    assert abs(counts[5] - 200) < 40


def test_rows_without_all_scores_stay_as_they_are() -> None:
    balanced = BalancedNegatives(seed=1)
    for scores in ([1.0, math.nan, 2.0], [1.0, 2.0]):
        row = _row(0, list(range(len(scores))), [0], scores)
        assert balanced(row) is row
