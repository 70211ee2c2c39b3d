"""How much each label counts in a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from easytx.errors import ArgumentError

__all__ = ["Weights", "class_weights", "fitted", "weight_tensor"]

Weights: TypeAlias = Sequence[float] | np.ndarray | torch.Tensor

# Names listed in a message before it says "...".
SHOWN = 20


def class_weights(
    weight: str | Mapping[Any, float] | Weights, label_ids: Sequence[int] | np.ndarray, names: Sequence[Any]
) -> list[float]:
    """Return one weight per label, in the order of `names`.

    Args:
        weight: "balanced"; one number per label; or a mapping from label to number, where a label left out
            counts 1.
        label_ids: The labels of the training rows, of shape (rows,), read for "balanced" only; negative ids
            are ignored. A label's weight is then rows / (labels that occur * rows of this label), the rule of
            King & Zeng 2001 that scikit-learn follows too, and 1 for a label that does not occur. Or 0 and 1, of
            shape (rows, labels): the weight of a label's presence is then rows without it / rows with it.
        names: The label of each id.

    Raises:
        ArgumentError: `weight` names an unknown label, has the wrong length, or is not above zero everywhere.
    """
    if isinstance(weight, str):
        if weight != "balanced":
            raise ArgumentError(f"weight must be 'balanced' or one number per label, but is {weight!r}.")
        ids = np.asarray(label_ids, dtype=np.int64)
        return _presences(ids) if ids.ndim == 2 else _balanced(ids.ravel(), len(names))
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    if isinstance(weight, Mapping):
        # Labels read from a file are text where the caller may write numbers.
        positions = {str(name): position for position, name in enumerate(names)}
        unknown = [label for label in weight if str(label) not in positions]
        if unknown:
            raise ArgumentError(f"weight names {unknown}, but the labels are {shown}. Correct or remove these.")
        by_position = {positions[str(label)]: value for label, value in weight.items()}
        weight = [by_position.get(position, 1.0) for position in range(len(names))]
    count = len(weight_tensor("weight", weight))
    if count != len(names):
        raise ArgumentError(
            f"weight needs {len(names)} numbers, one for each of the labels {shown}, but has {count}. "
            "Give one number per label, a mapping from label to number, or 'balanced'."
        )
    return [float(value) for value in weight]


def weight_tensor(name: str, weight: Weights) -> torch.Tensor:
    """Return `weight` as a new float32 tensor of shape (labels,).

    Raises:
        ArgumentError: It is not a flat list of finite numbers above zero.
    """
    try:
        values = torch.as_tensor(weight, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be a list of numbers, one per label, but is {weight!r}.") from error
    if values.ndim != 1:
        raise ArgumentError(f"{name} must be a flat list of numbers, but has shape {tuple(values.shape)}.")
    for position, value in enumerate(values.tolist()):
        if not (value > 0 and math.isfinite(value)):
            raise ArgumentError(
                f"{name} must be above zero and finite for every label, but is {value} at position "
                f"{position}. To leave the rows of a label out, remove them from the training data."
            )
    return values


def fitted(name: str, weight: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return `weight` on the device and in the precision of `logits`.

    Raises:
        ArgumentError: `logits` has another number of labels.
    """
    if len(weight) != logits.shape[-1]:
        raise ArgumentError(
            f"{name} needs one number per label, here {logits.shape[-1]}, but has {len(weight)}. "
            f"Give {logits.shape[-1]} numbers."
        )
    return weight.to(device=logits.device, dtype=logits.dtype)


def _balanced(ids: np.ndarray, labels: int) -> list[float]:
    counts = np.bincount(ids[ids >= 0], minlength=labels)
    if len(counts) > labels:
        raise ArgumentError(f"There are {labels} labels, but label_ids reach {len(counts) - 1}.")
    present = counts > 0
    weights = np.ones(labels)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return [float(value) for value in weights]


def _presences(matrix: np.ndarray) -> list[float]:
    present = matrix.sum(axis=0)
    weights = (len(matrix) - present) / np.maximum(present, 1)
    return [float(value) for value in weights.clip(min=1e-3)]
