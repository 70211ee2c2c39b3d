"""Labels keep their type and their order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from easytx.data.labels import LabelMap, from_mapping, plain
from easytx.errors import LabelError


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([10, 9, 2], [2, 9, 10]),
        ([True, False], [False, True]),
        (["b", 2, "a", 1.5], [1.5, 2, "a", "b"]),
        ([(2, "b"), (1, "a")], [(1, "a"), (2, "b")]),
        ([["x"], ["w"]], [("w",), ("x",)]),
        (np.array([7, 3]), [3, 7]),
        ([np.str_("b"), "a", np.str_("a")], ["a", "b"]),
        ([1, 1.0, np.int64(1)], [1]),
    ],
)
def test_labels_are_learnt_in_a_stable_order(values: Any, labels: list[Any]) -> None:
    for order in (values, list(values)[::-1]):
        found = LabelMap.fit(order)
        assert found.labels == labels
        assert [type(label) for label in found.labels] == [type(label) for label in labels]


def test_true_and_one_are_two_labels_in_a_stable_order() -> None:
    assert [str(label) for label in LabelMap.fit([True, 1, 0]).labels] == ["0", "1", "True"]
    assert [str(label) for label in LabelMap.fit([1, 0, True]).labels] == ["0", "1", "True"]
    assert LabelMap([0, 1]) != LabelMap([False, True])
    assert True not in LabelMap([0, 1])
    assert 1 not in LabelMap([False, True])


def test_a_given_order_stays() -> None:
    labels = LabelMap(["z", "a", 3])
    assert labels.labels == ["z", "a", 3]
    assert labels.encode([3, "z", np.str_("a")], name="train_df").tolist() == [2, 0, 1]
    assert labels.decode(np.array([1, 1, 2])) == ["a", "a", 3]
    assert labels.names == ["z", "a", "3"]
    assert len(labels) == 3
    assert repr(labels) == "LabelMap(['z', 'a', 3])"


def test_ids_are_whole_numbers_of_eight_bytes() -> None:
    assert LabelMap.of_size(3).encode([2, 0], name="train_df").dtype == np.int64


def test_a_label_that_is_there_twice_is_refused() -> None:
    with pytest.raises(LabelError) as refused:
        LabelMap(["a", "b", np.str_("a")])
    assert str(refused.value) == "labels must differ, but 'a' is there twice."


def test_equality_is_by_labels_and_order() -> None:
    assert LabelMap(["a", "b"]) == LabelMap(["a", "b"])
    assert LabelMap(["a", "b"]) != LabelMap(["b", "a"])
    assert LabelMap(["a"]) != ["a"]


def test_whether_labels_are_the_numbers_from_zero() -> None:
    assert LabelMap.of_size(3).is_range
    assert LabelMap([np.int64(0), 1]).is_range
    for labels in ([1, 0], [1, 2], ["0", "1"], [False, True]):
        assert not LabelMap(labels).is_range


def test_unknown_labels_are_named_with_their_rows() -> None:
    with pytest.raises(LabelError) as refused:
        LabelMap(["a", "b"]).encode(["a", "c", np.int64(3), "c", ["d"]], name="eval_df")
    assert str(refused.value) == (
        "eval_df has 4 rows with labels that training did not have: 'c', 3, ('d',) (rows 1, 2, 3, 4). "
        "Known labels are ['a', 'b']."
    )
    with pytest.raises(LabelError, match=r"^train_df has 1 row with labels that labels_list did not have: 1 \(row 0\)"):
        LabelMap(["1"]).encode([1], name="train_df", known_from="labels_list")


def test_rows_are_counted_per_label() -> None:
    assert LabelMap(["a", "b", "c"]).counts(np.array([2, 2, 0])) == {"a": 1, "c": 2}


@pytest.mark.parametrize("labels", [["spam", "mail"], [0, 1, 2]])
def test_a_configuration_holds_them(labels: list[Any]) -> None:
    fields = LabelMap(labels).for_config()
    assert LabelMap.from_config(SimpleNamespace(**fields)) == LabelMap(labels)
    assert fields["num_labels"] == len(labels)
    assert {i: name for name, i in fields["label2id"].items()} == fields["id2label"]


def test_numbers_from_zero_are_placeholders_in_a_configuration() -> None:
    assert LabelMap.of_size(2).for_config()["id2label"] == {0: "LABEL_0", 1: "LABEL_1"}
    assert LabelMap([3, 5]).for_config()["id2label"] == {0: "3", 1: "5"}


def test_names_that_only_look_like_placeholders_stay() -> None:
    config = SimpleNamespace(id2label={1: "LABEL_0", 0: "LABEL_1"})
    assert LabelMap.from_config(config).labels == ["LABEL_1", "LABEL_0"]


def test_a_mapping_gives_the_order() -> None:
    assert from_mapping({"b": 0, "a": 1}) == ["b", "a"]
    with pytest.raises(LabelError) as refused:
        from_mapping({"a": 1, "b": 2})
    assert str(refused.value) == "labels_map must number its labels from 0 without gaps, but has {'a': 1, 'b': 2}."


def test_plain_values() -> None:
    assert [plain(v) for v in (np.int64(1), np.bool_(True), [1, 2], "a")] == [1, True, (1, 2), "a"]
    assert type(plain(np.bool_(True))) is bool
