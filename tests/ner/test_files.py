from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from easytx.errors import DataError
from easytx.ner import NERArgs
from easytx.ner.files import names_data_file, read_conll, read_words
from easytx.ner.reading import tagged_sentences

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

-DOCSTART- -X- -X- O
Peter NNP B-NP B-PER


# O O O
"""


def _file(text: str, name: str = "data.txt") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def _read(path: Path, *, with_labels: bool = True, **args: Any) -> pd.DataFrame:
    return read_words(path, name="train_df", args=NERArgs(**args), renames={}, with_labels=with_labels)


def test_lines_are_sentences_of_words_and_last_fields() -> None:
    frame = _read(_file(CONLL))
    assert frame["words"].tolist() == [["EU", "rejects"], ["Peter"], ["#"]]
    assert frame["labels"].tolist() == [["B-ORG", "O"], ["B-PER"], ["O"]]


def test_tabs_separate_where_there_are_any() -> None:
    frame = _read(_file("\ufeffNew York\tB-LOC\r\nis big O\r\n"))
    assert frame["words"].tolist() == [["New York", "is"]]
    assert frame["labels"].tolist() == [["B-LOC", "O"]]


def test_a_word_may_hold_other_spaces_than_the_separator() -> None:
    assert _read(_file("10\u00a0000 O\nA\u2028B O\n"))["words"].tolist() == [["10\u00a0000", "A\u2028B"]]


def test_comments_above_a_sentence_are_left_out() -> None:
    frame = _read(_file("# id 4f domain=en\nRome _ _ B-LOC\n\n# sent_id = 2\n# text = On\nOn O\n# O\n"))
    assert frame["words"].tolist() == [["Rome"], ["On", "#"]]


def test_lazy_loading_reads_lines_whatever_the_suffix_and_skips_the_first() -> None:
    frame = _read(_file("word tag\nRome B-LOC\n", "data.csv"), lazy_loading=True, lazy_loading_start_line=1)
    assert frame["words"].tolist() == [["Rome"]]


def test_without_lazy_loading_no_line_is_skipped() -> None:
    assert len(_read(_file("Rome B-LOC\n\nOslo B-LOC\n"), lazy_loading_start_line=1)) == 2


def test_a_line_without_a_label_is_refused() -> None:
    message = (
        "train_df has no label in lines 2, 4 of 'data.txt'. Each line needs a word and, as its last field, a label; a "
        "blank line ends a sentence."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        _read(_file("Rome B-LOC\nis\n\nbig\n"))


def test_to_predict_the_lines_need_no_label_but_the_same_form() -> None:
    assert _read(_file("Rome\nis\n"), with_labels=False).to_dict("list") == {"words": [["Rome", "is"]]}
    message = (
        "train_df is the file 'data.txt', whose lines have from 2 to 3 fields. Such a file needs one word a line, as "
        "the first of equally many fields; a blank line ends a sentence."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        _read(_file("Rome is big.\nSo big.\n"), with_labels=False)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"^train_df is the path 'gone\.txt', where there is no file\.$"):
        _read(Path("gone.txt"))


def test_only_an_empty_field_of_a_table_is_missing() -> None:
    frame = _read(_file("sentence_id,words,labels\n0,NA,O\n0,null,O\n0,007,O\n0,,O\n", "data.csv"))
    assert frame["words"].tolist()[:3] == ["NA", "null", "007"]
    assert frame["words"].isna().tolist() == [False, False, False, True]
    assert frame["sentence_id"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("quoted", [True, False])
def test_quotation_marks_of_a_tsv_file_are_words(quoted: bool) -> None:
    mark = '""""' if quoted else '"'
    frame = _read(_file(f"sentence_id\twords\tlabels\n0\t{mark}\tO\n0\tHi\tO\n0\t{mark}\tO\n", "data.tsv"))
    assert frame["words"].tolist() == ['"', "Hi", '"']


def test_json_and_parquet_are_read_as_they_are() -> None:
    rows = [{"tokens": ["Rome", "007"], "tags": ["B-LOC", "O"]}]
    pd.DataFrame(rows).to_parquet("data.parquet")
    pd.DataFrame(rows).to_json("data.jsonl", orient="records", lines=True)
    for path in ("data.parquet", "data.jsonl"):
        assert [list(cell) for cell in _read(Path(path))["tokens"]] == [["Rome", "007"]]


def test_the_encoding_is_the_callers() -> None:
    Path("data.txt").write_bytes("Å O\n".encode("latin-1"))
    assert read_conll(Path("data.txt"), name="x", encoding="latin-1")["words"].tolist() == [["Å"]]


def test_only_an_existing_data_file_is_no_sentence() -> None:
    _file("Rome O\n", "data.conll")
    assert names_data_file("data.conll")
    assert not names_data_file("Read data.conll")
    assert not names_data_file("gone.conll")
    assert not names_data_file("A line.\nAnother." * 1000)


def test_a_file_without_words(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("\n\n")
    with pytest.raises(DataError) as refused:
        tagged_sentences(path, name="train_df", args=NERArgs())
    assert str(refused.value) == f"train_df is the path '{path}', where there are no words."
