"""What the tasks with labels share: where these come from, what each weighs, and words that have a place on a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from easytx.config.args_object import read_saved
from easytx.config.warn import warn_user
from easytx.core.base_model import BaseModel
from easytx.core.layout import Layout
from easytx.data.checks import counted, warn_about_imbalance
from easytx.data.labels import LabelMap, from_mapping
from easytx.errors import ArgumentError, LabelError
from easytx.training.weights import class_weights

if TYPE_CHECKING:
    import numpy as np

    from easytx.training.losses import LossFunction

logger = logging.getLogger(__name__)


class LabelledModel(BaseModel):
    """A model class whose head has one output per label.

    Labels come from the constructor, from `args.labels_list` or `args.labels_map`, from a checkpoint that has such
    a head, or else from the rows of the first training.
    """

    labels_exclude_each_other: bool = True
    gives_boxes: ClassVar[bool] = True

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        *,
        labels: Sequence[Any] | None = None,
        num_labels: int | None = None,
        weight: Any = None,
        **kwargs: Any,
    ) -> None:
        """Take labels and weights besides what `BaseModel` takes.

        Args:
            model_type: As for `BaseModel`.
            model_name: As for `BaseModel`.
            labels: All labels, in the order of the head's outputs.
            num_labels: How many labels there are.
            weight: A weight per label, as a list or a dict; "balanced" for the inverse of their frequency.
            **kwargs: As for `BaseModel`.

        Raises:
            ArgumentError: If num_labels is no whole number.
            LabelError: If labels and num_labels, or regression and num_labels, contradict each other.
        """
        if num_labels is not None and not hasattr(num_labels, "__index__"):
            raise ArgumentError(f"num_labels must be a whole number, but is {num_labels!r}.")
        super().__init__(model_type, model_name, **kwargs)
        if self.args.get("regression") and num_labels not in (None, 1):
            raise LabelError(
                f"num_labels is {num_labels}, but with regression=True there is one number per row: give 1."
            )
        self.weight = weight
        self._weights: list[float] | None = None
        self.num_labels = self._stated_number = num_labels
        stated = self._stated_labels(None if labels is None else list(labels))
        if stated is not None and num_labels not in (None, len(stated)):
            raise LabelError(
                f"num_labels is {num_labels}, but there are {len(stated)} labels: {stated.labels[:20]}. "
                "Leave num_labels out."
            )
        self._labels_are_fixed = stated is not None
        found = stated or self._labels_of_head()
        if found is not None and num_labels in (None, len(found)):
            self.labels = found
            self.num_labels = len(found)
        if stated is not None:
            self.set_labels(stated)

    @override
    def load_config(self, model_type: str | None) -> Any:
        config = super().load_config(model_type)
        self.layout = Layout.of(self.auto_class, config, name=self._name)
        self.columns = self.layout.columns(self.columns)
        self.tokenizer_options = self.layout.tokenizer_options(self.tokenizer_options)
        return config

    @override
    def load_tokenizer(self) -> Any:
        return self.layout.tokenizer(super().load_tokenizer())

    def learn_labels(self, values: Sequence[Any], *, name: str) -> LabelMap:
        """Return the label map for training, learnt from the labels of all rows unless it is known already.

        Raises:
            LabelError: If there is one class only, or the number of labels is not the stated one.
        """
        distinct = LabelMap.fit(values)
        if len(distinct) < 2 and self.labels_exclude_each_other:
            raise LabelError(
                f"{name} has one class only: {distinct.labels[0]!r} in all {counted(len(values), 'row')}. "
                "A classifier needs rows of two classes or more."
            )
        known = self.labels
        fixed = self._labels_are_fixed or self.trained
        if known is not None and (fixed or all(label in known for label in distinct.labels)):
            return known
        learnt = self._of_stated_number(distinct, name)
        if known is not None:
            logger.warning("The labels %s replace the checkpoint's own; the head is new.", learnt.labels[:20])
        self.set_labels(learnt)
        self.num_labels = len(learnt)
        return learnt

    def learn_number(self, number: int, *, name: str) -> None:
        """Take so many labels, whole numbers from 0, unless labels are known that stay.

        Raises:
            LabelError: If another number was stated.
        """
        if self.labels is None and self.num_labels not in (None, number):
            raise LabelError(
                f"num_labels is {self.num_labels}, but {name} has {number} labels a row. "
                "Leave num_labels out, or give one 0 or 1 per label."
            )
        if self.labels is None or not (self._labels_are_fixed or self.trained):
            self.set_labels(LabelMap.of_size(number))
            self.num_labels = number

    @property
    def loss_fct(self) -> LossFunction | None:
        """The loss in place of the model's own, or None."""
        return self.loss()

    def known_labels(self) -> LabelMap:
        """Return the label map; before any training, whole numbers for the outputs of the head."""
        if self.labels is None:
            self.set_labels(LabelMap.of_size(self.num_labels or self.config.num_labels))
        if self.labels is None:
            raise LabelError("there are no labels yet")
        return self.labels

    def set_labels(self, labels: LabelMap) -> None:
        """Take these labels, and have them saved with the arguments: the configuration holds names only."""
        if self.labels != labels:
            _warn_of_what_json_cannot_hold(labels)
        super().set_labels(labels)
        self.args = self.args.merged({"labels_list": labels.labels})

    def label_ids(self, values: Sequence[Any], split: str, name: str) -> np.ndarray:
        """Return the id of each row's label; in training, labels and weights are learnt here.

        Raises:
            LabelError: If a label is unknown, or training has one class only.
        """
        if split != "train":
            return self.known_labels().encode(values, name=name)
        known = self.learn_labels(values, name=name)
        ids = known.encode(values, name=name, known_from="an earlier training" if self.trained else "labels_list")
        warn_about_imbalance(known.counts(ids), name=name)
        self.weigh(ids)
        return ids

    def weigh(self, ids: np.ndarray) -> None:
        """Work out one weight per label, from the label ids of the training rows, or 0 and 1 per label."""
        if self.weight is not None:
            self._weights = class_weights(self.weight, ids, self.known_labels().labels)

    def label_weights(self) -> list[float] | None:
        """Return one weight per label; None for none, and for "balanced" before any training."""
        if self._weights is None and self.weight is not None and not isinstance(self.weight, str):
            self._weights = class_weights(self.weight, [], self.known_labels().labels)
        return self._weights

    def class_loss(self, kind: str) -> LossFunction | None:
        """Return the loss that weights, `loss_type` and label smoothing ask for, or None for the model's own.

        Args:
            kind: "single_label" for rows, "token" for tokens.
        """
        from easytx.training.losses import build_loss

        args = self.args
        smoothing, name, options = args.label_smoothing_factor, args["loss_type"], args["loss_args"]
        weights = self.label_weights()
        return build_loss(kind=kind, loss_type=name, loss_args=options, weight=weights, label_smoothing=smoothing)

    def _stated_labels(self, labels: Sequence[Any] | None) -> LabelMap | None:
        mapping, listed = self.args.get("labels_map"), self.args.get("labels_list")
        if labels is not None and listed and labels != list(listed):
            raise LabelError(f"labels is {labels}, but args.labels_list is {listed}. Give one of the two.")
        # A mapping that was saved has texts for keys; the list beside it has the labels themselves.
        stated = labels or listed or (from_mapping(mapping) if mapping else None)
        return LabelMap(stated) if stated else None

    def _labels_of_head(self) -> LabelMap | None:
        head = self.auto_class.removeprefix("AutoModel")
        if not any(name.endswith(head) for name in self.config.architectures or []):
            return None
        self._labels_are_fixed = read_saved(self.source()).get("model_class") is not None
        return LabelMap.from_config(self.config)

    def _of_stated_number(self, distinct: LabelMap, name: str) -> LabelMap:
        whole = all(type(label) is int and label >= 0 for label in distinct.labels)
        highest = max(distinct.labels) if whole else -1
        stated = self._stated_number
        if stated is None:
            return LabelMap.of_size(len(distinct)) if whole and highest + 1 == len(distinct) else distinct
        if whole and highest < stated:
            return LabelMap.of_size(stated)
        if len(distinct) != stated:
            remedy = (
                "set regression=True in args to predict numbers"
                if stated == 1
                else "list all labels in args.labels_list"
            )
            raise LabelError(
                f"num_labels is {stated}, but {name} has {len(distinct)} labels: {distinct.labels[:20]}. "
                f"Leave num_labels out, or {remedy}."
            )
        return distinct


def _warn_of_what_json_cannot_hold(labels: LabelMap) -> None:
    other = [label for label in labels.labels if not isinstance(label, (str, int, float, tuple))]
    if other:
        warn_user(
            f"Labels such as {other[0]!r} cannot be saved as they are: a model that is opened again answers with their "
            f"texts, here '{other[0]}'."
        )
