"""The data sets that come with the library are what they say."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from PIL import Image

from easytx.data import samples
from easytx.errors import ArgumentError

COLUMNS = {
    "chats": ["personality", "history", "reply", "candidates"],
    "drawings": ["text", "labels", "images"],
    "manual": ["id", "question", "context", "answers", "is_impossible"],
    "parallel": ["input_text", "target_text"],
    "paraphrases": ["text_a", "text_b", "labels"],
    "places": ["sentence_id", "words", "labels"],
    "support_tickets": ["text", "labels"],
    "toots": ["text", "labels"],
}
TEXTS = {
    "chats": ["personality", "history", "reply"],
    "drawings": ["text", "images"],
    "manual": ["question", "context"],
    "parallel": ["input_text", "target_text"],
    "paraphrases": ["text_a", "text_b"],
    "places": ["words"],
    "support_tickets": ["text"],
    "toots": ["text"],
}


def _texts(name: str, frame: pd.DataFrame) -> list[tuple[str, ...]]:
    if name == "places":
        return [tuple(words) for _, words in frame.groupby("sentence_id", sort=False)["words"]]
    if name == "chats":
        return [(*row.personality, *row.history, row.reply) for row in frame.itertuples()]
    return [*frame[TEXTS[name]].itertuples(index=False, name=None)]


def test_names_are_sorted_and_complete() -> None:
    assert samples.names() == sorted(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_rows_and_index(name: str) -> None:
    train, held_out = samples.load(name)
    for frame in (train, held_out):
        assert list(frame.columns) == COLUMNS[name]
        assert list(frame.index) == list(range(len(frame)))
        assert not frame.isna().any().any()
    assert len(train) > len(held_out) > 0


@pytest.mark.parametrize("name", COLUMNS)
def test_no_row_twice_and_none_in_both(name: str) -> None:
    train, held_out = (_texts(name, frame) for frame in samples.load(name))
    assert len(set(train)) == len(train)
    assert len(set(held_out)) == len(held_out)
    assert set(train) & set(held_out) == set()
    assert all(isinstance(text, (str, bytes)) and text.strip() for row in train + held_out for text in row)


@pytest.mark.parametrize("name", COLUMNS)
def test_two_loads_are_equal_and_apart(name: str) -> None:
    first, _ = samples.load(name)
    pd.testing.assert_frame_equal(first, samples.load(name)[0])
    first.iat[0, 0] = first.iat[1, 0]
    assert samples.load(name)[0].iloc[0, 0] != samples.load(name)[0].iloc[-1, 0]


def test_the_classes_are_in_both_parts() -> None:
    for name, number in (("support_tickets", 5), ("paraphrases", 2), ("drawings", 9)):
        train, held_out = samples.load(name)
        assert set(train["labels"]) == set(held_out["labels"])
        assert train["labels"].nunique() == number
    assert set(samples.load("paraphrases")[0]["labels"]) == {0, 1}


def test_toots_have_any_number_of_six_labels() -> None:
    train, held_out = samples.load("toots")
    found = [{label for row in frame["labels"] for label in row} for frame in (train, held_out)]
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert {len(row) for row in train["labels"]} > {0, 1, 2}
    assert all(isinstance(row, list) and len(set(row)) == len(row) for row in train["labels"])


def test_places_are_tagged_in_the_iob2_scheme() -> None:
    for frame in samples.load("places"):
        for _, tags in frame.groupby("sentence_id", sort=False)["labels"]:
            before = "O"
            for tag in tags:
                assert tag == "O" or tag[:2] in ("B-", "I-")
                if tag.startswith("I-"):
                    assert before[2:] == tag[2:]
                before = tag


def test_answers_stand_where_they_say() -> None:
    for frame in samples.load("manual"):
        assert frame["id"].is_unique
        assert set(frame["is_impossible"]) == {True, False}
        for row in frame.itertuples():
            texts, starts = row.answers["text"], row.answers["answer_start"]
            assert bool(texts) is not row.is_impossible
            assert len(texts) == len(starts)
            for text, start in zip(texts, starts, strict=True):
                assert row.context[start : start + len(text)] == text


def test_neither_the_question_nor_the_picture_is_enough_for_the_answer() -> None:
    train, held_out = samples.load("drawings")
    answers = train.groupby("text")["labels"].agg(set)
    assert set(held_out["text"]) <= set(answers.index)
    colours = {"red", "blue", "green", "yellow"}
    assert all(len(found) > 2 and (found <= colours or not found & colours) for found in answers)
    for content in [*train["images"], *held_out["images"]]:
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size) == ("PNG", (64, 64))


def test_chats_offer_five_different_replies_and_the_true_one_last() -> None:
    for frame in samples.load("chats"):
        for row in frame.itertuples():
            assert len(row.history) % 2 == 1
            assert 2 <= len(row.personality) <= 3
            assert len(set(row.candidates)) == 5
            assert row.candidates[-1] == row.reply
        of_chat = frame.groupby(frame["personality"].map(tuple))["reply"].agg(set)
        for row in frame.itertuples():
            assert of_chat[tuple(row.personality)] & set(row.candidates) == {row.reply}


def test_a_misspelled_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ArgumentError) as refused:
        samples.load("toot")
    assert str(refused.value) == (
        "There is no sample 'toot'. "
        "There are ['chats', 'drawings', 'manual', 'parallel', 'paraphrases', 'places', 'support_tickets', 'toots']. "
        "Did you mean 'toots'?"
    )
