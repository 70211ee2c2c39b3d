from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from easytx.errors import DataError, LabelError
from easytx.ner import NERArgs
from easytx.ner.reading import refuse_texts, tagged_sentences, untagged_sentences

SENTENCES = [["John", "lives", "in", "New", "York"], ["Anna", "met", "Mary"]]
TAGS = [["B-PER", "O", "O", "B-LOC", "I-LOC"], ["B-PER", "O", "B-PER"]]
PAIRS = list(zip(SENTENCES, TAGS, strict=True))


def _tagged(data: Any, **options: Any) -> pd.DataFrame:
    return tagged_sentences(data, name="train_df", args=NERArgs(), **options)


def _untagged(data: Any, **options: Any) -> pd.DataFrame:
    return untagged_sentences(data, name="to_predict", args=NERArgs(), **options)


def _refused(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def _class_labels(kind: str) -> datasets.Dataset:
    names = datasets.ClassLabel(names=["O", "B-PER", "B-LOC", "I-LOC"])
    numbers = [[1, 0, 0, 2, 3], [1, 0, 1]]
    if kind == "a row a sentence":
        features = datasets.Features(tokens=datasets.List(datasets.Value("string")), ner_tags=datasets.List(names))
        return datasets.Dataset.from_dict({"tokens": SENTENCES, "ner_tags": numbers}, features=features)
    columns = {"sentence_id": [0] * 5 + [1] * 3, "words": list(chain(*SENTENCES)), "labels": list(chain(*numbers))}
    features = datasets.Features(sentence_id=datasets.Value("int64"), words=datasets.Value("string"), labels=names)
    return datasets.Dataset.from_dict(columns, features=features)


def _forms(frame: pd.DataFrame) -> dict[str, Any]:
    frame.to_csv("words.csv", index=False)
    frame.astype(str).to_parquet("words.parquet")
    lines = [" ".join(f"{word} {tag}\n" for word, tag in zip(*pair, strict=True)) for pair in PAIRS]
    Path("words.conll").write_text("\n".join(lines).replace("\n ", "\n"), encoding="utf-8")
    lists = pd.DataFrame({"tokens": SENTENCES, "tags": TAGS})
    return {
        "frame": frame,
        "arrow strings": frame.astype({"words": "string", "labels": "category"}),
        "dicts": frame.to_dict("records"),
        "csv": "words.csv",
        "parquet": Path("words.parquet"),
        "conll": "words.conll",
        "pairs": PAIRS,
        "arrays": [(np.array(words), tuple(tags)) for words, tags in PAIRS],
        "headerless pairs": pd.DataFrame(PAIRS),
        "lists": lists,
        "dicts of lists": lists.rename(columns={"tags": "labels"}).to_dict("records"),
        "dataset": datasets.Dataset.from_pandas(lists),
        "class labels": _class_labels("a row a sentence"),
        "class labels of words": _class_labels("a row a word"),
    }


FORMS = [
    "frame",
    "arrow strings",
    "dicts",
    "csv",
    "parquet",
    "conll",
    "pairs",
    "arrays",
    "headerless pairs",
    "lists",
    "dicts of lists",
    "dataset",
    "class labels",
    "class labels of words",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_one_row_a_sentence(form: str, frame: pd.DataFrame) -> None:
    found = _tagged(_forms(frame)[form])
    assert found["words"].tolist() == SENTENCES
    assert found["labels"].tolist() == TAGS
    assert all(type(word) is str for words in found["words"] for word in words)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_predicted(form: str, frame: pd.DataFrame) -> None:
    found = _untagged(_forms(frame)[form])
    assert found["words"].tolist() == SENTENCES
    assert "labels" not in found


def test_a_frame_without_column_names_is_taken_in_order(frame: pd.DataFrame) -> None:
    bare = frame.set_axis(range(3), axis="columns")
    with pytest.warns(UserWarning, match=r"taken as \['sentence_id', 'words', 'labels'\], in this order"):
        assert _tagged(bare)["words"].tolist() == SENTENCES
    with pytest.warns(UserWarning, match="in this order"):
        assert _untagged(bare)["words"].tolist() == SENTENCES


def test_columns_can_have_other_names(frame: pd.DataFrame) -> None:
    renamed = frame.rename(columns={"sentence_id": "doc", "words": "form", "labels": "entity"})
    renames = {"sentence_id": "doc", "words": "form", "labels": "entity"}
    assert _tagged(renamed, renames=renames)["labels"].tolist() == TAGS
    renamed.to_csv("words.csv", index=False)
    assert _tagged("words.csv", renames=renames)["labels"].tolist() == TAGS


def test_sentences_come_in_the_order_of_their_first_words(frame: pd.DataFrame) -> None:
    mixed = frame.iloc[[5, 0, 6, 1, 2, 7, 3, 4]].set_axis(list("abcdefgh"), axis="index")
    found = _tagged(mixed)
    assert found["sentence_id"].tolist() == ["b", 7]
    assert found["words"].tolist() == SENTENCES[::-1]
    assert found["row"].tolist() == [[0, 2, 5], [1, 3, 4, 6, 7]]
    assert found["index"].tolist() == [["a", "c", "f"], ["b", "d", "e", "g", "h"]]


def test_rows_that_are_sentences_keep_their_index() -> None:
    lists = pd.DataFrame({"words": SENTENCES, "labels": TAGS}, index=[30, 10])
    assert _tagged(lists).index.tolist() == [30, 10]
    assert _tagged(lists)["sentence_id"].tolist() == [30, 10]
    assert _tagged(lists.assign(sentence_id=["x", "y"]))["sentence_id"].tolist() == ["x", "y"]


def test_what_came_in_stays_as_it_was(frame: pd.DataFrame) -> None:
    before = frame.copy()
    _tagged(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_numbers_among_the_words_are_words() -> None:
    rows = pd.DataFrame({"sentence_id": [0, 0, 0], "words": ["In", 1999, 3.5], "labels": ["O", "O", "O"]})
    assert _tagged(rows)["words"].tolist() == [["In", "1999", "3.5"]]


def test_numbers_stand_for_known_labels() -> None:
    data = [(["In", "Rome"], [0, 1])]
    assert _tagged(data, tags=["O", "B-LOC"])["labels"].tolist() == [["O", "B-LOC"]]
    assert _tagged(data, tags=[0, 1])["labels"].tolist() == [[0, 1]]


def test_numbers_without_labels_are_refused() -> None:
    data = [(["In", "Rome"], ["O", "O"]), (["Rome"], [1])]
    message = "train_df has numbers for tags that no label stands for, such as 1 (row 1). "
    with _refused(LabelError, message + "Give the model labels=[...]."):
        _tagged(data)
    with _refused(LabelError, message + "The model has 1 labels, numbered from 0."):
        _tagged(data, tags=["O"])


def test_missing_columns_are_named(frame: pd.DataFrame) -> None:
    message = (
        "train_df needs the columns ['sentence_id', 'words', 'labels'], but has ['sentence_id', 'word', 'labels']. "
        "Rename them, for example train_df.rename(columns={'word': 'words'})."
    )
    with _refused(DataError, message):
        _tagged(frame.rename(columns={"words": "word"}))
    message = (
        "train_df needs the columns ['words', 'labels'], but has ['words']. Rename columns, or name yours with "
        "labels_column=...."
    )
    with _refused(DataError, message):
        _tagged(pd.DataFrame({"words": SENTENCES}))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_word_is_refused_with_its_row(missing: Any, frame: pd.DataFrame) -> None:
    rows = frame.astype(object)
    rows.loc[[2, 6], "words"] = missing
    with _refused(DataError, "train_df has no word in 2 rows of the column 'words': rows 2, 6. Fill or drop them."):
        _tagged(rows)
    with _refused(DataError, "train_df has no word in 1 row of the column 'words': row 1. Fill or drop them."):
        _tagged([*PAIRS[:1], (["Anna", missing], ["O", "O"])])


@pytest.mark.parametrize("missing", [None, np.nan, ""])
def test_a_missing_tag_is_refused_with_its_row(missing: Any, frame: pd.DataFrame) -> None:
    rows = frame.astype(object)
    rows.loc[3, "labels"] = missing
    message = (
        "train_df has no tag in 1 row of the column 'labels': row 3. Every word needs one: 'O' is the usual tag "
        "outside of entities."
    )
    with _refused(DataError, message):
        _tagged(rows)


def test_a_missing_sentence_id_is_refused_with_its_row(frame: pd.DataFrame) -> None:
    message = (
        "train_df has no sentence_id in 2 rows: rows 1, 2. Where only the first word of a sentence has one, fill the "
        "others: train_df['sentence_id'] = train_df['sentence_id'].ffill()."
    )
    with _refused(DataError, message):
        _tagged(frame.assign(sentence_id=[1, None, np.nan, 2, 2, 3, 3, 3]))


def test_words_and_tags_of_different_length_are_refused() -> None:
    message = "train_df has words and tags of different length in 2 rows: rows 1, 2. Row 1 has 3 words and 1 tag."
    with _refused(DataError, message):
        _tagged([PAIRS[0], (SENTENCES[1], ["O"]), (["a"], ["O", "O"])])


def test_a_sentence_without_words_is_refused() -> None:
    with _refused(DataError, "train_df has no words in 1 row: row 1. Drop these rows."):
        _tagged([PAIRS[0], ([], [])])


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("Anna met", ["O"]), "train_df has a str instead of a list of words in the column 'words': row 1."),
        ((["Anna"], "O"), "train_df has a str instead of a list of tags in the column 'labels': row 1."),
        (
            (["Anna", ["met"]], ["O", "O"]),
            "train_df has a list instead of a word in the column 'words': row 1. Give one word and its tag a row, or a "
            "list of words and a list of tags.",
        ),
        (
            (["Anna"], [{}]),
            "train_df has a dict instead of a tag in the column 'labels': row 1. Give one word and its tag a row, or a "
            "list of words and a list of tags.",
        ),
    ],
)
def test_other_things_than_words_and_tags_are_refused(pair: Any, message: str) -> None:
    with _refused(DataError, message):
        _tagged(pd.DataFrame([PAIRS[0], pair], columns=["words", "labels"]))


