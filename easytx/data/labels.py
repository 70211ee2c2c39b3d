"""Labels as the user wrote them, and the numbers a model needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from easytx.data.checks import counted, rows
from easytx.errors import LabelError

_PLACEHOLDER = re.compile(r"LABEL_(\d+)")


class LabelMap:
    """A fixed order of labels: id <-> label.

    Labels are whatever the user has: strings, whole numbers, booleans, any hashable.
    """

    def __init__(self, labels: Iterable[Any]) -> None:
        """Keep the labels in the given order.

        Raises:
            LabelError: If a label is there twice, or cannot be hashed.
        """
        self.labels: list[Any] = [plain(label) for label in labels]
        twice = [label for label, number in Counter(_key(label) for label in self.labels).items() if number > 1]
        if twice:
            raise LabelError(f"labels must differ, but {twice[0][1]!r} is there twice.")
        self._ids = {_key(label): i for i, label in enumerate(self.labels)}

    @classmethod
    def fit(cls, values: Iterable[Any]) -> LabelMap:
        """Return the map of all distinct values: numbers in their order, then texts in theirs."""
        distinct = {_key(value): plain(value) for value in values}
        return cls(sorted(distinct.values(), key=_order))

    @classmethod
    def of_size(cls, number: int) -> LabelMap:
        """Return the map of the whole numbers from 0."""
        return cls(range(number))

    @classmethod
    def from_config(cls, config: Any) -> LabelMap:
        """Return the map a model's configuration holds; placeholders such as LABEL_0 stand for whole numbers."""
        names = [config.id2label[i] for i in sorted(config.id2label)]
        matches = [_PLACEHOLDER.fullmatch(str(name)) for name in names]
        if all(match is not None and int(match.group(1)) == i for i, match in enumerate(matches)):
            return cls.of_size(len(names))
        return cls(names)

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        """Tell whether the other map has the same labels in the same order."""
        return isinstance(other, LabelMap) and [*map(_key, self.labels)] == [*map(_key, other.labels)]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return the labels."""
        return f"LabelMap({self.labels!r})"

    def __contains__(self, label: Any) -> bool:
        """Tell whether the label is known."""
        return self._id(label) >= 0

    @property
    def is_range(self) -> bool:
        """Whether the labels are the whole numbers from 0, in order."""
        return self.labels == list(range(len(self))) and not any(isinstance(label, bool) for label in self.labels)

    @property
    def names(self) -> list[str]:
        """The labels as texts, in order."""
        return [str(label) for label in self.labels]

    def for_config(self) -> dict[str, Any]:
        """Return `num_labels`, `id2label`, `label2id` for a model's configuration."""
        names = [f"LABEL_{i}" for i in range(len(self))] if self.is_range else self.names
        return {
            "num_labels": len(self),
            "id2label": dict(enumerate(names)),
            "label2id": {name: i for i, name in enumerate(names)},
        }

    def encode(self, values: Sequence[Any], *, name: str, known_from: str = "training") -> np.ndarray:
        """Return the ids of labels, int64 of shape (rows,).

        Raises:
            LabelError: Naming labels that the map does not have, with their rows.
        """
        ids = np.fromiter(map(self._id, values), dtype=np.int64, count=len(values))
        unknown = np.flatnonzero(ids < 0).tolist()
        if unknown:
            strange = list(dict.fromkeys(repr(plain(values[i])) for i in unknown))
            raise LabelError(
                f"{name} has {counted(len(unknown), 'row')} with labels that {known_from} did not have: "
                f"{', '.join(strange[:5])} ({rows(unknown)}). Known labels are {self.labels[:20]}."
            )
        return ids

    def _id(self, label: Any) -> int:
        """Return the id of a label, or -1 for one that is not known."""
        return self._ids.get(_key(label), -1) if isinstance(label, Hashable) else -1

    def decode(self, ids: Iterable[int]) -> list[Any]:
        """Return the labels of ids."""
        return [self.labels[int(i)] for i in ids]

    def counts(self, ids: np.ndarray) -> dict[Any, int]:
        """Return how many rows each label has, labels without rows left out."""
        numbers = np.bincount(ids, minlength=len(self))
        return {label: int(number) for label, number in zip(self.labels, numbers, strict=True) if number}


def plain(value: Any) -> Any:
    """Return a scalar of numpy or torch as the Python value, a list as a tuple, anything else as it is."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return tuple(value) if isinstance(value, list) else value


def from_mapping(labels_map: Mapping[Any, int]) -> list[Any]:
    """Return the labels of a label -> id mapping in the order of their ids.

    Raises:
        LabelError: If the ids are not the whole numbers from 0.
    """
    if sorted(labels_map.values()) != list(range(len(labels_map))):
        raise LabelError(f"labels_map must number its labels from 0 without gaps, but has {dict(labels_map)}.")
    return sorted(labels_map, key=lambda label: labels_map[label])


def _key(label: Any) -> tuple[str, Any]:
    value = plain(label)
    # 1, 1.0 and True are equal in Python; 1 and 1.0 are the same label to a user, True is another.
    return ("bool" if isinstance(value, bool) else "", value)


def _order(label: Any) -> tuple[int, Any]:
    if isinstance(label, (bool, int, float)):
        return (0, (label, isinstance(label, bool)))
    if isinstance(label, str):
        return (1, label)
    return (2, str(label))
