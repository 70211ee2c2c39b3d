"""A classifier of pairs as a cross-encoder: it reads a query and a passage together, and says how well they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.classification.attention import AttentiveModel
from easytx.core.calls import with_multi_label_second
from easytx.core.ranking import Reranked, pairs_to_rank, ranked, scores_per_query
from easytx.errors import ArgumentError, UnsupportedError

if TYPE_CHECKING:
    from easytx.classification.data import Answers

# Names of the two texts of a pair in retrieval, beside ours.
_PAIR = {"text_a": "query_text", "text_b": "passage"}


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
        return ranked(frame, self.relevance(answers), top_k)

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
        return scores_per_query(frame["text_a"], self.relevance(answers), truth)