@pytest.mark.parametrize(
    "empty", [[], pd.DataFrame({"sentence_id": [], "words": [], "labels": []})], ids=["list", "frame"]
)
def test_no_rows_are_refused(empty: Any) -> None:
    with _refused(DataError, "train_df has no rows."):
        _tagged(empty)
    with _refused(DataError, "to_predict has no rows."):
        _untagged(empty)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(DataError, match=r"^train_df must be a DataFrame, a path, .* but is a dict\. Give pd"):
        _tagged({"words": SENTENCES})


@pytest.mark.parametrize(
    "data",
    [
        ["Anna  met\tMary ", "Rome"],
        [["Anna", "met", "Mary"], "Rome"],
        pd.Series(["Anna met Mary", "Rome"]),
        pd.DataFrame({"text": ["Anna met Mary", "Rome"], "source": ["a", "b"]}),
        pd.DataFrame({"sentence": ["Anna met Mary", "Rome"]}),
        pd.DataFrame({"words": [["Anna", "met", "Mary"], ["Rome"]]}),
        [{"text": "Anna met Mary"}, {"text": "Rome"}],
    ],
    ids=["texts", "both", "series", "frame", "one column", "lists", "dicts"],
)
def test_texts_are_split_at_white_space_and_lists_are_not(data: Any) -> None:
    assert _untagged(data)["words"].tolist() == [["Anna", "met", "Mary"], ["Rome"]]


