"""Rankings scored by hand, and beside trec_eval."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from easytx.metrics.ranking import CUTS, mrr_at_k, ndcg_at_k, ranking_scores, recall_at_k, relevance_of, top_k_accuracy

# What was found for three queries: the only right one second; none; two of three, first and third.
FOUND = [["a", "b", "c"], ["a", "b", "c"], ["x", "y", "z"]]
RELEVANT: list[dict[str, float]] = [{"b": 1}, {"q": 1}, {"x": 2, "z": 1, "w": 3}]


def _relevance() -> np.ndarray:
    return relevance_of(FOUND, RELEVANT)


def test_relevance_stands_where_the_item_was_found() -> None:
    assert _relevance().tolist() == [[0, 1, 0], [0, 0, 0], [2, 0, 1]]
    assert relevance_of(FOUND, RELEVANT, level=2).tolist() == [[0, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert relevance_of([["b"], []], RELEVANT[:2]).tolist() == [[1], [0]]
    assert relevance_of([], []).shape == (0, 0)


def test_reciprocal_rank() -> None:
    assert mrr_at_k(_relevance(), 10).tolist() == [0.5, 0, 1]
    assert mrr_at_k(_relevance(), 1).tolist() == [0, 0, 1]
    assert mrr_at_k(np.zeros((2, 0)), 5).tolist() == [0, 0]


def test_accuracy_in_the_first_k() -> None:
    assert top_k_accuracy(_relevance(), 1).tolist() == [0, 0, 1]
    assert top_k_accuracy(_relevance(), 2).tolist() == [1, 0, 1]


def test_recall_counts_what_was_not_found() -> None:
    assert recall_at_k(_relevance(), 3, np.array([1, 1, 3])).tolist() == [1, 0, pytest.approx(2 / 3)]
    assert recall_at_k(_relevance(), 1, np.array([1, 0, 3])).tolist() == [0, 0, pytest.approx(1 / 3)]


def test_discounted_gain() -> None:
    found = 2 + 1 / np.log2(4)
    ideal = 3 + 2 / np.log2(3) + 1 / np.log2(4)
    gains = [[1], [1], [2, 1, 3]]
    assert ndcg_at_k(_relevance(), 3, gains) == pytest.approx([1 / np.log2(3), 0, found / ideal])
    assert ndcg_at_k(_relevance(), 1, gains) == pytest.approx([0, 0, 2 / 3])
    assert ndcg_at_k(np.array([[1.0]]), 1, [[]]).tolist() == [0]


def _random_case(seed: int) -> tuple[list[list[str]], list[dict[str, float]]]:
    chance = random.Random(seed)
    found, relevant = [], []
    for _ in range(30):
        documents = [f"d{number}" for number in range(chance.randint(1, 40))]
        found.append(chance.sample(documents, chance.randint(1, len(documents))))
        relevant.append(
            {name: chance.randint(1, 3) for name in chance.sample(documents, chance.randint(1, len(found[-1])))}
        )
    return found, relevant


@pytest.mark.parametrize("seed", range(20))
def test_the_scores_are_those_of_trec_eval(seed: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    found, relevant = _random_case(seed)
    truth = {f"q{row}": {name: int(gain) for name, gain in known.items()} for row, known in enumerate(relevant)}
    run = {f"q{row}": {name: 100.0 - rank for rank, name in enumerate(ids)} for row, ids in enumerate(found)}
    cuts = ",".join(map(str, CUTS))
    measures = {f"success.{cuts}", f"recall.{cuts}", f"ndcg_cut.{cuts}"}
    theirs: dict[str, dict[str, Any]] = pytrec_eval.RelevanceEvaluator(truth, measures).evaluate(run)
    ours = ranking_scores(found, relevant)
    for k in CUTS:
        for name, of_theirs in (
            (f"top_{k}_accuracy", f"success_{k}"),
            (f"recall_at_{k}", f"recall_{k}"),
            (f"ndcg_at_{k}", f"ndcg_cut_{k}"),
        ):
            assert ours[name] == pytest.approx(np.mean([scores[of_theirs] for scores in theirs.values()])), name
        cut = {query: dict(sorted(ranks.items(), key=lambda item: -item[1])[:k]) for query, ranks in run.items()}
        reciprocal = pytrec_eval.RelevanceEvaluator(truth, {"recip_rank"}).evaluate(cut)
        assert ours[f"mrr_at_{k}"] == pytest.approx(np.mean([scores["recip_rank"] for scores in reciprocal.values()]))
