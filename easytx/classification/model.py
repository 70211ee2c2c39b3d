"""One class, or one number, per text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.classification import attention, judging, reranking, results
from easytx.classification import data as rules
from easytx.classification.args import ClassificationArgs
from easytx.classification.data import Answers
from easytx.classification.kinds import NUMBER, ONE_CLASS, OneClass
from easytx.config.model_args import ModelArgs
from easytx.core.calls import RANKING, Metric, custom_scores, with_multi_label_second
from easytx.core.labelled import LabelledModel
from easytx.core.results import EvalResult, Prediction, PredictionWithStates
from easytx.data.checks import texts_of, warn_about_duplicates
from easytx.data.prepared import TaskData
from easytx.data.tokenise import column, window_overlap, with_column
from easytx.training.inference import Outputs
from easytx.training.judged import Judged
from easytx.training.losses import LossFunction

if TYPE_CHECKING:
    from datasets import Dataset


class ClassificationModel(LabelledModel):
    """Classify texts or pairs of texts; with `args.regression`, predict a number for each.

    Example:
        >>> model = ClassificationModel("starter", args={"num_train_epochs": 3})
        >>> model.train_model(train_df)  # columns text (or text_a, text_b) and labels
        >>> result, model_outputs, wrong_predictions = model.eval_model(eval_df)
        >>> predictions, raw_outputs = model.predict(["A text to classify"])
    """

    args_class: ClassVar[type[ModelArgs]] = ClassificationArgs
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"

    train_model = with_multi_label_second(
        LabelledModel.train_model, "output_dir", "show_running_loss", "args", "eval_data", *RANKING, "verbose"
    )
    eval_model = with_multi_label_second(LabelledModel.eval_model, "output_dir", "verbose", "silent", "wandb_log")
    predict = with_multi_label_second(LabelledModel.predict)
    rerank = reranking.rerank

    @property
    def kind(self) -> OneClass:
        """What is answered for a row."""
        return NUMBER if self.args["regression"] else ONE_CLASS

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        tokenizer_type: str | None = None,
        tokenizer_name: str | None = None,
        num_labels: int | None = None,
        weight: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        *,
        global_attention_fn: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """See `LabelledModel`; `global_attention_fn` is what `attention.with_global_attention` takes as `choose`."""
        tokenizer: dict[str, Any] = {"tokenizer_type": tokenizer_type, "tokenizer_name": tokenizer_name}
        given: dict[str, Any] = {"weight": weight, "args": args, "use_cuda": use_cuda, "cuda_device": cuda_device}
        super().__init__(model_type, model_name, num_labels=num_labels, **tokenizer, **given, **kwargs)
        self.global_attention_fn = global_attention_fn
        attention.check_global_attention(self)
        if self.args["regression"]:
            self.labels, self.num_labels = None, 1

    @override
    def head_config(self) -> dict[str, Any]:
        return self.kind.head_config(self)

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        return super().read(rows, name=name, split=split, renames={**reranking.names_of_pairs(self, rows), **renames})

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        texts = self.layout.words([texts_of(frame, text, name=name) for text in self.columns.texts_in(frame)])
        boxes = self.layout.boxes(frame, texts[0], name=name)
        targets = None if split == "predict" else self.targets(frame["labels"], split, name)
        if split == "train":
            warn_about_duplicates(compared := self.compared(frame), compared.columns.tolist(), name=name)
        overlap = window_overlap(self.tokenizer, self.args, pairs=len(texts) == 2)
        features = self.encoded(texts, overlap=overlap, split=split, name=name)
        features = attention.with_global_attention(features, texts, self.global_attention_fn)
        features = self.layout.placed(features, boxes, self.tokenizer)
        return features if targets is None else with_column(features, "labels", targets[column(features, "row")])

    def targets(self, labels: pd.Series, split: str, name: str) -> np.ndarray:
        """Return what the model learns for each row; in training, labels and weights are learnt here."""
        return self.kind.targets(self, labels, split, name)

    @override
    def loss(self) -> LossFunction | None:
        return self.kind.loss(self)

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> Answers:
        return self.kind.answers(self, *rules.by_row(outputs.values, data.features_of_rows()))

    @override
    def score(self, answers: Answers, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        own = self.kind.scores(self, answers, data)
        return {**own, **custom_scores(metrics, rules.targets_of(data), *self.kind.for_metrics(answers))}

    def answer_labels(self, answers: Answers) -> Any:
        """Return the answers as the user's own labels."""
        return self.kind.labels(self, answers)

    def raw(self, answers: Answers) -> Any:
        """Return the outputs behind the answers."""
        return self.kind.raw(self, answers)

    @override
    def evaluation(self, result: dict[str, Any], answers: Answers, data: TaskData) -> EvalResult:
        return results.evaluation(self, result, answers, data)

    @override
    def judged(self, answers: Answers, data: TaskData) -> Judged:
        return judging.judged(self, answers, data)

    @override
    def prediction(self, answers: Answers, data: TaskData) -> Prediction | PredictionWithStates:
        return results.prediction(self, answers, data)

    def predict_proba(self, to_predict: Any, **kwargs: Any) -> pd.DataFrame:
        """Return probabilities, one column per label, in the order and under the index of the rows."""
        answers, data = self.answered(to_predict, kwargs)
        return rules.probability_frame(answers, self.labels, data.frame.index)