def test_one_text_is_one_sentence() -> None:
    assert _untagged("Anna met Mary")["words"].tolist() == [["Anna", "met", "Mary"]]


def test_words_in_lists_are_not_split() -> None:
    assert _untagged([["New York", "is"]])["words"].tolist() == [["New York", "is"]]


def test_rows_of_words_are_put_together_to_predict(frame: pd.DataFrame) -> None:
    found = _untagged(frame.drop(columns="labels"))
    assert found["words"].tolist() == SENTENCES
    assert found["sentence_id"].tolist() == [7, "b"]


def test_an_empty_text_stays_in_its_place() -> None:
    assert _untagged(["Anna", "", " ", []])["words"].tolist() == [["Anna"], [], [], []]


def test_a_missing_text_is_refused() -> None:
    with _refused(DataError, "to_predict has no text in 2 rows: rows 1, 2."):
        _untagged(["Anna", None, np.nan])
    with _refused(DataError, "to_predict has an int instead of a text or a list of words: row 1."):
        _untagged(["Anna", 5])


def test_texts_can_be_refused() -> None:
    message = "to_predict has a text in 1 row (row 1), but with split_on_space=False each row is a list of words."
    with _refused(DataError, message):
        refuse_texts([["Anna"], "met"], name="to_predict")
    with _refused(DataError, message.replace("row 1", "row 0")):
        refuse_texts("met", name="to_predict")
    refuse_texts([["Anna"], ["met"]], name="to_predict")
    refuse_texts(pd.DataFrame({"words": [["Anna"]]}), name="to_predict")
