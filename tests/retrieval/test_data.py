"""Rows to batches: who is whose passage, and what is said of rows that lack something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easytx.errors import DataError
from easytx.retrieval.args import RetrievalArgs
from easytx.retrieval.collection import read_collection
from easytx.retrieval.data import PairCollator, check_losses, hard_negatives, teacher_scores
from easytx.retrieval.passages import as_passages, read_passages, titles_and_texts, together, write_passages
from easytx.retrieval.relevance import relevant_docs

ARGS = RetrievalArgs(hard_negatives=True, n_hard_negatives=2)
NAN = float("nan")


def _feature(
    query: list[int],
    passages: list[list[int]],
    keys: list[int],
    scores: list[float] | None = None,
    right: list[int] | None = None,
) -> Any:
    scores = [NAN] * len(keys) if scores is None else scores
    texts = {"query_input_ids": query, "passage_input_ids": passages, "passage_keys": keys}
    return {**texts, "right_keys": right or keys[:1], "teacher_scores": scores}


def test_passages_come_first_and_then_all_hard_negatives() -> None:
    features = [
        _feature([1, 2], [[3], [4, 5], [6]], [0, 1, 2], [9.0, 8.0, 7.0]),
        _feature([7], [[8, 9, 10]], [3]),
        _feature([11], [[12], [13]], [4, 0]),
    ]
    batch = PairCollator(99, 98)(features)
    assert batch["query_input_ids"].tolist() == [[1, 2], [7, 99], [11, 99]]
    assert batch["query_attention_mask"].tolist() == [[1, 1], [1, 0], [1, 0]]
    assert batch["passage_input_ids"][:, 0].tolist() == [3, 8, 12, 4, 6, 13]
    assert batch["passage_input_ids"][0].tolist() == [3, 98, 98]
    assert batch["passage_attention_mask"].sum(dim=1).tolist() == [1, 3, 1, 2, 1, 1]
    # Of the first query the last passage is its own, in another row's place; of the last query it is the first one.
    assert batch["labels"][..., 0].tolist() == [[1, 0, 0, 2, 2, -1], [0, 1, 0, 3, 3, 3], [-1, 0, 1, 3, 3, 2]]
    np.testing.assert_array_equal(batch["labels"][0, :, 1], [9.0, NAN, NAN, 8.0, 7.0, NAN])


def test_two_rows_with_one_passage_are_no_negatives_of_each_other() -> None:
    batch = PairCollator(0, 0)([_feature([1], [[2]], [5]), _feature([3], [[2]], [5])])
    assert batch["labels"][..., 0].tolist() == [[1, -1], [-1, 1]]


def test_what_is_right_for_a_query_in_another_row_is_no_negative_of_it() -> None:
    features = [
        _feature([1], [[2], [3]], [5, 6], right=[5, 6]),
        _feature([1], [[3]], [6], right=[5, 6]),
        _feature([4], [[7]], [8]),
    ]
    batch = PairCollator(0, 0)(features)
    assert batch["labels"][..., 0].tolist() == [[1, -1, 0, -1], [-1, 1, 0, -1], [0, 0, 1, 3]]


def test_hard_negatives_stand_in_columns_or_in_lists() -> None:
    columns = pd.DataFrame({"hard_negative": ["a", None], "hard_negative_2": ["b", "c"], "hard_negative_3": ["d", "e"]})
    assert hard_negatives(columns, ARGS, name="train_df") == [["a", "b"], ["c", "e"]]
    lists = pd.DataFrame({"hard_negative": [["a", "b", "c"], []]})
    assert hard_negatives(lists, ARGS, name="train_df") == [["a", "b"], []]
    assert hard_negatives(lists, RetrievalArgs(), name="train_df") == [[], []]
    with pytest.raises(DataError, match=r"^hard_negatives is set, but train_df has no column 'hard_negative'; it has"):
        hard_negatives(pd.DataFrame({"query_text": ["a"]}), ARGS, name="train_df")


def test_teacher_scores_are_one_per_text() -> None:
    frame = pd.DataFrame({"teacher_scores": [[3, 2, 1], "[1.5, 0.5]"]})
    assert teacher_scores(frame, [["a"], ["b"]], name="train_df") == [[3, 2], [1.5, 0.5]]
    with pytest.raises(DataError) as refused:
        teacher_scores(frame, [["a"], ["b", "c"]], name="train_df")
    assert str(refused.value) == (
        "train_df has too few teacher_scores in 1 row: row 1. Each row needs a list: the score of its passage, then "
        "one per hard negative."
    )


def test_losses_say_which_columns_they_lack() -> None:
    frame = pd.DataFrame({"query_text": ["a"], "gold_passage": ["b"]})
    with pytest.raises(DataError, match=r"^mse_loss is set, but train_df has no column 'teacher_scores'; it has \["):
        check_losses(frame, [[]], RetrievalArgs(mse_loss=True), name="train_df")
    with pytest.raises(
        DataError, match=r"^include_triplet_loss is set, but train_df has no hard negatives\. Add a col"
    ):
        check_losses(frame, [[]], RetrievalArgs(include_triplet_loss=True), name="train_df")
    with pytest.warns(UserWarning, match=r"^The column 'hard_negative' of train_df is not used: set hard_negatives=T"):
        check_losses(frame.assign(hard_negative="c"), [[]], RetrievalArgs(), name="train_df")


@pytest.mark.parametrize("form", ["list", "series", "frame", "other name", "file"])
def test_passages_come_in_many_forms(form: str, tmp_path: Path) -> None:
    texts = ["one", "two", "one"]
    path = tmp_path / "passages.tsv"
    pd.DataFrame({"passages": texts}).to_csv(path, sep="\t", index=False)
    data = {
        "list": texts,
        "series": pd.Series(texts),
        "frame": pd.DataFrame({"passages": texts}),
        "other name": pd.DataFrame({"gold_passage": texts}),
        "file": str(path),
    }[form]
    assert as_passages(data, name="passages", args=RetrievalArgs())["passages"].tolist() == ["one", "two"]


def test_a_title_makes_another_passage() -> None:
    frame = pd.DataFrame({"passages": ["one", "one", "one"], "title": ["A", "B", None], "id": [7, 8, 9]})
    passages = as_passages(frame, name="passages", args=RetrievalArgs())
    assert passages["title"].tolist() == ["A", "B", ""]
    assert titles_and_texts(passages, RetrievalArgs()) == [["A", "B", ""], ["one"] * 3]
    assert titles_and_texts(passages, RetrievalArgs(include_title=False)) == [["one"] * 3]
    more = together([passages, pd.DataFrame({"passages": ["one", "two"]})])
    assert more["passages"].tolist() == ["one", "one", "one", "two"]


def test_missing_texts_are_named() -> None:
    with pytest.raises(DataError, match=r"^passages has no text in 1 row of the column 'passages': row 1\."):
        as_passages(pd.DataFrame({"passages": ["a", None]}), name="passages", args=RetrievalArgs())


def test_passages_are_kept_as_json_lines(tmp_path: Path) -> None:
    passages = pd.DataFrame({"passages": ["Käse\nund", "12"], "title": ["x", ""], "more": [1, 2]})
    write_passages(passages, tmp_path)
    found = read_passages(tmp_path)
    assert found is not None
    assert found.to_dict("list") == {"passages": ["Käse\nund", "12"], "title": ["x", ""]}
    assert read_passages(tmp_path / "other") is None


def _beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": "1", "title": "T", "text": "one"}, {"_id": "2", "title": "", "text": "two"}]
    corpus.append({"_id": "3", "title": "", "text": "three"})
    queries = [{"_id": "q1", "text": "who?"}, {"_id": "q2", "text": "what?"}]
    for name, records in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)), "utf-8")
    judged = "query-id\tcorpus-id\tscore\nq2\t1\t1\nq1\t2\t1\nq1\t1\t2\nq2\t2\t0\n"
    (folder / "qrels" / "test.tsv").write_text(judged, "utf-8")
    return folder


def test_a_folder_of_beir(tmp_path: Path) -> None:
    read = read_collection(_beir(tmp_path / "data"), "beir", "eval", name="eval_df")
    assert read.pairs().to_dict("list") == {
        "query_id": ["q2", "q1", "q1"],
        "query_text": ["what?", "who?", "who?"],
        "gold_passage": ["one", "two", "one"],
        "title": ["T", "", "T"],
    }
    assert read.best_pairs()[["query_text", "gold_passage"]].to_numpy().tolist() == [["what?", "one"], ["who?", "one"]]
    searched = read.searched()
    assert searched["additional_passages"].to_dict("list") == {
        "id": ["1", "2", "3"],
        "passages": ["one", "two", "three"],
        "title": ["T", "", ""],
    }
    assert searched["relevant_docs"] == [{("one", "T"): 1.0}, {("two", ""): 1.0, ("one", "T"): 2.0}]
    with pytest.raises(DataError) as refused:
        read_collection(tmp_path / "data", "beir", "train", name="train_df")
    assert str(refused.value) == (
        f"train_df is the folder '{tmp_path / 'data'}' with data_format='beir', but there is no 'qrels/train.tsv'."
    )


def test_a_folder_of_ms_marco(tmp_path: Path) -> None:
    (tmp_path / "collection.tsv").write_text('0\tone "1\n1\ttwo\n', "utf-8")
    (tmp_path / "queries.train.tsv").write_text("7\twho?\n8\twhat?\n", "utf-8")
    (tmp_path / "qrels.train.tsv").write_text("8\t0\t0\t1\n", "utf-8")
    read = read_collection(tmp_path, "msmarco", "train", name="train_df")
    assert read.pairs().to_dict("list") == {"query_id": ["8"], "query_text": ["what?"], "gold_passage": ['one "1']}
    (tmp_path / "qrels.dev.small.tsv").write_text("9\t0\t0\t1\n", "utf-8")
    with pytest.raises(DataError, match=r"but there is no 'queries\.dev\.small\.tsv'\.$"):
        read_collection(tmp_path, "msmarco", "eval", name="eval_df")
    (tmp_path / "queries.dev.small.tsv").write_text("7\twho?\n", "utf-8")
    with pytest.raises(DataError, match=r"^eval_df has judgements on unknown ids of a query: \['9'\]\.$"):
        read_collection(tmp_path, "msmarco", "eval", name="eval_df")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["a"]], "relevant_docs must have one list of passages for each of the 2 rows of eval_df, but has 1."),
        (["a", "b"], "relevant_docs has something else than a list of passages in rows 0, 1."),
    ],
)
def test_relevant_passages_are_one_list_a_row(given: Any, message: str) -> None:
    with pytest.raises(DataError) as refused:
        relevant_docs(given, 2)
    assert str(refused.value) == message


def test_relevant_passages_are_lists_or_dicts_or_a_file_of_them(tmp_path: Path) -> None:
    given = [["a", "b"], {"c": 3}]
    (tmp_path / "relevant.json").write_text(json.dumps(given), "utf-8")
    for form in (given, str(tmp_path / "relevant.json")):
        assert relevant_docs(form, 2) == [{"a": 1.0, "b": 1.0}, {"c": 3}]
    assert relevant_docs(None, 2) == [{}, {}]
    with pytest.raises(DataError, match=r"^relevant_docs is the path 'no\.json', which could not be read: "):
        relevant_docs("no.json", 2)
