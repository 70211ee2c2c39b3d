"""One tag for every word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core.calls import Metric, custom_scores
from easytx.core.labelled import LabelledModel
from easytx.core.loading import check_max_length
from easytx.core.results import Prediction
from easytx.data.frames import Columns
from easytx.data.labels import LabelMap
from easytx.data.padding import Padding
from easytx.data.prepared import TaskData
from easytx.data.tokenise import read_by_word, window_overlap
from easytx.metrics.sequence import entity_scores
from easytx.ner import data as rules
from easytx.ner import judging, reading, windows
from easytx.ner.args import NERArgs
from easytx.ner.data import Answers
from easytx.ner.results import NEREvalResult, append_report, evaluation, prediction
from easytx.training.inference import Outputs, trimmed
from easytx.training.judged import Judged
from easytx.training.losses import IGNORED, LossFunction

if TYPE_CHECKING:
    from datasets import Dataset


class NERModel(LabelledModel):
    """Tag the words of sentences: every word gets one tag, however long its sentence is.

    Example:
        >>> model = NERModel("starter", args={"num_train_epochs": 3})
        >>> model.train_model(train_df)  # columns sentence_id, words, labels; one row a word
        >>> result, model_outputs, preds_list = model.eval_model(eval_df)
        >>> predictions, raw_outputs = model.predict(["Anna moved from Porto to Vienna"])
    """

    args_class: ClassVar[type[ModelArgs]] = NERArgs
    auto_class: ClassVar[str] = "AutoModelForTokenClassification"
    tokenizer_options: Mapping[str, Any] = {"add_prefix_space": True}
    columns: Columns = Columns(texts=(("words",),), optional=("sentence_id",))

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        labels: Sequence[Any] | None = None,
        weight: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `LabelledModel`; without `labels` they are learnt from the training rows, "O" first."""
        device = {"use_cuda": use_cuda, "cuda_device": cuda_device}
        super().__init__(model_type, model_name, labels=labels, weight=weight, args=args, **device, **kwargs)
        self.tokenizer = read_by_word(self.tokenizer)

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        given: dict[str, Any] = {"name": name, "args": self.args, "renames": renames, "beside": self.columns.beside}
        if split == "predict":
            return reading.untagged_sentences(rows, **given)
        return reading.tagged_sentences(rows, tags=None if self.labels is None else self.labels.labels, **given)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        check_max_length(self.args.max_seq_length, self.config, self.tokenizer, str(self.args.model_name))
        options = {"max_length": self.args.max_seq_length, "overlap": window_overlap(self.tokenizer, self.args) or 0}
        words, sizes = frame["words"].tolist(), [*map(len, frame["words"])]
        boxes = self.layout.boxes(frame, words, name=name, row=rules.caller_rows(frame))
        ids = None if split == "predict" else self.tag_ids(frame, split, name)
        made_from = (chain.from_iterable(words), sizes, () if ids is None else ids.tolist(), options["overlap"])
        features = self.cached(lambda: windows.encode_words(self.tokenizer, words, ids, **options), split, *made_from)
        return self.layout.placed(features, boxes, self.tokenizer)

    def tag_ids(self, frame: pd.DataFrame, split: str, name: str) -> np.ndarray:
        """Return the label id of every word; in training, labels and weights are learnt here."""
        if split != "train":
            return rules.tag_ids(frame, self.known_labels(), name=name)
        labels = self.learn_labels(rules.several_tags(frame, self.compared(frame), name=name), name=name)
        self.weigh(ids := rules.tag_ids(frame, labels, name=name))
        return ids

    def _of_stated_number(self, distinct: LabelMap, name: str) -> LabelMap:
        return LabelMap(rules.in_order(super()._of_stated_number(distinct, name).labels))

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        return Padding(self.tokenizer, labels=IGNORED)

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        return trimmed(outputs.logits, batch["attention_mask"])

    @override
    def loss(self) -> LossFunction:
        return self.class_loss("token") or rules.cross_entropy

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> Answers:
        return rules.answers(outputs.values, data, self.known_labels())

    @override
    def score(self, answers: Answers, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        truth, logits = data.frame["labels"].tolist(), answers.listed_logits if metrics else None
        return {**entity_scores(truth, answers.tags), **custom_scores(metrics, truth, answers.tags, logits)}

    @override
    def write(self, folder: Path, result: dict[str, Any], answers: Answers, data: TaskData) -> None:
        super().write(folder, result, answers, data)
        if self.args["classification_report"]:
            append_report(folder / "eval_results.txt", data.frame, answers)

    @override
    def evaluation(self, result: dict[str, Any], answers: Answers, data: TaskData) -> NEREvalResult:
        return evaluation(result, data.frame, answers)

    @override
    def judged(self, answers: Answers, data: TaskData) -> Judged:
        return judging.judged(answers, data.frame, self.known_labels())

    @override
    def predict(self, to_predict: Any, split_on_space: bool = True, **kwargs: Any) -> Any:
        """Tag each word of each sentence; see `BaseModel.predict`.

        Args:
            to_predict: Texts, which are split at white space, or lists of words; or rows as for `train_model`.
            split_on_space: False refuses texts: each row must be a list of words.
            **kwargs: `words_column=`, `sentence_id_column=`, where they differ.
        """
        if not split_on_space:
            reading.refuse_texts(to_predict, name="to_predict")
        return super().predict(to_predict, **kwargs)

    @override
    def prediction(self, answers: Answers, data: TaskData) -> Prediction:
        return prediction(data.frame, answers)
