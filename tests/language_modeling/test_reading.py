"""Texts come from files, tables, lists and datasets."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset, IterableDataset

from easytx.errors import ArgumentError, DataError
from easytx.language_modeling import LanguageModelingArgs
from easytx.language_modeling.reading import documents, lines_of, streamed

TEXTS = ["One text.", "Another\ttext."]


def _read(data: object, **args: object) -> list[str]:
    return documents(data, name="train_df", args=LanguageModelingArgs(**args))["text"].tolist()


def test_each_line_of_a_file_is_a_document_and_blank_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One text.\n\n  \nAnother\ttext.\n", "utf-8")
    for kind in ("simple", "line_by_line", "None"):
        assert _read(str(tmp_path / "a.txt"), dataset_type=kind) == TEXTS
    assert _read(tmp_path / "a.txt", dataset_type="text") == ["One text.\n\n  \nAnother\ttext.\n"]


def test_several_files_follow_each_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name} 1\n{name} 2\n", "utf-8")
    paths = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    assert _read(paths) == ["a 1", "a 2", "b 1", "b 2"]
    assert list(lines_of([Path(path) for path in paths], LanguageModelingArgs(), name="x")) == [
        "a 1\n",
        "a 2\n",
        "b 1\n",
        "b 2\n",
    ]


def test_tables_have_a_column_of_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "more": [1, 2]}, index=[7, 3])
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "a.data", orient="records", lines=True)
    assert _read(str(tmp_path / "a.tsv")) == _read(str(tmp_path / "a.jsonl")) == TEXTS
    assert _read(str(tmp_path / "a.data"), data_format="jsonl") == TEXTS
    assert documents(frame, name="x", args=LanguageModelingArgs()).index.tolist() == [7, 3]
    renamed = documents(
        frame.rename(columns={"text": "t"}), name="x", args=LanguageModelingArgs(), renames={"text": "t"}
    )
    assert renamed["text"].tolist() == TEXTS


def test_lists_series_and_datasets_are_taken(tmp_path: Path) -> None:
    assert _read(TEXTS) == _read(pd.Series(TEXTS)) == _read([{"text": text} for text in TEXTS]) == TEXTS
    dataset = Dataset.from_dict({"text": TEXTS})
    assert _read(dataset) == _read(dataset.to_iterable_dataset()) == TEXTS


def test_what_is_wrong_with_texts_is_said(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text("\n \n", "utf-8")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    wrong = {
        "no.txt": r"^train_df is the path 'no\.txt', where there is no file\. Texts themselves are given as a list",
        "A text. " * 1000: r"^train_df is the path 'A text\. A text\.",
        str(tmp_path / "blank.txt"): "which has no text",
        str(tmp_path / "latin.txt"): r"which is not utf-8 \(see args.encoding\)",
    }
    for data, message in wrong.items():
        with pytest.raises(DataError, match=message):
            _read(data)
    with pytest.raises(DataError, match=r"^train_df has no text in 1 row of the column 'text': row 1\."):
        _read(["a text", None])
    assert _read(str(tmp_path / "latin.txt"), encoding="latin-1") == ["caf\xe9"]
    # Windows puts a mark at the beginning, and ends lines in its own way.
    (tmp_path / "windows.txt").write_bytes("\ufeffone\r\ntwo\r\n".encode())
    for encoding in (None, "UTF-8", "utf8"):
        assert _read(str(tmp_path / "windows.txt"), encoding=encoding) == ["one", "two"]


def test_files_are_streamed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One text.\n\nAnother\ttext.\n", "utf-8")
    pd.DataFrame({"text": TEXTS, "more": [1, 2]}).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    args = LanguageModelingArgs(max_steps=3)
    iterable = Dataset.from_dict({"text": TEXTS}).to_iterable_dataset()
    for data in (str(tmp_path / "a.txt"), str(tmp_path / "a.jsonl"), iterable):
        found = streamed(data, name="train_df", args=args)
        assert isinstance(found, IterableDataset)
        assert [row["text"] for row in found] == TEXTS
    with pytest.raises(ArgumentError, match="Set max_steps in args"):
        streamed(str(tmp_path / "a.txt"), name="train_df", args=LanguageModelingArgs())
    with pytest.raises(ArgumentError, match="but train_df is a DataFrame"):
        streamed(pd.DataFrame({"text": TEXTS}), name="train_df", args=args)
