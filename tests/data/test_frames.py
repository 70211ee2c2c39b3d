"""Rows in any form become a frame with our columns, under the caller's index."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from easytx.classification import ClassificationArgs
from easytx.data.frames import Columns, as_frame, as_texts
from easytx.errors import DataError

COLUMNS = Columns()
ROWS = [("good film", 1), ("bad film", 0), ("null", 1)]
FRAME = pd.DataFrame(ROWS, columns=["text", "labels"])


def _frame(data: Any, **options: Any) -> pd.DataFrame:
    args = options.pop("args", ClassificationArgs())
    return as_frame(data, COLUMNS, name="train_df", args=args, **options)


def _texts(data: Any, **options: Any) -> pd.DataFrame:
    return as_texts(data, COLUMNS, name="to_predict", args=ClassificationArgs(), **options)


def _refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as refused:
        call()
    return str(refused.value)


def _csv(folder: Path) -> Path:
    FRAME.to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def _tsv(folder: Path) -> Path:
    FRAME.to_csv(folder / "rows.TSV", sep="\t", index=False)
    return folder / "rows.TSV"


def _json(folder: Path) -> Path:
    FRAME.to_json(folder / "rows.json", orient="records")
    return folder / "rows.json"


def _jsonl(folder: Path) -> Path:
    FRAME.to_json(folder / "rows.jsonl", orient="records", lines=True)
    return folder / "rows.jsonl"


def _parquet(folder: Path) -> Path:
    FRAME.to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


@pytest.mark.parametrize("write", [_csv, _tsv, _json, _jsonl, _parquet])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_read_by_its_type(write: Callable[[Path], Path], kind: Callable[[Path], Any], tmp_path: Path) -> None:
    found = _frame(kind(write(tmp_path)))
    assert found.to_dict("list") == FRAME.to_dict("list")


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        FRAME.to_dict("records"),
        tuple(FRAME.to_dict("records")),
        Dataset.from_pandas(FRAME),
    ],
    ids=["frame", "list of dicts", "tuple of dicts", "dataset"],
)
def test_rows_in_memory_are_taken(data: Any) -> None:
    assert _frame(data).to_dict("list") == FRAME.to_dict("list")


@pytest.mark.parametrize("index", [["c", "a", "b"], [9, 9, 9], pd.MultiIndex.from_tuples([(1, 2), (1, 3), (2, 2)])])
def test_the_index_stays(index: Any) -> None:
    data = FRAME.set_axis(index, axis="index")
    assert list(_frame(data).index) == list(data.index)
    assert list(_frame(data)["text"]) == list(FRAME["text"])


@pytest.mark.parametrize(
    "data", [pd.DataFrame(ROWS), ROWS, [list(row) for row in ROWS]], ids=["frame", "tuples", "lists"]
)
def test_columns_without_names_are_taken_in_order_with_a_warning(data: Any, warned: Any) -> None:
    found, messages = warned(lambda: _frame(data))
    assert found.to_dict("list") == FRAME.to_dict("list")
    assert messages == ["train_df has no column names; its columns are taken as ['text', 'labels'], in this order."]


def test_three_columns_without_names_are_a_pair_and_its_label(warned: Any) -> None:
    found, messages = warned(lambda: _frame([("a", "b", 1), ("c", "d", 0)]))
    assert list(found.columns) == ["text_a", "text_b", "labels"]
    assert messages == [
        "train_df has no column names; its columns are taken as ['text_a', 'text_b', 'labels'], in this order."
    ]


def test_more_columns_without_names_are_refused() -> None:
    message = _refusal(lambda: _frame([("a", "b", "c", 1)]))
    assert message == (
        "train_df needs the columns ['text', 'labels'], but has [0, 1, 2, 3]. "
        "Rename columns, or name yours with text_column=..., labels_column=...."
    )


def test_other_column_names_can_be_given_and_exchanged() -> None:
    data = pd.DataFrame({"text": ["t"], "body": ["b"], "stars": [3]})
    found = _frame(data, renames={"text": "body", "labels": "stars"})
    assert found.to_dict("records") == [{"text": "b", "labels": 3}]
    assert list(data.columns) == ["text", "body", "stars"]
    pairs = pd.DataFrame({"text_a": ["a"], "text_b": ["b"], "labels": [1]})
    found = _frame(pairs, renames={"text_a": "text_b", "text_b": "text_a", "labels": "labels"})
    assert found.to_dict("records") == [{"text_b": "a", "text_a": "b", "labels": 1}]


def test_a_given_column_that_is_not_there_is_named() -> None:
    message = _refusal(lambda: _frame(FRAME, renames={"text": "body"}))
    assert message == "train_df has no column 'body' (given as text_column); it has ['text', 'labels']."


@pytest.mark.parametrize(
    ("has", "message"),
    [
        (
            ["text", "label"],
            "train_df needs the columns ['text', 'labels'], but has ['text', 'label']. "
            "Rename them, for example train_df.rename(columns={'label': 'labels'}).",
        ),
        (
            ["texts", "label's"],
            "train_df needs the columns ['text', 'labels'], but has ['texts', \"label's\"]. "
            "Rename them, for example train_df.rename(columns={'texts': 'text', \"label's\": 'labels'}).",
        ),
        (
            ["text_a", "text_c", "labels"],
            "train_df needs the columns ['text_a', 'text_b', 'labels'], but has ['text_a', 'text_c', 'labels']. "
            "Rename them, for example train_df.rename(columns={'text_c': 'text_b'}).",
        ),
        (
            ["body", "stars"],
            "train_df needs the columns ['text', 'labels'], but has ['body', 'stars']. "
            "Rename columns, or name yours with text_column=..., labels_column=....",
        ),
    ],
)
def test_missing_columns_are_named_with_a_remedy(has: list[str], message: str) -> None:
    data = pd.DataFrame([["x"] * len(has)], columns=has)
    assert _refusal(lambda: _frame(data)) == message


def test_two_columns_of_one_name_are_refused() -> None:
    data = pd.DataFrame([["a", "b", 1]], columns=["text", "text", "labels"])
    assert _refusal(lambda: _frame(data)) == (
        "train_df has several columns of the name 'text'. Rename or drop all but one of them."
    )


def test_a_task_with_one_form_of_texts_names_that_one() -> None:
    columns = Columns(texts=(("words",),))
    message = _refusal(lambda: as_frame(FRAME, columns, name="eval_df", args=ClassificationArgs()))
    assert message.startswith("eval_df needs the columns ['words', 'labels'], but has ['text', 'labels'].")
    assert columns.all() == ("words", "labels")


def test_texts_of_a_frame_with_all_columns_are_the_pair() -> None:
    data = pd.DataFrame({"text": ["x"], "text_a": ["a"], "text_b": ["b"], "labels": [1]})
    assert COLUMNS.texts_in(_frame(data)) == ("text_a", "text_b")
    assert COLUMNS.texts_in(FRAME) == ("text",)


@pytest.mark.parametrize("data", [FRAME.iloc[:0], [], (), Dataset.from_pandas(FRAME.iloc[:0])])
def test_no_rows_are_refused(data: Any) -> None:
    assert _refusal(lambda: _frame(data)) == "train_df has no rows."


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (3, "an int"),
        (None, "a NoneType"),
        ({"text": ["a"]}, "a dict. Give pd.DataFrame(train_df)"),
        (iter([]), "a list_iterator"),
    ],
)
def test_other_types_are_refused(data: Any, kind: str) -> None:
    assert _refusal(lambda: _frame(data)) == (
        f"train_df must be a DataFrame, a path, a list of rows or a datasets.Dataset, but is {kind}."
    )


def test_a_file_that_is_missing_or_of_another_type_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "rows.xlsx"
    there.write_text("x")
    assert _refusal(lambda: _frame("no/rows.csv")) == "train_df is the path 'no/rows.csv', where there is no file."
    assert _refusal(lambda: _frame(there)) == (
        "train_df is a '.xlsx' file; one of .csv, .tsv, .json, .jsonl, .parquet is expected."
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b""),
        ("rows.csv", "text,labels\nß,1\n".encode("latin-1")),
        ("rows.csv", b"text,labels\na,1\nb,2,3,4\n"),
        ("rows.json", b"{"),
        ("rows.parquet", b"text"),
    ],
    ids=["empty", "encoding", "ragged", "json", "parquet"],
)
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = _refusal(lambda: _frame(path))
    assert message.startswith(
        f"train_df is the path '{path}', which could not be read (encoding utf-8, see args.encoding). The cause was: "
    )


def test_the_encoding_of_a_file_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("text,labels\nß,1\n".encode("latin-1"))
    found = _frame(tmp_path / "rows.csv", args=ClassificationArgs(encoding="latin-1"))
    assert found.to_dict("records") == [{"text": "ß", "labels": 1}]


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.jsonl"])
def test_the_mark_that_windows_puts_at_the_beginning_is_no_text(name: str, tmp_path: Path) -> None:
    content = "text,labels\nß,1\n" if name == "rows.csv" else '{"text": "ß", "labels": 1}'
    (tmp_path / name).write_text(f"[{content}]" if name == "rows.json" else content, "utf-8-sig")
    for encoding in (None, "utf_8", "UTF8"):
        found = _frame(tmp_path / name, args=ClassificationArgs(encoding=encoding))
        assert found.to_dict("records") == [{"text": "ß", "labels": 1}]


def test_only_an_empty_cell_of_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,labels\nNone,NA\n,x\n", "utf-8")
    found = _frame(tmp_path / "rows.csv")
    assert found["labels"].tolist() == ["NA", "x"]
    assert found["text"].tolist()[0] == "None"
    assert found["text"].isna().tolist() == [False, True]


def test_lazy_loading_reads_by_position(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("id;stars;body\n7;1;good\n8;0;bad\n", "utf-8")
    args = ClassificationArgs(lazy_loading=True, lazy_delimiter=";", lazy_text_column=2, lazy_labels_column=1)
    assert _frame(path, args=args).to_dict("list") == {"text": ["good", "bad"], "labels": [1, 0]}
    args.lazy_loading_start_line = 2
    assert _frame(path, args=args).to_dict("list") == {"text": ["bad"], "labels": [0]}


def test_lazy_loading_reads_pairs_by_position(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("a\tb\tlabels\none\ttwo\t1\n", "utf-8")
    args = ClassificationArgs(lazy_loading=True, lazy_text_a_column=0, lazy_text_b_column=1, lazy_labels_column=2)
    assert _frame(path, args=args).to_dict("records") == [{"text_a": "one", "text_b": "two", "labels": 1}]


def test_lazy_loading_names_a_position_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("text,labels\na,1\n", "utf-8")
    args = ClassificationArgs(lazy_loading=True, lazy_text_column=3)
    assert _refusal(lambda: _frame(path, args=args)) == (
        "train_df has 1 columns, counted from 0, but args has lazy_text_column=3. "
        "The delimiter is '\\t' (lazy_delimiter)."
    )
    assert _refusal(lambda: _frame(path, args=ClassificationArgs(lazy_loading=True))).startswith(
        "train_df needs the columns ['text', 'labels'], but has ['text']."
    )
    unlabelled = _frame(path, args=ClassificationArgs(lazy_loading=True), with_labels=False)
    assert list(unlabelled.columns) == ["text"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("one text", [["one text"]]),
        (np.str_("one text"), [["one text"]]),
        ("words about rows.csv", [["words about rows.csv"]]),
        ("x" * 5000 + ".csv", [["x" * 5000 + ".csv"]]),
        (["a", "b"], [["a"], ["b"]]),
        (("a", "b"), [["a"], ["b"]]),
        (np.array(["a", "b"]), [["a"], ["b"]]),
        (pd.Index(["a", "b"]), [["a"], ["b"]]),
        (pd.array(["a", "b"]), [["a"], ["b"]]),
        ([["a"], ["b"]], [["a"], ["b"]]),
        ([["a", "b"], ("c", "d")], [["a", "b"], ["c", "d"]]),
        (np.array([["a", "b"]]), [["a", "b"]]),
        ([{"text": "a"}], [["a"]]),
        (pd.Series(["a", "b"], name="body"), [["a"], ["b"]]),
        (pd.DataFrame({"text": ["a"]}), [["a"]]),
        (pd.DataFrame({"text_a": ["a"], "text_b": ["b"]}), [["a", "b"]]),
        (Dataset.from_dict({"text": ["a"]}), [["a"]]),
    ],
)
def test_predict_takes_what_people_have(data: Any, expected: list[list[str]]) -> None:
    found = _texts(data)
    assert found.to_numpy().tolist() == expected
    assert list(found.columns) == (["text"] if len(expected[0]) == 1 else ["text_a", "text_b"])


def test_predict_reads_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\na\n", "utf-8")
    for path in (tmp_path / "rows.csv", str(tmp_path / "rows.csv")):
        assert _texts(path)["text"].tolist() == ["a"]
    missing = _refusal(lambda: _texts(tmp_path / "none.csv"))
    assert missing == f"to_predict is the path '{tmp_path / 'none.csv'}', where there is no file."


def test_predict_keeps_the_index_and_takes_other_column_names() -> None:
    series = pd.Series(["a", "b"], index=["x", "y"])
    assert list(_texts(series).index) == ["x", "y"]
    frame = pd.DataFrame({"body": ["a"], "labels": [1]}, index=["z"])
    found = _texts(frame, renames={"text": "body"})
    assert list(found.index) == ["z"]
    assert list(found.columns) == ["text", "labels"]


def test_predict_takes_a_frame_without_column_names(warned: Any) -> None:
    found, messages = warned(lambda: _texts(pd.DataFrame([["a"], ["b"]])))
    assert found["text"].tolist() == ["a", "b"]
    assert messages == ["to_predict has no column names; its columns are taken as ['text'], in this order."]


@pytest.mark.parametrize("data", [[], (), pd.Series([], dtype=object), np.array([]), pd.DataFrame({"text": []})])
def test_predict_refuses_no_rows(data: Any) -> None:
    assert _refusal(lambda: _texts(data)) == "to_predict has no rows."


def test_predict_refuses_rows_of_different_or_unknown_width() -> None:
    expected = "to_predict must be a list of strings or lists of 2 strings, but its rows have "
    assert _refusal(lambda: _texts([["a", "b"], "c"])) == expected + "[1, 2] parts."
    assert _refusal(lambda: _texts([["a", "b", "c"]])) == expected + "[3] parts."


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"body": ["a", "b"], "labels": [[1], [0]]}, index=[4, 2]),
        [{"body": "a", "labels": 1}],
        pd.DataFrame({"text": ["x"], "body": ["a"], "labels": [1]}),
    ],
    ids=["frame", "dicts", "renamed over"],
)
def test_what_the_caller_gives_stays_as_it_is(data: Any) -> None:
    kept = copy.deepcopy(data)
    for found in (_frame(data, renames={"text": "body"}), _texts(data, renames={"text": "body"})):
        found["text"] = "changed"
        found["new"] = 1
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(data, kept)
    else:
        assert data == kept


def test_a_series_of_pairs_is_read_as_pairs_under_its_index() -> None:
    found = _texts(pd.Series([("a", "b"), ("c", "d")], index=[7, 3]))
    assert found.index.tolist() == [7, 3]
    assert found.to_dict("list") == {"text_a": ["a", "c"], "text_b": ["b", "d"]}
