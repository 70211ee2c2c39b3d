"""Scores of conversations, by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from easytx.conv_ai.judging import ChatAnswers, ranking, with_places

# Three candidates, one, and two that are alike: sum of losses, tokens, score.
VALUES = [[4.0, 2, 0.5], [9.0, 3, 0.1], [3.0, 3, 0.2], [2.0, 1, 9.0], [6.0, 3, 0.7], [4.0, 2, 0.7]]
GROUPS = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]


def _ranking(columns: int) -> object:
    return ranking([np.array(value[:columns]) for value in VALUES], GROUPS)


def test_perplexity_is_of_the_mean_over_all_tokens_of_true_replies() -> None:
    scores = _ranking(2).scores()  # type: ignore[attr-defined]
    assert scores["language_model_loss"] == pytest.approx((3 + 2 + 4) / (3 + 1 + 2))
    assert scores["perplexity"] == pytest.approx(math.exp(1.5))


def test_without_a_head_the_likeliest_candidate_comes_first() -> None:
    found = ranking([np.array(value[:2]) for value in VALUES], GROUPS)
    np.testing.assert_array_equal(found.places, [1, np.nan, 2])
    assert found.scores()["hits@1"] == 0.5
    assert np.isnan(found.choices).all()
    assert found.weighted(2.0, 1.0) == pytest.approx(1.5)
    assert found.losses.tolist() == [1.0, 2.0, 2.0]


def test_the_head_ranks_where_there_is_one() -> None:
    found = ranking([np.array(value) for value in VALUES], GROUPS)
    np.testing.assert_array_equal(found.places, [2, np.nan, 2])
    assert found.scores()["hits@1"] == 0.0
    chosen = (math.log(math.exp(0.3) + math.exp(-0.1) + 1), math.log(2))
    assert found.weighted(2.0, 0.5) == pytest.approx(3.0 + 0.5 * sum(chosen) / 2)


def test_without_candidates_there_is_nothing_to_choose() -> None:
    found = ranking([np.array([4.0, 2.0])], [np.array([0])])
    assert set(found.scores()) == {"language_model_loss", "perplexity"}
    frame = pd.DataFrame({"reply": ["a"]})
    assert with_places(frame, ChatAnswers(None, None, None, found)) is frame
