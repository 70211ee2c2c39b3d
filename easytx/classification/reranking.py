"""A classifier of pairs as a cross-encoder: it reads a query and a passage together, and says how well they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.classification.attention import AttentiveModel
from easytx.core.calls import with_multi_label_second
from easytx.core.results import Restorable
from easytx.data.checks import rows
from easytx.errors import ArgumentError, DataError, UnsupportedError
from easytx.metrics.ranking import ranking_scores

if TYPE_CHECKING:
    from easytx.classification.data import Answers

# Names of the two texts of a pair in retrieval, beside ours.
_PAIR = {"text_a": "query_text", "text_b": "passage"}


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


class RerankingModel(AttentiveModel):
    """A class whose models of pairs can put passages in an order.

    The score of a pair is the only output there is (regression, or a cross-encoder with one output); of two classes
    the log-odds of the second; of more classes 0, 1, 2 ... the expected grade.
    """

    train_model = with_multi_label_second(
        AttentiveModel.train_model,
        *("output_dir", "show_running_loss", "args", "eval_data"),
        *("qrels", "run_dict", "eval_name", "eval_set", "top_k", "include_titles", "verbose"),
    )
    eval_model = with_multi_label_second(AttentiveModel.eval_model, "output_dir", "verbose", "silent", "wandb_log")
    predict = with_multi_label_second(AttentiveModel.predict)

    def rerank(self, queries: Any, passages: Any = None, *, top_k: int | None = None) -> Reranked:
        """Return the passages of each query in a new order, the best first.

        Args:
            queries: One query, several, or a frame with the columns `query_text` and `passage`, such as the `hits()`
                of a RetrievalModel's prediction.
            passages: For one query its passages; for several one list of passages each, or one for all. Of a frame,
                None.
            top_k: How many passages of a query to return; None for all.

        Raises:
            DataError: If queries and passages do not go together, or texts are missing.
            ArgumentError: If the classes of the model are no grades of relevance.
        """
        if not self.labels_exclude_each_other:
            raise UnsupportedError(f"{type(self).__name__} does not rank: use ClassificationModel with two classes.")
        frame = pairs_to_rank(queries, passages)
        pairs = frame.rename(columns={theirs: ours for ours, theirs in _PAIR.items()})[list(_PAIR)]
        answers, _ = self.answered(pairs, {})
        frame["score"] = self.relevance(answers)
        ordered = frame.sort_values(["query", "score"], ascending=[True, False], kind="stable")
        ordered["rank"] = ordered.groupby("query").cumcount() + 1
        return Reranked(ordered if top_k is None else ordered[ordered["rank"] <= top_k])

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        if self.args["as_reranker"] and isinstance(rows, pd.DataFrame) and set(_PAIR.values()) <= set(rows.columns):
            renames = {**_PAIR, **renames}
        return super().read(rows, name=name, split=split, renames=renames)

    def relevance(self, answers: Answers) -> np.ndarray:
        """Return how well each pair fits, of shape (rows,); more is better."""
        logits = answers.logits
        if logits.shape[1] == 1:
            only: np.ndarray = logits[:, 0]
            return only
        if logits.shape[1] == 2:
            odds: np.ndarray = logits[:, 1] - logits[:, 0]
            return odds
        if not self.known_labels().is_range:
            raise ArgumentError(
                f"The labels {self.known_labels().labels[:20]} are no grades of relevance. To rank, train on 0 and 1, "
                "on grades 0, 1, 2 ..., or on numbers with regression=True."
            )
        grades: np.ndarray = answers.probabilities @ np.arange(logits.shape[1])
        return grades

    def scores_of_ranking(self, answers: Answers, truth: np.ndarray, frame: pd.DataFrame) -> dict[str, float]:
        """Return, with `as_reranker`, how well the passages of each query are ranked; without, nothing.

        Queries without any passage of a label above 0 are left out.
        """
        if not self.args["as_reranker"] or "text_a" not in frame:
            return {}
        scores = self.relevance(answers)
        found, relevant = [], []
        for indices in frame.groupby("text_a", sort=False).indices.values():
            places = np.asarray(indices)
            known = {int(place): float(truth[place]) for place in places if truth[place] > 0}
            if known:
                found.append(places[np.argsort(-scores[places], kind="stable")].tolist())
                relevant.append(known)
        return ranking_scores(found, relevant, level=0) if found else {}


def pairs_to_rank(queries: Any, passages: Any) -> pd.DataFrame:
    """Return one row per query and passage: query_text, passage, `query` (its number) and `place` (in its list).

    Raises:
        DataError: If queries and passages do not go together.
    """
    if not len(queries):
        raise DataError("rerank has no queries.")
    if isinstance(queries, pd.DataFrame):
        missing = [name for name in _PAIR.values() if name not in queries]
        if missing or passages is not None:
            raise DataError(
                f"rerank takes a frame with the columns {list(_PAIR.values())}, without further passages, but has "
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
