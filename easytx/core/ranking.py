"""Passages of queries in an order: what the classes share that say how well a passage fits a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from easytx.core.results import Restorable
from easytx.data.checks import rows
from easytx.errors import DataError
from easytx.metrics.ranking import ranking_scores

# The two texts of a pair.
PAIR = ("query_text", "passage")


class _Ranking(NamedTuple):
    passages: list[list[str]]
    scores: list[np.ndarray]
    order: list[np.ndarray]


class Reranked(Restorable, _Ranking):
    """What `rerank` returns: `passages, scores, order`, each with one entry per query, best passage first.

    `order` says at which place of the given list each passage stood.
    """

    frame: pd.DataFrame

    def __new__(cls, frame: pd.DataFrame) -> Reranked:
        """Take one row per passage, ordered, with `query`, its number, and `place`."""
        groups = [group for _, group in frame.groupby("query", sort=False)]
        self = super().__new__(
            cls,
            [group["passage"].tolist() for group in groups],
            [group["score"].to_numpy() for group in groups],
            [group["place"].to_numpy() for group in groups],
        )
        self.frame = frame.drop(columns=["query", "place"])
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return one row per passage: query_text, rank (from 1), passage and score, and what else the rows had."""
        return self.frame.copy()


def pairs_to_rank(queries: Any, passages: Any) -> pd.DataFrame:
    """Return one row per query and passage: query_text, passage, `query` (its number) and `place` (in its list).

    Raises:
        DataError: If queries and passages do not go together.
    """
    if not len(queries):
        raise DataError("rerank has no queries.")
    if isinstance(queries, pd.DataFrame):
        missing = [name for name in PAIR if name not in queries]
        if missing or passages is not None:
            raise DataError(
                f"rerank takes a frame with the columns {list(PAIR)}, without further passages, but has "
                f"{list(queries.columns)}."
            )
        frame = queries.drop(columns=["rank", "score"], errors="ignore")
        numbers = frame.groupby("query_text", sort=False).ngroup()
        return frame.assign(query=numbers, place=frame.groupby("query_text").cumcount())
    if isinstance(queries, str):
        queries, passages = [queries], [[] if passages is None else passages]
    lists = _lists(list(queries), list(passages if passages is not None else []))
    return pd.DataFrame(
        [
            {"query_text": query, "passage": text, "query": number, "place": place}
            for number, (query, texts) in enumerate(zip(queries, lists, strict=True))
            for place, text in enumerate(texts)
        ]
    )


def ranked(frame: pd.DataFrame, scores: np.ndarray, top_k: int | None) -> Reranked:
    """Return the passages of each query, the best first; among equals the order stays.

    Args:
        frame: What `pairs_to_rank` returns.
        scores: How well each passage fits, of shape (rows,); more is better.
        top_k: How many passages of a query to return; None for all.
    """
    ordered = frame.assign(score=scores).sort_values(["query", "score"], ascending=[True, False], kind="stable")
    ordered["rank"] = ordered.groupby("query").cumcount() + 1
    return Reranked(ordered if top_k is None else ordered[ordered["rank"] <= top_k])


def scores_per_query(queries: pd.Series, scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return how well the passages of each query are ranked, on average.

    Queries without any passage of a label above 0 are left out.

    Args:
        queries: The query of each row.
        scores: How well its passage fits, of shape (rows,); more is better.
        truth: How well it does in truth, of shape (rows,); 0 is not at all.
    """
    found, relevant = [], []
    for indices in queries.groupby(queries.to_numpy(), sort=False).indices.values():
        places = np.asarray(indices)
        known = {int(place): float(truth[place]) for place in places if truth[place] > 0}
        if known:
            found.append(places[np.argsort(-scores[places], kind="stable")].tolist())
            relevant.append(known)
    return ranking_scores(found, relevant, level=0) if found else {}


def _lists(queries: Sequence[str], passages: Sequence[Any]) -> list[list[str]]:
    if passages and all(isinstance(text, str) for text in passages):
        return [list(passages)] * len(queries)
    if len(passages) != len(queries):
        raise DataError(
            f"rerank has {len(queries)} queries but {len(passages)} lists of passages. Give one list per query, or "
            "one list of texts for all."
        )
    empty = [number for number, texts in enumerate(passages) if not len(texts)]
    if empty:
        raise DataError(f"rerank has no passages for the queries in {rows(empty)}.")
    return [list(texts) for texts in passages]
