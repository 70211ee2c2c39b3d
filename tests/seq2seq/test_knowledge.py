"""Passages: what may hold them, how they are cut, indexed and kept."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from easytx.errors import ArgumentError, DataError, MissingExtraError
from easytx.seq2seq import Seq2SeqArgs
from easytx.seq2seq import knowledge as passages

TEXTS = ["Paris is big", "Rome is old", "it is cold"]
TITLES = ["Paris", "Rome", ""]
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.6]], dtype=np.float32)


def args(**given: Any) -> Seq2SeqArgs:
    return Seq2SeqArgs(**given)


def rows() -> pd.DataFrame:
    return pd.DataFrame({"title": TITLES, "text": TEXTS}, dtype=object)


def known(**given: Any) -> passages.Knowledge:
    dataset = passages.embedded(rows(), VECTORS)
    return passages.Knowledge(dataset, passages.made_index(dataset, args(**given)), width=2)


# From whatever holds them

FORMS: dict[str, Callable[[Path], Any]] = {
    "frame": lambda _: rows().assign(other=1),
    "pairs": lambda _: [*zip(TITLES, TEXTS, strict=True)],
    "dicts": lambda _: rows().to_dict("records"),
    "dataset": lambda _: Dataset.from_pandas(rows()),
    "csv": lambda folder: rows().to_csv(folder / "k.csv", index=False) or folder / "k.csv",
    "tsv": lambda folder: rows().to_csv(folder / "k.tsv", index=False, sep="\t") or str(folder / "k.tsv"),
    "jsonl": lambda folder: rows().to_json(folder / "k.jsonl", orient="records", lines=True) or folder / "k.jsonl",
    "parquet": lambda folder: rows().to_parquet(folder / "k.parquet") or folder / "k.parquet",
}


@pytest.mark.parametrize("form", FORMS)
def test_many_things_hold_passages(form: str, tmp_path: Path) -> None:
    data = FORMS[form](tmp_path)
    before = data.copy() if form == "frame" else None
    assert passages.read_embedded(data) is None
    pd.testing.assert_frame_equal(passages.read_rows(data, args()), rows())
    if before is not None:
        pd.testing.assert_frame_equal(data, before)


def test_passages_need_no_titles() -> None:
    for data in (TEXTS, rows()[["text"]], rows()):
        found = passages.read_rows(data, args(include_title_in_corpus=False))
        assert (found["text"].tolist(), found["title"].tolist()) == (TEXTS, [""] * 3)


def test_a_file_of_old_has_no_header(tmp_path: Path) -> None:
    rows().replace("", "North").to_csv(tmp_path / "k.tsv", sep="\t", index=False, header=False)
    message = r"^knowledge_dataset has no column names; its columns are taken as \['title', 'text'\], in this order.$"
    with pytest.warns(UserWarning, match=message):
        found = passages.read_rows(tmp_path / "k.tsv", args())
    assert found["text"].tolist() == TEXTS
    assert found["title"].tolist() == ["Paris", "Rome", "North"]


def test_long_texts_are_cut_into_passages() -> None:
    frame = pd.DataFrame({"title": ["a", "b", "c", "a"], "text": ["1 2 3 4 5", "1 2", "  ", "5"]}, dtype=object)
    found = passages.split(frame, args(split_text_n=2))
    # The last one is there already.
    assert found.to_numpy().tolist() == [["a", "1 2"], ["a", "3 4"], ["a", "5"], ["b", "1 2"]]
    by_line = passages.split(
        pd.DataFrame({"title": ["a"], "text": ["1 2\n3 4\n5"]}), args(split_text_n=1, split_text_character="\n")
    )
    assert by_line["text"].tolist() == ["1 2", "3 4", "5"]


# Searching and keeping


def test_the_nearest_passages_are_found() -> None:
    # Dot products of [1, 0.5]: 1, 0.5 and 0.9; of [0, 2]: 0, 2 and 1.2.
    places, vectors = known().search(np.array([[1, 0.5], [0, 2]]), 2)
    assert places.tolist() == [[0, 2], [1, 2]]
    assert vectors.tolist() == VECTORS[[[0, 2], [1, 2]]].tolist()
    assert known().texts(places)[1] == {"title": ["Rome", ""], "text": ["Rome is old", "it is cold"]}
    assert known().search(np.array([[1, 0.5]]), 10)[0].tolist() == [[0, 2, 1]]


def test_the_arguments_say_which_index() -> None:
    exact = known().index
    assert (type(exact), exact.metric_type) == (faiss.IndexFlat, faiss.METRIC_INNER_PRODUCT)
    linked = known(faiss_index_type="IndexHNSWFlat", faiss_m=7).index
    # The lowest layer has twice the links of the others.
    assert (type(linked), linked.hnsw.nb_neighbors(1)) == (faiss.IndexHNSWFlat, 7)
    assert known(faiss_index_type="IVF1,Flat").index.is_trained
    for kind in ("IndexHNSWFlat", "IVF1,Flat"):
        assert known(faiss_index_type=kind).search(np.array([[1, 0.5]]), 2)[0].tolist() == [[0, 2]]


def test_an_index_that_finds_too_few_says_so() -> None:
    far = known(faiss_index_type="IVF3,Flat")
    with pytest.raises(DataError, match=r"^The index of knowledge_dataset has found fewer than 3 passages for a query"):
        far.search(np.array([[1, 0.5]]), 3)


def test_passages_are_kept_in_a_folder(tmp_path: Path) -> None:
    own, folder = known(), tmp_path / "k"
    own.write(folder)
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    found = passages.read_embedded(folder)
    assert found is not None
    dataset, place = found
    file = passages.index_file(place, None)
    assert file == folder / "hf_dataset_index.faiss"
    again = passages.Knowledge(dataset, passages.read_index(file), width=2, folder=place)
    assert dataset.to_dict() == own.passages.to_dict()
    assert again.search(np.array([[1, 0.5]]), 2)[0].tolist() == [[0, 2]]
    # Where they are already, nothing is written.
    again.write(folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    other = passages.embedded(rows().iloc[:2], VECTORS[:2])
    passages.Knowledge(other, passages.made_index(other, args()), width=2).write(folder)
    assert len(Dataset.load_from_disk(str(folder))) == 2


def test_the_folder_of_a_retriever_of_transformers_is_read(tmp_path: Path) -> None:
    passages.embedded(rows(), VECTORS).save_to_disk(tmp_path / "hf_dataset")
    found = passages.read_embedded(tmp_path)
    assert found is not None
    assert (found[0]["text"][:], found[1]) == (TEXTS, tmp_path)
    assert passages.index_file(tmp_path, None) is None


# Errors

ERRORS: list[tuple[Callable[[Path], Any], str]] = [
    (
        lambda folder: passages.read_embedded(folder / "none"),
        "knowledge_dataset is the path '{folder}/none', where there is no file or folder.",
    ),
    (
        lambda folder: passages.read_embedded(folder),
        "knowledge_dataset is the folder '{folder}', which holds no data set. Give the folder of a "
        "datasets.Dataset.save_to_disk, or a file of passages.",
    ),
    (
        lambda _: passages.read_embedded(Dataset.from_dict({"embeddings": [[1.0]], "text": ["a"]})),
        "knowledge_dataset needs the columns ['title', 'text', 'embeddings'], but has ['embeddings', 'text'].",
    ),
    (
        lambda _: passages.read_embedded(Dataset.from_dict({"title": ["a"], "text": ["a"], "embeddings": [1.0]})),
        "knowledge_dataset has a float instead of a vector in 'embeddings'.",
    ),
    (
        lambda _: passages.read_rows(pd.DataFrame({"title": ["a"], "body": ["b"]}), args()),
        "knowledge_dataset needs the columns ['title', 'text'], but has ['title', 'body']. Rename columns, or name "
        "yours with text_column=....",
    ),
    (
        lambda _: passages.read_rows(pd.DataFrame({"text": ["a", None]}), args()),
        "knowledge_dataset has no text in 1 row of the column 'text': row 1. Fill or drop them, for example "
        "knowledge_dataset.dropna(subset=['text']).",
    ),
    (lambda _: passages.split(passages.read_rows([" "], args()), args()), "knowledge_dataset has no text."),
    (
        lambda folder: passages.index_file(None, folder / "i.faiss"),
        "index_path is '{folder}/i.faiss', where there is no file.",
    ),
    (
        lambda _: passages.Knowledge(passages.embedded(rows(), VECTORS), faiss.IndexFlatIP(2), width=2),
        "The index of knowledge_dataset has 0 vectors of 2 numbers, but there are 3 passages with vectors of 2. Give "
        "the index_path that belongs to them, or none.",
    ),
    (
        lambda _: passages.Knowledge(passages.embedded(rows(), VECTORS), faiss.IndexFlatIP(2), width=4),
        "knowledge_dataset has vectors of 2 numbers, and those of questions have 4. Take the encoder of questions that "
        "goes with them.",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_what_is_wrong_with_passages_is_said(call: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    expected = message.replace("{folder}", str(tmp_path))
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        call(tmp_path)


def test_a_file_that_is_no_index_is_named(tmp_path: Path) -> None:
    (tmp_path / "i.faiss").write_text("no", "utf-8")
    with pytest.raises(DataError, match=f"^The file '{re.escape(str(tmp_path))}/i.faiss' is no index of faiss.$"):
        passages.read_index(tmp_path / "i.faiss")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"faiss_d": 100}, "faiss_d is 100, but vectors of passages have 32 numbers. Leave faiss_d out."),
        (
            {"split_text_character": ""},
            "split_text_character is empty. Set what parts the words of a text, such as ' '.",
        ),
        (
            {"faiss_index_type": "Nearest"},
            "faiss_index_type is 'Nearest'. Take 'IndexFlatIP', which searches exactly, 'IndexHNSWFlat', or what "
            "faiss.index_factory takes.",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named(given: dict[str, Any], message: str) -> None:
    passages.check_options(args(faiss_d=32), 32)
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        passages.check_options(args(**given), 32)


def test_faiss_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    message = (
        "A model that looks up passages needs the package 'faiss-cpu'. Install it with: pip install 'easytx[retrieval]'"
    )
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message)}$"):
        passages.check_options(args(), 32)
