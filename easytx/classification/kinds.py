"""What a classifier answers for a row: one class, a number, or any number of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.classification import data as rules
from easytx.classification.data import Answers
from easytx.classification.reranking import scores_of_ranking
from easytx.data.prepared import TaskData
from easytx.errors import LabelError
from easytx.metrics.classification import (
    classification_scores,
    multi_label_scores,
    per_class_table,
    per_label_table,
    regression_scores,
)
from easytx.training.losses import LossFunction, build_loss

if TYPE_CHECKING:
    from easytx.classification.model import ClassificationModel


class OneClass:
    """One class a row. The other kinds say what is different with them."""

    def head_config(self, model: ClassificationModel) -> dict[str, Any]:
        """Return what the head needs in the model's configuration."""
        return {**model.known_labels().for_config(), "problem_type": "single_label_classification"}

    def targets(self, model: ClassificationModel, labels: pd.Series, split: str, name: str) -> np.ndarray:
        """Return what the model learns for each row; in training, labels and weights are learnt here.

        Raises:
            LabelError: If something is wrong with the labels.
        """
        return model.label_ids(rules.classes(labels, name=name), split, name)

    def loss(self, model: ClassificationModel) -> LossFunction | None:
        """Return a loss in place of the model's own, or None."""
        return model.class_loss("single_label")

    def answers(self, model: ClassificationModel, logits: np.ndarray, windows: list[np.ndarray]) -> Answers:
        """Return what logits say: those of rows, of shape (rows, labels), and those of each row's windows."""
        return rules.single_answers(logits, windows, model.args)

    def scores(self, model: ClassificationModel, answers: Answers, data: TaskData) -> dict[str, Any]:
        """Return the scores of answers; with `as_reranker` those of rankings too."""
        truth = rules.targets_of(data)
        own = classification_scores(truth, answers.logits, predictions=answers.predicted)
        return {**own, **scores_of_ranking(model, answers, truth, data.frame)}

    def for_metrics(self, answers: Answers) -> tuple[np.ndarray, np.ndarray]:
        """Return what custom metrics get: predictions, and the outputs behind them."""
        return answers.predicted, answers.logits

    def table(self, model: ClassificationModel, answers: Answers, truth: np.ndarray) -> pd.DataFrame:
        """Return precision, recall, F1 and support of each label."""
        return per_class_table(truth, answers.predicted, model.known_labels().names)

    def labels(self, model: ClassificationModel, answers: Answers) -> Any:
        """Return the answers as the user's own labels: an array for whole numbers from 0, else a list."""
        known = model.known_labels()
        return answers.predicted if known.is_range else known.decode(answers.predicted)

    def raw(self, model: ClassificationModel, answers: Answers) -> Any:
        """Return the logits: of shape (rows, labels), or with windows one array of shape (windows, labels) a row."""
        return answers.windows if model.args["sliding_window"] else answers.logits


class Number(OneClass):
    """A number a row, which is regression."""

    @override
    def head_config(self, model: ClassificationModel) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    @override
    def targets(self, model: ClassificationModel, labels: pd.Series, split: str, name: str) -> np.ndarray:
        return rules.numbers(labels, name=name)

    @override
    def loss(self, model: ClassificationModel) -> LossFunction | None:
        return None

    @override
    def answers(self, model: ClassificationModel, logits: np.ndarray, windows: list[np.ndarray]) -> Answers:
        return rules.regression_answers(logits, windows)

    @override
    def scores(self, model: ClassificationModel, answers: Answers, data: TaskData) -> dict[str, Any]:
        truth = rules.targets_of(data)
        own = regression_scores(truth, answers.predicted)
        return {**own, **scores_of_ranking(model, answers, truth, data.frame)}

    @override
    def labels(self, model: ClassificationModel, answers: Answers) -> Any:
        return answers.predicted

    @override
    def raw(self, model: ClassificationModel, answers: Answers) -> Any:
        return answers.windows if model.args["sliding_window"] else answers.logits[:, 0]


class ManyLabels(OneClass):
    """Any number of labels a row, of a model with the arguments of MultiLabelClassificationArgs."""

    @override
    def head_config(self, model: ClassificationModel) -> dict[str, Any]:
        return {**model.known_labels().for_config(), "problem_type": "multi_label_classification"}

    @override
    def targets(self, model: ClassificationModel, labels: pd.Series, split: str, name: str) -> np.ndarray:
        lists, vectors = rules.label_lists(labels, name=name)
        if split == "train":
            model.args = model.args.merged({"predict_names": not vectors})
            if vectors:
                model.learn_number(len(lists[0]), name=name)
            elif any(lists):
                model.learn_labels([label for row in lists for label in row], name=name)
            else:
                raise LabelError(f"{name} has no label in any row.")
        rules.checked_threshold(model.args["threshold"], len(model.known_labels()))
        matrix = rules.label_matrix(lists, vectors, model.known_labels(), name=name)
        if split == "train":
            rules.refuse_one_answer(matrix, model.known_labels(), name=name)
            model.weigh(matrix)
        return matrix

    @override
    def loss(self, model: ClassificationModel) -> LossFunction | None:
        args, weights = model.args, model.label_weights()
        smoothing = args.label_smoothing_factor
        return build_loss(
            kind="multi_label", loss_type=args["loss_type"], pos_weight=weights, label_smoothing=smoothing
        )

    @override
    def answers(self, model: ClassificationModel, logits: np.ndarray, windows: list[np.ndarray]) -> Answers:
        return rules.multi_label_answers(logits, windows, model.args["threshold"])

    @override
    def scores(self, model: ClassificationModel, answers: Answers, data: TaskData) -> dict[str, Any]:
        return multi_label_scores(rules.targets_of(data), answers.probabilities, model.args["threshold"])

    @override
    def for_metrics(self, answers: Answers) -> tuple[np.ndarray, np.ndarray]:
        return answers.probabilities, answers.probabilities

    @override
    def table(self, model: ClassificationModel, answers: Answers, truth: np.ndarray) -> pd.DataFrame:
        return per_label_table(truth, answers.probabilities, model.args["threshold"], model.known_labels().names)

    @override
    def labels(self, model: ClassificationModel, answers: Answers) -> Any:
        if not model.args["predict_names"]:
            return answers.predicted.tolist()
        return [model.known_labels().decode(np.flatnonzero(row)) for row in answers.predicted]

    @override
    def raw(self, model: ClassificationModel, answers: Answers) -> Any:
        return answers.probabilities


ONE_CLASS, NUMBER, MANY_LABELS = OneClass(), Number(), ManyLabels()
