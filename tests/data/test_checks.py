"""What is wrong with rows is said once, with numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from easytx.data import checks
from easytx.errors import DataError


@pytest.mark.parametrize(
    ("positions", "text"),
    [([3], "row 3"), ([3, 17], "rows 3, 17"), (range(5), "rows 0, 1, 2, 3, 4"), (range(6), "rows 0, 1, 2, 3, 4, ...")],
)
def test_rows_are_named_by_position(positions: Any, text: str) -> None:
    assert checks.rows(positions) == text


def test_things_are_counted() -> None:
    assert (checks.counted(1, "row"), checks.counted(2, "row"), checks.counted(0, "row")) == (
        "1 row",
        "2 rows",
        "0 rows",
    )


def test_numbers_become_texts() -> None:
    frame = pd.DataFrame({"text": ["a", 3, 2.5, True]}, dtype=object)
    assert checks.texts_of(frame, "text", name="train_df") == ["a", "3", "2.5", "True"]
    assert checks.texts_of(pd.DataFrame({"text": [1, 2]}), "text", name="train_df") == ["1", "2"]
    assert checks.texts_of(pd.DataFrame({"text": [""]}), "text", name="train_df") == [""]
    assert checks.texts_of(pd.DataFrame({"text": ["ü 🎉"]}), "text", name="train_df") == ["ü 🎉"]


def test_half_characters_are_named() -> None:
    frame = pd.DataFrame({"text": pd.Series(["a", "ü \ud83c", "b\udf89"], dtype=object)})
    with pytest.raises(DataError) as refused:
        checks.texts_of(frame, "text", name="train_df")
    assert str(refused.value) == (
        "train_df has halves of characters (surrogates) in 2 rows of the column 'text': rows 1, 2. Replace them, for "
        "example with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
    )


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_a_missing_text_is_refused_with_its_row(missing: Any) -> None:
    frame = pd.DataFrame({"text": ["a", missing, "c", missing]}, index=[9, 8, 7, 6], dtype=object)
    with pytest.raises(DataError) as refused:
        checks.texts_of(frame, "text", name="train_df")
    assert str(refused.value) == (
        "train_df has no text in 2 rows of the column 'text': rows 1, 3. "
        "Fill or drop them, for example train_df.dropna(subset=['text'])."
    )


def test_something_else_than_a_text_is_refused_with_its_row() -> None:
    frame = pd.DataFrame({"text_b": ["a", ["b"]]})
    with pytest.raises(DataError) as refused:
        checks.texts_of(frame, "text_b", name="eval_df")
    assert str(refused.value) == "eval_df has a list instead of a text in the column 'text_b': row 1."


def test_duplicates_are_counted_once(warned: Any) -> None:
    frame = pd.DataFrame({"text_a": ["a", "a", "a", "b"], "text_b": ["x", "x", "y", "x"]})
    _, messages = warned(lambda: checks.warn_about_duplicates(frame, ["text_a"], name="train_df"))
    assert messages == ["train_df has 2 rows with the same text as an earlier row."]
    _, messages = warned(lambda: checks.warn_about_duplicates(frame, ["text_a", "text_b"], name="train_df"))
    assert messages == ["train_df has 1 row with the same text as an earlier row."]
    _, messages = warned(lambda: checks.warn_about_duplicates(frame.iloc[2:], ["text_a"], name="train_df"))
    assert messages == []


def test_overlap_is_counted_once(warned: Any) -> None:
    train = pd.DataFrame({"text": ["a", "b", "3"]})
    evaluation = pd.DataFrame({"text": ["b", "b", "c", 3]}, index=[5, 6, 7, 8], dtype=object)
    names = ("train_df", "eval_df")
    _, messages = warned(lambda: checks.warn_about_overlap(train, evaluation, ["text"], names=names))
    assert messages == ["3 rows of eval_df are in train_df too; the scores will look better than they are."]
    _, messages = warned(lambda: checks.warn_about_overlap(train, evaluation.iloc[1:3], ["text"], names=names))
    assert messages == ["1 row of eval_df is in train_df too; the scores will look better than they are."]
    _, messages = warned(lambda: checks.warn_about_overlap(train, evaluation.iloc[2:3], ["text"], names=names))
    assert messages == []


def test_a_pair_overlaps_only_as_a_whole(warned: Any) -> None:
    train = pd.DataFrame({"text_a": ["a"], "text_b": ["b"]})
    evaluation = pd.DataFrame({"text_a": ["a", "b"], "text_b": ["c", "a"]})
    columns, names = ["text_a", "text_b"], ("train_df", "eval_df")
    _, messages = warned(lambda: checks.warn_about_overlap(train, evaluation, columns, names=names))
    assert messages == []


def test_a_class_more_than_twenty_times_rarer_is_worth_a_word(warned: Any) -> None:
    _, messages = warned(lambda: checks.warn_about_imbalance({"spam": 2, "mail": 41, "other": 3}, name="train_df"))
    assert messages == [
        "train_df has 41 rows of 'mail' but 2 of 'spam'. "
        'Consider weight="balanced", and judge by f1_macro or mcc rather than accuracy.'
    ]
    for counts in ({"spam": 2, "mail": 40}, {}):
        _, messages = warned(lambda counts=counts: checks.warn_about_imbalance(counts, name="train_df"))
        assert messages == []


def test_cut_texts_are_counted_once(warned: Any) -> None:
    def cut(number: int) -> Any:
        return lambda: checks.warn_about_truncation(number, 5, 128, name="eval_df", remedy="Do this.")

    _, messages = warned(cut(2))
    assert messages == ["2 of 5 rows of eval_df are longer than max_seq_length=128 tokens and were cut. Do this."]
    _, messages = warned(cut(0))
    assert messages == []


@pytest.mark.parametrize(
    ("noun", "said"),
    [("list", "a list"), ("int", "an int"), ("ndarray", "an ndarray"), ("bert", "a bert"), ("albert", "an albert")],
)
def test_a_noun_gets_its_article(noun: str, said: str) -> None:
    assert checks.with_article(noun) == said
