"""Answers as spans of a context."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch
from typing_extensions import override

from easytx.config.fields import checked
from easytx.config.model_args import ModelArgs
from easytx.config.warn import warn_user
from easytx.core import loading
from easytx.core.base_model import BaseModel
from easytx.core.calls import Metric, custom_scores
from easytx.core.results import Prediction
from easytx.data.checks import warn_about_duplicates
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.metrics.spans import answer_overlap, squad_scores
from easytx.question_answering.args import QuestionAnsweringArgs
from easytx.question_answering.judging import judged
from easytx.question_answering.reading import as_questions, repair_answers
from easytx.question_answering.results import QAEvalResult, by_id, with_answers, write_answers
from easytx.question_answering.spans import SpanPrediction, best_spans
from easytx.question_answering.windows import encode_windows
from easytx.training.inference import Outputs, trimmed
from easytx.training.judged import Judged

if TYPE_CHECKING:
    from datasets import Dataset

Answers = list[SpanPrediction]


class QuestionAnsweringModel(BaseModel):
    """Find the answer to a question in a context, or say that it is not there.

    Example:
        >>> model = QuestionAnsweringModel("starter", args={"max_seq_length": 384})
        >>> model.train_model(train_data)  # a list of {"context", "qas"}, SQuAD's JSON, or a DataFrame
        >>> answers, probabilities = model.predict(
        ...     [{"context": "Hold the key for two seconds.", "qas": [{"id": "0", "question": "How long?"}]}]
        ... )
    """

    args_class: ClassVar[type[ModelArgs]] = QuestionAnsweringArgs
    auto_class: ClassVar[str] = "AutoModelForQuestionAnswering"
    columns: Columns = Columns(texts=(("question", "context"),), labels=("answers",), optional=("id", "is_impossible"))
    predict_options: ClassVar[tuple[str, ...]] = ("n_best_size",)

    @override
    def predict(self, to_predict: Any, n_best_size: int | None = None, **kwargs: Any) -> Any:
        """Answer each question; see `BaseModel.predict`.

        Args:
            to_predict: Questions and contexts, as for `train_model`, without answers.
            n_best_size: How many answers to return for each, at most; None for `args.n_best_size`.
            **kwargs: `question_column=`, `context_column=`, where they differ.
        """
        checked(QuestionAnsweringArgs, "n_best_size", 1 if n_best_size is None else n_best_size)
        return super().predict(to_predict, n_best_size=n_best_size, **kwargs)

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        frame = as_questions(rows, name=name, args=self.args, renames=renames, with_answers=split != "predict")
        self.columns.check(frame, name=name, with_labels=split != "predict")
        if split != "train":
            return frame
        frame, report = repair_answers(frame, name=name)
        if report.message(name):
            warn_user(report.message(name))
        return frame

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        args = self.args
        loading.check_max_length(args.max_seq_length, self.config, self.tokenizer, str(self.args.model_name))
        if split == "train":
            warn_about_duplicates(frame, ("question", "context"), name=name)
            if args["allow_no_answer"] is None:
                self.args = args.merged({"allow_no_answer": bool(frame["is_impossible"].any())})
        return self.cached(
            lambda: encode_windows(
                self.tokenizer,
                frame,
                max_length=args.max_seq_length,
                max_query_length=args["max_query_length"],
                doc_stride=args["doc_stride"],
                with_answers=split != "predict",
            ),
            split,
            [*frame["question"], *frame["context"], *map(repr, frame["answers"]), *map(repr, frame["answer_starts"])],
            args["max_query_length"],
            args["doc_stride"],
        )

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> Any:
        return trimmed(torch.stack([outputs.start_logits, outputs.end_logits], dim=-1), batch["attention_mask"])

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> Answers:
        args = self.args
        return best_spans(
            outputs.values,
            data.dataset,
            data.frame,
            n_best=data.options.get("n_best_size") or args["n_best_size"],
            max_answer_length=args["max_answer_length"],
            null_score_diff_threshold=args["null_score_diff_threshold"],
            allow_no_answer=bool(args["allow_no_answer"]),
        )

    @override
    def score(self, answers: Answers, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        predicted, truths, questions = by_id(answers, data.frame)
        counts, _ = answer_overlap(predicted, truths, questions)
        first = [texts[0] if texts else "" for texts in truths.values()]
        return {**counts, **squad_scores(predicted, truths), **custom_scores(metrics, first, list(predicted.values()))}

    @override
    def evaluation(self, result: dict[str, Any], answers: Answers, data: TaskData) -> QAEvalResult:
        _, texts = answer_overlap(*by_id(answers, data.frame))
        return QAEvalResult(result, texts, with_answers(answers, data.frame))

    @override
    def judged(self, answers: Answers, data: TaskData) -> Judged:
        return judged(answers, data.frame)

    @override
    def write(self, folder: Path, result: dict[str, Any], answers: Answers, data: TaskData) -> None:
        super().write(folder, result, answers, data)
        write_answers(folder, answers, data.frame["id"].tolist())

    @override
    def prediction(self, answers: Answers, data: TaskData) -> Prediction:
        ids = data.frame["id"]
        return Prediction(
            [{"id": i, "answer": a.answers} for i, a in zip(ids, answers, strict=True)],
            [{"id": i, "probability": a.probabilities} for i, a in zip(ids, answers, strict=True)],
            with_answers(answers, data.frame),
        )
