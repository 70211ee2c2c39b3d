"""A classifier of pairs as a cross-encoder: it reads a query and a passage together, and says how well they fit.

The score of a pair is the only output there is (regression, or a cross-encoder with one output); of two classes the
log-odds of the second; of more classes 0, 1, 2 ... the expected grade.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easytx.core.ranking import PAIR, Reranked, pairs_to_rank, ranked, scores_per_query
from easytx.errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from easytx.classification.data import Answers
    from easytx.classification.model import ClassificationModel

# Our names of the two texts of a pair.
_OURS = ("text_a", "text_b")


def rerank(model: ClassificationModel, queries: Any, passages: Any = None, *, top_k: int | None = None) -> Reranked:
    """Return the passages of each query in a new order, the best first.

    Args:
        model: One that was trained on pairs.
        queries: One query, several, or a frame with the columns `query_text` and `passage`, such as the `hits()` of a
            RetrievalModel's prediction.
        passages: For one query its passages; for several one list of passages each, or one for all. Of a frame, None.
        top_k: How many passages of a query to return; None for all.

    Raises:
        DataError: If queries and passages do not go together, or texts are missing.
        ArgumentError: If the classes of the model are no grades of relevance.
    """
    if not model.labels_exclude_each_other:
        raise UnsupportedError(f"{type(model).__name__} does not rank: use ClassificationModel with two classes.")
    frame = pairs_to_rank(queries, passages)
    pairs = frame.rename(columns=dict(zip(PAIR, _OURS, strict=True)))[list(_OURS)]
    answers, _ = model.answered(pairs, {})
    return ranked(frame, _relevance(model, answers), top_k)


def names_of_pairs(model: ClassificationModel, rows: Any) -> Mapping[str, str]:
    """Return, with `as_reranker`, what the columns of the two texts are called in retrieval, by our names of them."""
    is_pairs = model.args["as_reranker"] and isinstance(rows, pd.DataFrame) and set(PAIR) <= set(rows.columns)
    return dict(zip(_OURS, PAIR, strict=True)) if is_pairs else {}


def scores_of_ranking(
    model: ClassificationModel, answers: Answers, truth: np.ndarray, frame: pd.DataFrame
) -> dict[str, float]:
    """Return, with `as_reranker`, how well the passages of each query are ranked; without, nothing.

    Queries without any passage of a label above 0 are left out.
    """
    if not model.args["as_reranker"] or "text_a" not in frame:
        return {}
    return scores_per_query(frame["text_a"], _relevance(model, answers), truth)


def _relevance(model: ClassificationModel, answers: Answers) -> np.ndarray:
    """Return how well each pair fits, of shape (rows,); more is better."""
    logits = answers.logits
    if logits.shape[1] == 1:
        only: np.ndarray = logits[:, 0]
        return only
    if logits.shape[1] == 2:
        odds: np.ndarray = logits[:, 1] - logits[:, 0]
        return odds
    labels = model.known_labels()
    if not labels.is_range:
        raise ArgumentError(
            f"The labels {labels.labels[:20]} are no grades of relevance. To rank, train on 0 and 1, on grades 0, 1, "
            "2 ..., or on numbers with regression=True."
        )
    grades: np.ndarray = answers.probabilities @ np.arange(logits.shape[1])
    return grades
