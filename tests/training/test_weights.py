"""Class weights: from a rule, a list or a mapping."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from easytx.errors import ArgumentError
from easytx.training.weights import class_weights

NAMES = ["neg", "neutral", "pos"]


def test_balanced_by_hand() -> None:
    # 6 rows, 2 labels occur: 6 / (2 * 4) and 6 / (2 * 2).
    assert class_weights("balanced", [0, 0, 0, 0, 2, 2], NAMES) == [0.75, 1.0, 1.5]


def test_balanced_is_scikit_learns() -> None:
    ids = np.random.default_rng(0).integers(0, 3, size=50)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=ids)
    assert class_weights("balanced", ids, NAMES) == pytest.approx(expected.tolist())


def test_balanced_ignores_what_has_no_label() -> None:
    assert class_weights("balanced", [0, -100, 1, -100, 1, 1], ["a", "b"]) == [2.0, 4 / 6]
    assert class_weights("balanced", [], ["a", "b"]) == [1.0, 1.0]


def test_balanced_presences_by_hand() -> None:
    # Of 4 rows 1, 4 and 0 have the label: absences / presences, and no weight is 0 or infinite.
    matrix = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert class_weights("balanced", matrix, NAMES) == [3.0, 0.001, 4.0]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_one_number_per_label(kind: Any) -> None:
    assert class_weights(kind([1.0, 2.0, 0.5]), [], NAMES) == [1.0, 2.0, 0.5]


def test_a_mapping_may_leave_labels_out() -> None:
    assert class_weights({"pos": 3}, [], NAMES) == [1.0, 1.0, 3.0]


def test_a_mapping_may_name_numbered_labels_either_way() -> None:
    assert class_weights({1: 5.0}, [], ["0", "1"]) == class_weights({"1": 5.0}, [], [0, 1]) == [1.0, 5.0]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("balance", "weight must be 'balanced' or one number per label, but is 'balance'."),
        (
            {"positive": 2.0},
            "weight names ['positive'], but the labels are 'neg', 'neutral', 'pos'. Correct or remove these.",
        ),
        (
            [1.0, 2.0],
            "weight needs 3 numbers, one for each of the labels 'neg', 'neutral', 'pos', but has 2. "
            "Give one number per label, a mapping from label to number, or 'balanced'.",
        ),
        (["a", "b", "c"], "weight must be a list of numbers, one per label, but is ['a', 'b', 'c']."),
        (2.0, "weight must be a flat list of numbers, but has shape ()."),
        (np.ones((3, 1)), "weight must be a flat list of numbers, but has shape (3, 1)."),
    ],
)
def test_weights_that_do_not_fit(weight: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        class_weights(weight, [], NAMES)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_above_zero_and_finite(bad: float) -> None:
    message = f"weight must be above zero and finite for every label, but is {bad} at position 1. "
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        class_weights([1.0, bad, 1.0], [], NAMES)


def test_ids_without_a_label() -> None:
    with pytest.raises(ArgumentError, match=r"^There are 3 labels, but label_ids reach 3\.$"):
        class_weights("balanced", [0, 3], NAMES)
