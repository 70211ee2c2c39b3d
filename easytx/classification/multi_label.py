"""Any number of labels per text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.classification import data as rules
from easytx.classification.args import MultiLabelClassificationArgs
from easytx.classification.data import Answers
from easytx.classification.model import ClassificationModel
from easytx.config.model_args import ModelArgs
from easytx.core.calls import Metric, custom_scores, with_multi_label_second
from easytx.data.labels import LabelMap
from easytx.data.prepared import TaskData
from easytx.errors import LabelError
from easytx.metrics.classification import multi_label_scores, per_label_table
from easytx.training.inference import Outputs
from easytx.training.losses import LossFunction, build_loss


class MultiLabelClassificationModel(ClassificationModel):
    """Give each text as many labels as fit.

    Labels are lists of 0 and 1, one per label, or lists of label names; predictions come in the same form.

    Example:
        >>> model = MultiLabelClassificationModel("starter")
        >>> model.train_model(train_df)  # columns text and labels, such as ["food", "travel"]
        >>> predictions, probabilities = model.predict(["Ate my way through Lisbon"])
    """

    args_class: ClassVar[type[ModelArgs]] = MultiLabelClassificationArgs
    labels_exclude_each_other: bool = False

    train_model = with_multi_label_second(
        ClassificationModel.train_model, "eval_data", "output_dir", "show_running_loss", "args", "verbose"
    )

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        num_labels: int | None = None,
        pos_weight: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `LabelledModel`; `pos_weight` says, per label, how much more its presence counts than its absence."""
        super().__init__(
            model_type,
            model_name,
            num_labels=num_labels,
            weight=pos_weight,
            args=args,
            use_cuda=use_cuda,
            cuda_device=cuda_device,
            **kwargs,
        )

    @property
    def pos_weight(self) -> Any:
        """How much more the presence of each label counts than its absence, as it was given."""
        return self.weight

    @override
    def head_config(self) -> dict[str, Any]:
        return {**self.known_labels().for_config(), "problem_type": "multi_label_classification"}

    @override
    def targets(self, labels: pd.Series, split: str, name: str) -> np.ndarray:
        lists, vectors = rules.label_lists(labels, name=name)
        if split == "train":
            self.args = self.args.merged({"predict_names": not vectors})
            self._learn(lists, vectors, name)
        rules.checked_threshold(self.args["threshold"], len(self.known_labels()))
        matrix = rules.label_matrix(lists, vectors, self.known_labels(), name=name)
        if split == "train":
            rules.refuse_one_answer(matrix, self.known_labels(), name=name)
            self.weigh(matrix)
        return matrix

    @override
    def weigh(self, ids: np.ndarray) -> None:
        if isinstance(self.weight, str) and self.weight == "balanced":
            positive = ids.sum(axis=0)
            self._weights = ((len(ids) - positive) / np.maximum(positive, 1)).clip(min=1e-3).tolist()
        else:
            super().weigh(ids)

    def _learn(self, lists: list[tuple[Any, ...]], vectors: bool, name: str) -> None:
        if vectors:
            if self.labels is None and self.num_labels not in (None, len(lists[0])):
                raise LabelError(
                    f"num_labels is {self.num_labels}, but {name} has {len(lists[0])} labels a row. "
                    "Leave num_labels out, or give one 0 or 1 per label."
                )
            if self.labels is None or not (self._labels_are_fixed or self.trained):
                self.set_labels(LabelMap.of_size(len(lists[0])))
                self.num_labels = len(lists[0])
            return
        if not any(lists):
            raise LabelError(f"{name} has no label in any row.")
        self.learn_labels([label for row in lists for label in row], name=name)

    @override
    def loss(self) -> LossFunction | None:
        return build_loss(
            kind="multi_label",
            loss_type=self.args["loss_type"],
            pos_weight=self.label_weights(),
            label_smoothing=self.args.label_smoothing_factor,
        )

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> Answers:
        logits, windows = rules.by_row(outputs.values, data.features_of_rows())
        return rules.multi_label_answers(logits, windows, self.args["threshold"])

    @override
    def score(self, answers: Answers, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        truth = rules.targets_of(data)
        own = multi_label_scores(truth, answers.probabilities, self.args["threshold"])
        return {**own, **custom_scores(metrics, truth, answers.probabilities, answers.probabilities)}

    @override
    def table(self, truth: np.ndarray, answers: Answers) -> pd.DataFrame:
        return per_label_table(truth, answers.probabilities, self.args["threshold"], self.known_labels().names)

    @override
    def answer_labels(self, answers: Answers) -> Any:
        if not self.args["predict_names"]:
            return answers.predicted.tolist()
        return [self.known_labels().decode(np.flatnonzero(row)) for row in answers.predicted]

    @override
    def raw(self, answers: Answers) -> Any:
        return answers.probabilities
