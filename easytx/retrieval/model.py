"""Queries and the passages that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core.calls import Metric, custom_scores
from easytx.data.checks import texts_of, warn_about_duplicates
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.retrieval import data as rules
from easytx.retrieval.args import RetrievalArgs
from easytx.retrieval.course import RetrievalCourse, check_course
from easytx.retrieval.index import stacked
from easytx.retrieval.judging import judged
from easytx.retrieval.losses import RetrievalLoss
from easytx.retrieval.negatives import with_negatives, write_negatives
from easytx.retrieval.passages import together
from easytx.retrieval.rankers import ranked_again
from easytx.retrieval.relevance import right_of_queries, texts_right_for
from easytx.retrieval.results import Found, RetrievalEvaluation, RetrievalPrediction
from easytx.retrieval.searching import Searcher
from easytx.retrieval.towers import CONTEXT, QUERY
from easytx.training.inference import Outputs
from easytx.training.judged import Judged


class RetrievalModel(Searcher):
    """Find, among many passages, those that answer a query, by the similarity of their vectors.

    Example:
        >>> model = RetrievalModel("starter", prediction_passages=["Hold the key.", "The lamp is green."])
        >>> passages, doc_ids, doc_vectors, doc_dicts = model.predict(["What colour is the lamp?"])
        >>> passages[0][0]
        'The lamp is green.'
    """

    args_class: ClassVar[type[ModelArgs]] = RetrievalArgs
    columns: Columns = Columns(
        texts=(("query_text",),), labels=("gold_passage",), optional=("title", "hard_negative", "teacher_scores")
    )
    train_options: ClassVar[tuple[str, ...]] = ("clustered_training",)
    predict_options: ClassVar[tuple[str, ...]] = (
        "prediction_passages",
        "retrieve_n_docs",
        "passages_only",
        "doc_ids_only",
    )
    eval_options: ClassVar[tuple[str, ...]] = (
        "additional_passages",
        "relevant_docs",
        "retrieve_n_docs",
        "top_k_values",
    )
    batch_columns: ClassVar[tuple[str, ...]] = rules.TRAINING
    kin: ClassVar[tuple[str, ...]] = ("PretrainRetrievalModel",)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        queries = self.tokenised(QUERY, [texts_of(frame, "query_text", name=name)], split=split, name=name)
        if split == "predict":
            return queries
        gold = rules.gold_passages(frame, name=name)
        if split == "eval":
            self.tokenised_passages(together([gold]), split=split, name=f"the passages of {name}")
            return queries
        warn_about_duplicates(frame, ("query_text", "gold_passage"), name=name)
        negatives = rules.hard_negatives(frame, self.args, name=name)
        check_course(self.args, taught=self.teacher is not None)
        rules.check_losses(frame, negatives, self.args, name=name, taught=self.teacher is not None)
        passages, used = self.learn_passages(gold, negatives)
        right = right_of_queries(frame["query_text"].tolist(), [first for first, *_ in used])
        scores = rules.teacher_scores(frame, negatives, name=name)
        tokens = self.tokenised_passages(passages, split=split, name=f"the passages of {name}")
        return rules.pair_features(queries, tokens, used, right, scores)

    @override
    def collator(self) -> rules.PairCollator:
        return rules.PairCollator(*(self.towers[part].tokenizer.pad_token_id for part in (QUERY, CONTEXT)))

    @override
    def loss(self) -> RetrievalLoss:
        return RetrievalLoss(self.args)

    @override
    def course(self, data: TaskData, collator: Any, loss: Any) -> RetrievalCourse:
        return RetrievalCourse(self, data, collator, loss)

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> Found:
        queries = stacked(outputs.values)
        return self.found_for_labelled(queries, data) if data.labelled else self.found_for(queries, data.options)

    @override
    def score(self, answers: Found, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        truth, best = data.frame["gold_passage"].tolist(), [texts[0] for texts in answers.texts()]
        # Rows of one query are one query, whatever the number of its passages.
        first = ~data.frame["query_text"].duplicated().to_numpy()
        own = {**answers.ranking(first), "eval_loss": float(answers.known().losses.mean())}
        return {**own, **custom_scores(metrics, truth, best, answers.scores)}

    @override
    def evaluation(self, result: dict[str, Any], answers: Found, data: TaskData) -> RetrievalEvaluation:
        return RetrievalEvaluation(result, answers, data)

    @override
    def judged(self, answers: Found, data: TaskData) -> Judged:
        return judged(answers, data)

    @override
    def prediction(self, answers: Found, data: TaskData) -> Any:
        if self.reranker is not None:
            answers = ranked_again(answers, data.frame["query_text"].tolist(), self.reranker, self.args)
        found = RetrievalPrediction(answers, data)
        if data.options.get("passages_only"):
            return found.passages
        return (found.doc_ids, found.scores) if data.options.get("doc_ids_only") else found

    def build_hard_negatives(
        self,
        queries: Any,
        passage_dataset: Any = None,
        retrieve_n_docs: int | None = None,
        output_dir: str | Path | None = None,
    ) -> pd.DataFrame:
        """Return the queries with the passages that the model finds for them although they are not their own.

        Args:
            queries: Texts; or rows with `query_text` and `gold_passage`, which then is never a negative.
            passage_dataset: The passages to search; None for those of `predict`.
            retrieve_n_docs: How many a query gets; None for `n_hard_negatives`.
            output_dir: Where to write them as `hard_negatives.tsv`; instead of `args.output_dir`.
        """
        number = retrieve_n_docs or self.args["n_hard_negatives"]
        rows = self.read(queries, name="queries", split="predict", renames={})
        # More, because the best may be the right ones.
        more = max(map(len, texts_right_for(rows))) or 1
        options = {"prediction_passages": passage_dataset, "retrieve_n_docs": number + more}
        answers, data = self.answered(rows, options)
        frame = with_negatives(data.frame, answers.texts(), number)
        if output_dir is not None or not self.args.no_save:
            write_negatives(frame, output_dir or self.args.output_dir)
        return frame
