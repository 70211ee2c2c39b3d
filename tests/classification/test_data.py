"""Labels of rows as numbers, and outputs of windows as answers for rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from easytx.classification import ClassificationArgs
from easytx.classification import data as rules
from easytx.core.results import InputExample
from easytx.data.labels import LabelMap
from easytx.errors import ArgumentError, LabelError


def _column(values: list[Any]) -> pd.Series:
    return pd.Series(values, name="labels", index=range(10, 10 + len(values)), dtype=object)


def _logits(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ([1, 3], [1, 3]),
        ([1.0, 2.0], [1, 2]),
        ([np.int64(1), np.float64(2.0), np.str_("x"), np.bool_(True)], [1, 2, "x", True]),
        ([True, False], [True, False]),
        ([torch.tensor(1), np.array(3)], [1, 3]),
        ([("a", 1), ("b", 2)], [("a", 1), ("b", 2)]),
    ],
)
def test_classes_are_plain_values(values: list[Any], expected: list[Any]) -> None:
    found = rules.classes(_column(values), name="train_df")
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]
    categories = pd.Series(["b", "a"], dtype="category")
    assert rules.classes(categories, name="train_df") == ["b", "a"]


def _refusal(function: Any, values: list[Any]) -> str:
    with pytest.raises(LabelError) as refused:
        function(_column(values), name="train_df")
    return str(refused.value)


@pytest.mark.parametrize("function", [rules.classes, rules.numbers])
@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_label_is_refused_with_its_row(function: Any, missing: Any) -> None:
    assert _refusal(function, [1, missing, 0, missing]) == (
        "train_df has no label in 2 rows of the column 'labels': rows 1, 3. "
        "Fill or drop them, for example train_df.dropna(subset=['labels'])."
    )


def test_fractions_are_no_classes() -> None:
    assert _refusal(rules.classes, [1.0, 0.5, 0.25]) == (
        "train_df has numbers such as 0.5 where classes are expected (rows 1, 2). "
        "To predict numbers, set regression=True in args and num_labels=1."
    )


@pytest.mark.parametrize(
    ("value", "kind"), [([1, 0], "a list"), ((1, 0), "a tuple"), ({"a"}, "a set"), (np.ones(2), "an ndarray")]
)
def test_several_labels_are_no_class(value: Any, kind: str) -> None:
    assert _refusal(rules.classes, ["a", value]) == (
        f"train_df has {kind} where one class a row is expected (row 1). "
        "For several labels a row use MultiLabelClassificationModel."
    )


def test_numbers_are_floats() -> None:
    found = rules.numbers(_column([1, 0.5, np.float32(2), np.int64(-1)]), name="train_df")
    assert found.dtype == np.float32
    assert found.tolist() == [1, 0.5, 2, -1]


@pytest.mark.parametrize(
    ("value", "shown", "remedy"),
    [
        ("high", "'high'", "To predict classes, leave regression=False."),
        (True, "True", "To predict classes, leave regression=False."),
        ("nan", "'nan'", "To predict classes, leave regression=False."),
        ("1.5", "'1.5'", "Make numbers of texts, for example train_df['labels'].astype(float)."),
        (float("inf"), "inf", "Replace or drop it."),
        (float("-inf"), "-inf", "Replace or drop it."),
    ],
)
def test_what_is_no_number_is_refused(value: Any, shown: str, remedy: str) -> None:
    assert _refusal(rules.numbers, [0.5, value]) == (
        f"train_df has {shown} where a number is expected (row 1). {remedy}"
    )


@pytest.mark.parametrize(
    ("values", "expected", "vectors"),
    [
        ([[1, 0], (0, 0)], [(1, 0), (0, 0)], True),
        ([np.array([1, 0]), [True, 0.0]], [(1, 0), (1, 0)], True),
        (["[1, 0]", " [0, 1]"], [(1, 0), (0, 1)], True),
        ([["food"], [], ["travel", "food"]], [("food",), (), ("travel", "food")], False),
        ([torch.tensor([1, 0]), pd.Series([0, 1])], [(1, 0), (0, 1)], True),
        (["[true, false]", "[True, False]"], [(True, False), (True, False)], True),
        (['["it\'s"]', "['a', 'b']"], [("it's",), ("a", "b")], False),
        (["['food', 'travel']", "[]"], [("food", "travel"), ()], False),
        ([["0"], ["1"]], [("0",), ("1",)], False),
        ([[2, 3]], [(2, 3)], False),
        ([[], []], [(), ()], False),
    ],
)
def test_lists_of_labels_are_vectors_or_names(values: list[Any], expected: list[Any], vectors: bool) -> None:
    assert rules.label_lists(_column(values), name="train_df") == (expected, vectors)


@pytest.mark.parametrize("value", ["food", 1, None, np.nan, "[1, 0", {"a"}])
def test_a_row_without_a_list_is_refused(value: Any) -> None:
    assert _refusal(rules.label_lists, [[1, 0], value]) == (
        "train_df has no list of labels in 1 row of the column 'labels': row 1. "
        "Give a list of 0 and 1, one per label, or a list of label names."
    )


def test_a_missing_label_in_a_list_is_refused_with_its_row() -> None:
    assert _refusal(rules.label_lists, [[1, 0], [1, None], [np.nan, 1.0]]) == (
        "train_df has lists with a missing label, such as [1, None] (rows 1, 2). "
        "Fill them with 1 or 0, or leave the name out."
    )


def test_vectors_with_other_numbers_than_0_and_1_are_refused() -> None:
    assert _refusal(rules.label_lists, [[1, 0, 1], [0, 0, 2], [1, -1, 1], [0, 0, 0]]) == (
        "train_df has lists with other numbers than 0 and 1, such as [0, 0, 2] (rows 1, 2). "
        "A label is there or not: give 1 or 0. A list of label names holds no name twice."
    )


def test_vectors_of_different_lengths_are_refused() -> None:
    assert _refusal(rules.label_lists, [[1, 0], [0, 1], [1, 0, 1], [1]]) == (
        "train_df has label lists of different lengths: 2 in row 0, but 3 in rows 2, 3. "
        "Each row needs one 0 or 1 per label."
    )


def test_shares_of_labels_are_refused() -> None:
    assert _refusal(rules.label_lists, [[1.0, 0.0], [0.2, 0.8]]) == (
        "train_df has lists of labels with fractions, such as [0.2, 0.8] (row 1). A label is there or not: give 1 or 0."
    )


def test_names_and_vectors_become_the_same_matrix() -> None:
    labels = LabelMap(["food", "travel", "music"])
    by_name = rules.label_matrix([("travel",), (), ("music", "food")], False, labels, name="train_df")
    by_vector = rules.label_matrix([(0, 1, 0), (0, 0, 0), (1, 0, 1)], True, labels, name="train_df")
    assert by_name.tolist() == by_vector.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert by_name.dtype == by_vector.dtype == np.float32


def test_unknown_names_and_vectors_of_another_length_are_refused() -> None:
    labels = LabelMap(["food", "travel"])
    with pytest.raises(LabelError) as refused:
        rules.label_matrix([("food",), ("pets", "cars"), (), ("pets",)], False, labels, name="eval_df")
    assert str(refused.value) == (
        "eval_df has 2 rows with labels that training did not have, such as 'pets' (rows 1, 3). "
        "Known labels are ['food', 'travel']."
    )
    with pytest.raises(LabelError) as refused:
        rules.label_matrix([(1, 0, 1)], True, labels, name="eval_df")
    assert str(refused.value) == "eval_df has 3 labels a row, but the model has 2: ['food', 'travel']."


def test_windows_come_back_to_their_rows() -> None:
    values = [*_logits((1, 2), (3, 4), (5, 6))]
    logits, windows = rules.by_row(values, [np.array([0, 2]), np.array([1])])
    assert logits.tolist() == [[3, 4], [3, 4]]
    assert [window.tolist() for window in windows] == [[[1, 2], [5, 6]], [[3, 4]]]
    logits, windows = rules.by_row(values, [np.array([2]), np.array([0]), np.array([1])])
    assert logits.tolist() == [[5, 6], [1, 2], [3, 4]]


def test_windows_vote() -> None:
    first, second = (9, 0, 0), (0, 2, 0)
    assert rules.vote([_logits(first, second, second)], tie_value=0).tolist() == [1]


@pytest.mark.parametrize(("tie_value", "winner"), [(0, 0), (2, 2), (1, 0), (7, 0)])
def test_the_tie_value_wins_only_among_the_tied(tie_value: int, winner: int) -> None:
    # Classes 0 and 2 have a vote each; class 0 has the higher mean probability.
    window = _logits((9, 0, 0), (0, 0, 1))
    assert rules.vote([window], tie_value).tolist() == [winner]


def test_the_answer_of_one_window_is_its_highest_logit() -> None:
    logits = _logits((0, 1), (2, 0))
    answers = rules.single_answers(logits, [logits[:1], logits[1:]], ClassificationArgs(tie_value=1))
    assert answers.predicted.tolist() == [1, 0]
    assert answers.probabilities.sum(axis=1) == pytest.approx([1, 1])
    assert answers.probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize(
    ("threshold", "predicted"),
    [(0.5, [[1, 1], [0, 1]]), (0.6, [[0, 1], [0, 1]]), ([0.5, 0.9], [[1, 0], [0, 0]]), ([0.1, 0.1], [[1, 1], [1, 1]])],
)
def test_a_label_counts_from_its_threshold_on(threshold: Any, predicted: list[list[int]]) -> None:
    # Probabilities 0.5 and 0.73, 0.27 and 0.73.
    logits = _logits((0, 1), (-1, 1))
    answers = rules.multi_label_answers(logits, [logits[:1], logits[1:]], threshold)
    assert answers.predicted.tolist() == predicted


def test_one_window_can_earn_a_label() -> None:
    windows = [_logits((-2, 1), (3, -9))]
    answers = rules.multi_label_answers(windows[0].mean(axis=0, keepdims=True), windows, 0.5)
    assert answers.logits.tolist() == [[3, 1]]
    assert answers.predicted.tolist() == [[1, 1]]


def test_another_number_of_thresholds_is_refused() -> None:
    logits = _logits((0, 1))
    with pytest.raises(ArgumentError) as refused:
        rules.multi_label_answers(logits, [logits], [0.1, 0.2, 0.3])
    assert str(refused.value) == "threshold must be one number or one per label (2), but has the shape (3,)."


def test_a_number_is_the_mean_of_its_windows() -> None:
    windows = [_logits((1,), (2,)), _logits((4,))]
    answers = rules.regression_answers(_logits((1.5,), (4,)), windows)
    assert answers.predicted.tolist() == [1.5, 4]
    assert answers.probabilities.shape == (2, 0)


def test_wrong_rows_are_examples_by_position() -> None:
    frame = pd.DataFrame(
        {"text_a": ["a", "b"], "text_b": ["c", "d"], "labels": ["x", "y"], "prediction": ["x", "x"]}, index=[7, 9]
    )
    found = rules.wrong_examples(frame, ["text_a", "text_b"], np.array([1]))
    assert found == [InputExample(1, "b", "d", label="y", prediction="x")]
    assert rules.wrong_examples(frame, ["text_a"], np.array([0])) == [InputExample(0, "a", None, "x", "x")]
