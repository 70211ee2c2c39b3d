"""What the tasks with labels share: where the labels come from, and what each of them weighs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from easytx.config.args_object import read_saved
from easytx.core.base_model import BaseModel
from easytx.data.checks import counted
from easytx.data.labels import LabelMap, from_mapping
from easytx.errors import LabelError

logger = logging.getLogger(__name__)


class LabelledModel(BaseModel):
    """A model class whose head has one output per label.

    Labels come from the constructor, from `args.labels_list` or `args.labels_map`, from a checkpoint that has such
    a head, or else from the rows of the first training.
    """

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
            LabelError: If labels and num_labels contradict each other.
        """
        super().__init__(model_type, model_name, **kwargs)
        self.weight = weight
        self.num_labels = num_labels
        stated = self._stated_labels(labels)
        if stated is not None and num_labels not in (None, len(stated)):
            raise LabelError(f"num_labels is {num_labels}, but there are {len(stated)} labels: {stated.labels[:20]}.")
        self._labels_are_fixed = stated is not None
        found = stated or self._labels_of_head()
        if found is not None and num_labels in (None, len(found)):
            self.labels = found
            self.num_labels = len(found)

    def learn_labels(self, values: Sequence[Any], *, name: str) -> LabelMap:
        """Return the label map for training, learnt from the labels of all rows unless it is known already.

        Raises:
            LabelError: If there is one class only, or the number of labels is not the stated one.
        """
        distinct = LabelMap.fit(values)
        if len(distinct) < 2:
            raise LabelError(
                f"{name} has one class only: {distinct.labels[0]!r} in all {counted(len(values), 'row')}. "
                "A classifier needs rows of two classes or more."
            )
        known = self.labels
        if known is not None and (self._labels_are_fixed or all(label in known for label in distinct.labels)):
            return known
        learnt = self._of_stated_number(distinct, name)
        if known is not None:
            logger.warning("The labels %s replace the checkpoint's own; the head is new.", learnt.labels[:20])
        self.set_labels(learnt)
        self.num_labels = len(learnt)
        return learnt

    def known_labels(self) -> LabelMap:
        """Return the label map; before any training, whole numbers for the outputs of the head."""
        if self.labels is None:
            self.set_labels(LabelMap.of_size(self.num_labels or self.config.num_labels))
        if self.labels is None:
            raise LabelError("there are no labels yet")
        return self.labels

    def set_labels(self, labels: LabelMap) -> None:
        """Take these labels, and have them saved with the arguments where the configuration cannot hold them."""
        super().set_labels(labels)
        if not labels.is_range:
            self.args = self.args.merged({"labels_list": labels.labels})

    def _stated_labels(self, labels: Sequence[Any] | None) -> LabelMap | None:
        mapping, listed = self.args.get("labels_map"), self.args.get("labels_list")
        if labels is not None and listed and list(labels) != list(listed):
            raise LabelError(f"labels is {list(labels)}, but args.labels_list is {listed}. Give one of the two.")
        stated = labels or (from_mapping(mapping) if mapping else listed)
        return LabelMap(stated) if stated else None

    def _labels_of_head(self) -> LabelMap | None:
        head = self.auto_class.removeprefix("AutoModel")
        if not any(name.endswith(head) for name in self.config.architectures or []):
            return None
        self._labels_are_fixed = "model_class" in read_saved(self._source)
        return LabelMap.from_config(self.config)

    def _of_stated_number(self, distinct: LabelMap, name: str) -> LabelMap:
        whole = all(type(label) is int and label >= 0 for label in distinct.labels)
        highest = max(distinct.labels) if whole else -1
        if self.num_labels is None:
            return LabelMap.of_size(len(distinct)) if whole and highest + 1 == len(distinct) else distinct
        if whole and highest < self.num_labels:
            return LabelMap.of_size(self.num_labels)
        if len(distinct) != self.num_labels:
            raise LabelError(
                f"num_labels is {self.num_labels}, but {name} has {len(distinct)} labels: {distinct.labels[:20]}. "
                "Leave num_labels out, or list all labels in args.labels_list."
            )
        return distinct
