"""How good rankings are: reciprocal rank, accuracy in the first k, recall and nDCG.

The numbers are those of trec_eval (https://github.com/usnistgov/trec_eval) where it has them: `recip_rank` cut at k,
`success_k`, `recall_k` and `ndcg_cut_k`. A ranking is given by the relevance of what was found, best first; ties are
the caller's to break.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "CUTS",
    "mrr_at_k",
    "ndcg_at_k",
    "ranking_scores",
    "recall_at_k",
    "relevance_of",
    "top_k_accuracy",
]

CUTS = (1, 2, 3, 5, 10)


def relevance_of(
    found: Sequence[Sequence[Any]], relevant: Sequence[Mapping[Any, float]], *, level: float = 1
) -> np.ndarray:
    """Return how relevant each found item is to its query, of shape (queries, found); 0 for what is not relevant.

    Args:
        found: The ids of what was found for each query, best first; shorter lists are filled up with 0.
        relevant: Per query, the gain of each relevant id.
        level: The least gain that counts as relevant.
    """
    gains = np.zeros((len(found), max((len(ids) for ids in found), default=0)))
    for row, (ids, known) in enumerate(zip(found, relevant, strict=True)):
        for place, item in enumerate(ids):
            gain = known.get(item, 0)
            gains[row, place] = gain if gain >= level else 0
    return gains


def mrr_at_k(relevance: np.ndarray, k: int) -> np.ndarray:
    """Return, per query, 1 / the rank of the first relevant item among the first k; 0 where there is none.

    Args:
        relevance: Of shape (queries, found), best first; above 0 is relevant.
        k: How many items count.
    """
    hits = np.asarray(relevance)[:, :k] > 0
    ranks = hits.argmax(axis=1) + 1 if hits.shape[1] else np.ones(len(hits))
    return np.where(hits.any(axis=1), 1.0 / ranks, 0.0)


def top_k_accuracy(relevance: np.ndarray, k: int) -> np.ndarray:
    """Return, per query, 1 if a relevant item is among the first k, else 0."""
    return (np.asarray(relevance)[:, :k] > 0).any(axis=1).astype(float)


def recall_at_k(relevance: np.ndarray, k: int, relevant: np.ndarray) -> np.ndarray:
    """Return, per query, the share of its relevant items that is among the first k; 0 where it has none.

    Args:
        relevance: As for `mrr_at_k`.
        k: How many items count.
        relevant: How many relevant items there are for each query, found or not, of shape (queries,).
    """
    hits = (np.asarray(relevance)[:, :k] > 0).sum(axis=1)
    shares: np.ndarray = np.divide(hits, relevant, out=np.zeros(len(hits)), where=np.asarray(relevant) > 0)
    return shares


def ndcg_at_k(relevance: np.ndarray, k: int, gains: Sequence[Sequence[float]]) -> np.ndarray:
    """Return, per query, the discounted gain of the first k items over that of the best possible ranking.

    The gain of an item at rank r is its relevance / log2(r + 1) (Järvelin and Kekäläinen 2002, as in trec_eval).

    Args:
        relevance: As for `mrr_at_k`; the values are the gains.
        k: How many items count.
        gains: The gains of all relevant items of each query, found or not.
    """
    values = np.asarray(relevance, dtype=float)[:, :k]
    found = values @ _discounts(values.shape[1])
    best = np.array([_ideal(row, k) for row in gains])
    shares: np.ndarray = np.divide(found, best, out=np.zeros(len(found)), where=best > 0)
    return shares


def ranking_scores(
    found: Sequence[Sequence[Any]],
    relevant: Sequence[Mapping[Any, float]],
    *,
    cuts: Sequence[int] = CUTS,
    level: float = 1,
) -> dict[str, float]:
    """Return means over the queries: `mrr_at_k`, `top_k_accuracy`, `recall_at_k` and `ndcg_at_k` for each k.

    Args:
        found: As for `relevance_of`.
        relevant: As for `relevance_of`.
        cuts: The values of k.
        level: As for `relevance_of`; nDCG takes every gain as it is, as in trec_eval.
    """
    relevance, graded = relevance_of(found, relevant, level=level), relevance_of(found, relevant, level=0)
    number = np.array([sum(gain >= level for gain in known.values()) for known in relevant])
    gains = [[max(gain, 0) for gain in known.values()] for known in relevant]
    scores: dict[str, np.ndarray] = {}
    for k in cuts:
        scores[f"mrr_at_{k}"] = mrr_at_k(relevance, k)
        scores[f"top_{k}_accuracy"] = top_k_accuracy(relevance, k)
        scores[f"recall_at_{k}"] = recall_at_k(relevance, k, number)
        scores[f"ndcg_at_{k}"] = ndcg_at_k(graded, k, gains)
    return {name: float(values.mean()) for name, values in scores.items()}


def _discounts(number: int) -> np.ndarray:
    ranks = np.arange(number)
    discounts: np.ndarray = 1.0 / np.log2(ranks + 2)
    return discounts


def _ideal(gains: Sequence[float], k: int) -> float:
    best = np.sort(np.asarray(gains, dtype=float))[::-1][:k]
    return float(best @ _discounts(len(best)))
