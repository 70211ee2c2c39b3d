"""What retrieval returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from easytx.core.results import Restorable
from easytx.data.prepared import TaskData
from easytx.metrics.ranking import mrr_at_k, ranking_scores, recall_at_k, relevance_of, top_k_accuracy


@dataclass(frozen=True)
class Truth:
    """What there was to find for labelled queries.

    Attributes:
        gains: Per query, the places of its right passages, and how right each is.
        losses: How surprising its own passage is among all, of shape (queries,).
        chances: The probability of the best passage among all, of shape (queries,).
        level: The least gain that counts as right.
        cuts: At how many passages rankings are scored.
    """

    gains: list[dict[int, float]]
    losses: np.ndarray
    chances: np.ndarray
    level: float
    cuts: tuple[int, ...]

    def numbers(self) -> np.ndarray:
        """Return how many passages are right for each query, of shape (queries,)."""
        return np.array([sum(gain >= self.level for gain in own.values()) for own in self.gains])


@dataclass(frozen=True)
class Found:
    """What was found for each query.

    Attributes:
        passages: What was searched.
        vectors: Its vectors, of shape (passages, width).
        places: Which passages were found, best first, of shape (queries, found).
        scores: Their similarities, of shape (queries, found).
        truth: What there was to find; None without labels.
    """

    passages: pd.DataFrame
    vectors: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    truth: Truth | None = None

    def texts(self) -> list[list[str]]:
        """Return the passages found for each query."""
        texts = self.passages["passages"].to_numpy(dtype=object)
        return [list(texts[row]) for row in self.places]

    def ids(self) -> np.ndarray:
        """Return their ids: those of the column `id`, or else their numbers, of shape (queries, found)."""
        return self.passages["id"].to_numpy()[self.places] if "id" in self.passages else self.places

    def records(self) -> list[dict[str, list[Any]]]:
        """Return, for each query, what is known of the passages found, as lists by column."""
        return [self.passages.iloc[row].to_dict("list") for row in self.places]

    def known(self) -> Truth:
        """Return what there was to find."""
        if self.truth is None:
            raise RuntimeError("these rows have no labels")
        return self.truth

    def relevance(self) -> np.ndarray:
        """Return 1 where a right passage was found, else 0, of shape (queries, found)."""
        truth = self.known()
        return (relevance_of(self.places.tolist(), truth.gains, level=truth.level) > 0).astype(float)

    def ranking(self, chosen: np.ndarray) -> dict[str, float]:
        """Return the scores of some queries, of which `chosen` says whether each is one."""
        truth = self.known()
        gains = [own for own, counts in zip(truth.gains, chosen, strict=True) if counts]
        return ranking_scores(self.places[chosen].tolist(), gains, cuts=truth.cuts, level=truth.level)

    def frame(self, data: TaskData) -> pd.DataFrame:
        """Return the caller's rows with the best passage, its id and its similarity."""
        best = [texts[0] for texts in self.texts()]
        return data.frame.assign(prediction=best, doc_id=self.ids()[:, 0], score=self.scores[:, 0])


class _Prediction(NamedTuple):
    passages: list[list[str]]
    doc_ids: np.ndarray
    doc_vectors: np.ndarray
    doc_dicts: list[dict[str, list[Any]]]


class RetrievalPrediction(Restorable, _Prediction):
    """What `predict` returns: `passages, doc_ids, doc_vectors, doc_dicts`, each with one entry per query, best first.

    Attributes:
        scores: The similarities, of shape (queries, found).
        frame: One row per query.
    """

    scores: np.ndarray
    frame: pd.DataFrame

    def __new__(cls, found: Found, data: TaskData) -> RetrievalPrediction:
        """Make the tuple of what was found, and keep the similarities and the frame."""
        self = super().__new__(cls, found.texts(), found.ids(), found.vectors[found.places], found.records())
        self.scores, self.frame = found.scores, found.frame(data)
        return self

    @property
    def predictions(self) -> list[list[str]]:
        """The passages."""
        return self.passages

    @property
    def raw_outputs(self) -> np.ndarray:
        """The similarities."""
        return self.scores

    def to_frame(self) -> pd.DataFrame:
        """Return one row per query, in order and under its index, with the best passage, its id and its score."""
        return self.frame.copy()

    def hits(self) -> pd.DataFrame:
        """Return one row per passage found: query_text, rank (from 1), passage, doc_id and score."""
        number = self.scores.shape[1]
        return pd.DataFrame(
            {
                "query_text": np.repeat(self.frame["query_text"].to_numpy(dtype=object), number),
                "rank": np.tile(np.arange(1, number + 1), len(self.frame)),
                "passage": [text for texts in self.passages for text in texts],
                "doc_id": self.doc_ids.ravel(),
                "score": self.scores.ravel(),
            },
            index=self.frame.index.repeat(number),
        )


class _Evaluation(NamedTuple):
    result: dict[str, Any]
    doc_ids: np.ndarray
    doc_vectors: np.ndarray
    doc_dicts: list[dict[str, list[Any]]]
    top_k_accuracy_each_query: dict[str, np.ndarray]
    recall_at_k_each_query: dict[str, np.ndarray]
    mrr_each_query_dict: dict[str, np.ndarray]
    relevance_list: np.ndarray


class RetrievalEvaluation(Restorable, _Evaluation):
    """What `eval_model` returns: the scores, what was found, and the scores of each query.

    Attributes:
        frame: One row per query, with the best passage, its similarity and the rank of the first right one.
    """

    frame: pd.DataFrame

    def __new__(cls, result: dict[str, Any], found: Found, data: TaskData) -> RetrievalEvaluation:
        """Make the tuple of scores and of what was found."""
        relevance = found.relevance()
        cuts, numbers = found.known().cuts, found.known().numbers()
        self = super().__new__(
            cls,
            result,
            found.ids(),
            found.vectors[found.places],
            found.records(),
            {f"top_{k}_accuracy": top_k_accuracy(relevance, k) for k in cuts},
            {f"recall_at_{k}": recall_at_k(relevance, k, numbers) for k in cuts},
            {f"mrr_at_{k}": mrr_at_k(relevance, k) for k in cuts},
            relevance,
        )
        ranks = pd.Series(relevance.argmax(axis=1) + 1, dtype="Int64").where(pd.Series(relevance.any(axis=1)))
        self.frame = found.frame(data).assign(rank=ranks.array)
        return self

    def __getitem__(self, key: Any) -> Any:
        """Return an entry of the tuple, or the score of a name, for scripts that expect a dict of scores."""
        return self.result[key] if isinstance(key, str) else super().__getitem__(key)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per query, in order and under its index; its rank is missing where none was found."""
        return self.frame.copy()
