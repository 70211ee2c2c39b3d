from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from easytx.errors import ArgumentError, CheckpointError
from easytx.question_answering.reading import as_questions
from easytx.question_answering.windows import check_window, encode_windows, window_overlap

STORY = "The novel stands in the museum of Oslo. Elin Berg wrote it in 1987; a river flows through the city. "
FRAME = as_questions(
    pd.DataFrame(
        [
            {"context": STORY * 3 + "It has two bridges.", "question": "How far?", "answers": "two bridges"},
            {"context": STORY, "question": "Who wrote it?", "answers": "Elin Berg"},
            {
                "context": "Élodie  «Müller» 🏠🇳🇴 wrote\tnaïve poems in Zürich.",
                "question": "🏠?",
                "answers": "🏠🇳🇴",
            },
            {"context": "\n" + STORY * 2, "question": "Is there no one?", "answers": None},
            {"context": STORY + "ünü", "question": " Where ? ", "answers": "ünü"},
        ]
    )
)


def encode(tokenizer, frame: pd.DataFrame = FRAME, **settings) -> Dataset:
    settings = {"max_length": 40, "stride": 15, "max_query_length": 20, "with_answers": True, **settings}
    return encode_windows(tokenizer, frame, **settings)


def windows_of(dataset: Dataset) -> list[dict]:
    return dataset.to_list()


def test_columns_of_a_short_row_by_hand(tokenizer):
    frame = as_questions([{"context": " A river in  Oslo", "question": "Where is it?", "answers": ["Oslo"]}])
    (window,) = windows_of(encode(tokenizer, frame))
    words = ["[CLS]", "where", "is", "it", "?", "[SEP]", "a", "river", "in", "oslo", "[SEP]"]
    assert window == {
        "input_ids": tokenizer.convert_tokens_to_ids(words),
        "attention_mask": [1] * 11,
        "token_type_ids": [0] * 6 + [1] * 5,
        "row": 0,
        "length": 11,
        "context_start": 6,
        "context_end": 10,
        "offset_starts": [0] * 6 + [1, 3, 9, 13, 0],
        "offset_ends": [0] * 6 + [2, 8, 11, 17, 0],
        "cls_index": 0,
        "start_positions": 9,
        "end_positions": 9,
    }


def test_the_context_comes_first_where_padding_is_on_the_left(byte_tokenizer):
    frame = as_questions([{"context": "ab ç", "question": "x?", "answers": ["ç"]}])
    (window,) = windows_of(encode(byte_tokenizer, frame))
    assert "token_type_ids" not in window
    # Three letters, two bytes of one letter, the end; two letters, the end.
    assert (window["context_start"], window["context_end"], window["length"]) == (0, 5, 9)
    assert window["offset_starts"] == [0, 1, 2, 3, 3, 0, 0, 0, 0]
    assert window["offset_ends"] == [1, 2, 3, 4, 4, 0, 0, 0, 0]
    assert (window["start_positions"], window["end_positions"], window["cls_index"]) == (3, 4, 5)


def test_cls_is_found_wherever_it_stands(tokenizer):
    cls = tokenizer.cls_token_id
    frame = as_questions([{"context": "a [CLS] b", "question": "c", "answers": None}])
    assert windows_of(encode(tokenizer, frame))[0]["cls_index"] == 0
    tokenizer.cls_token = "[SEP]"
    (window,) = windows_of(encode(tokenizer, frame))
    assert window["cls_index"] == 2
    assert window["input_ids"].index(cls) == 0


def test_windows_cover_the_whole_context_in_order(any_tokenizer):
    covered = [np.zeros(len(context), dtype=bool) for context in FRAME["context"]]
    before = None
    for window in windows_of(encode(any_tokenizer)):
        assert window["length"] == len(window["input_ids"]) == len(window["offset_ends"]) <= 40
        context = FRAME["context"][window["row"]]
        span = range(window["context_start"], window["context_end"])
        for place, (start, end) in enumerate(zip(window["offset_starts"], window["offset_ends"], strict=True)):
            assert (start < end) == (place in span)
            covered[window["row"]][start:end] = True
        if before and before["row"] == window["row"]:
            last = before["context_end"] - 1
            assert before["offset_starts"][before["context_start"]] < window["offset_starts"][span.start]
            assert window["offset_starts"][span.start] < before["offset_ends"][last]
        before = window
    for context, found in zip(FRAME["context"], covered, strict=True):
        assert all(found[i] or character.isspace() for i, character in enumerate(context))


def test_each_token_stands_for_its_characters(tokenizer):
    frame = FRAME[FRAME["context"].str.isascii()]
    for window in windows_of(encode(tokenizer, frame)):
        context = frame["context"].iloc[window["row"]].lower()
        span = slice(window["context_start"], window["context_end"])
        tokens = tokenizer.convert_ids_to_tokens(window["input_ids"][span])
        offsets = zip(window["offset_starts"][span], window["offset_ends"][span], strict=True)
        assert [context[start:end] for start, end in offsets] == [token.removeprefix("##") for token in tokens]


def test_answers_map_back_exactly(any_tokenizer):
    held = set()
    for window in windows_of(encode(any_tokenizer)):
        start, end = window["start_positions"], window["end_positions"]
        if start == window["cls_index"] and end == window["cls_index"]:
            continue
        assert window["context_start"] <= start <= end < window["context_end"]
        context = FRAME["context"][window["row"]]
        answer = context[window["offset_starts"][start] : window["offset_ends"][end]]
        assert [answer] == FRAME["answers"][window["row"]]
        held.add(window["row"])
    assert held == {0, 1, 2, 4}


def test_an_answer_that_a_window_cuts_is_not_in_it(tokenizer):
    context = "a b c d e f g h i j"
    frame = as_questions([{"context": context, "question": "k", "answers": ["d e f"]}])
    # Six tokens of context a window, of which neighbours share three: a-f, d-i, g-j.
    windows = windows_of(encode(tokenizer, frame, max_length=10, stride=3))
    texts = [context[w["offset_starts"][3] : w["offset_ends"][w["context_end"] - 1]] for w in windows]
    assert texts == ["a b c d e f", "d e f g h i", "g h i j"]
    assert [(w["start_positions"], w["end_positions"]) for w in windows] == [(6, 8), (3, 5), (0, 0)]


def test_characters_without_a_token_do_not_lose_the_answer(tokenizer):
    frame = as_questions([{"context": "\u200bOslo is green\u200b", "question": "?", "answers": ["\u200bOslo"]}])
    (window,) = windows_of(encode(tokenizer, frame))
    assert (window["start_positions"], window["end_positions"]) == (3, 3)
    frame = as_questions([{"context": "\u200b", "question": "?", "answers": ["\u200b"]}])
    (window,) = windows_of(encode(tokenizer, frame))
    assert window["context_start"] == window["context_end"]
    assert (window["start_positions"], window["end_positions"]) == (0, 0)


def test_long_questions_are_cut(any_tokenizer):
    frame = as_questions([{"context": STORY * 3, "question": "where is it? " * 50 + "🏠", "answers": None}])
    for limit in (1, 7, 20):
        windows = windows_of(encode(any_tokenizer, frame, max_query_length=limit))
        specials = any_tokenizer.num_special_tokens_to_add(pair=True)
        first = windows[0]
        assert first["length"] == 40
        assert 40 - specials - (first["context_end"] - first["context_start"]) == limit


def test_rows_do_not_depend_on_the_rows_beside_them(any_tokenizer):
    settings = {"stride": None, "doc_stride": 12}
    together = windows_of(encode(any_tokenizer, **settings))
    alone = [
        {**window, "row": row}
        for row in range(len(FRAME))
        for window in windows_of(encode(any_tokenizer, FRAME.iloc[[row]], **settings))
    ]
    assert together == alone


def test_doc_stride_is_how_far_a_window_moves_on(tokenizer):
    frame = as_questions([{"context": "a " * 50, "question": "b c", "answers": None}])
    windows = windows_of(encode(tokenizer, frame, max_length=25, stride=None, doc_stride=7))
    assert [w["offset_starts"][w["context_start"]] for w in windows] == [0, 14, 28, 42, 56, 70]
    assert windows[0]["context_end"] - windows[0]["context_start"] == 20


def test_answers_are_left_out_where_nobody_needs_them(tokenizer):
    assert "start_positions" not in encode(tokenizer, with_answers=False).column_names


@pytest.mark.parametrize(
    ("doc_stride", "expected"),
    # A window of 128 with a question of 10 and 3 special tokens has room for 115.
    [(64, 51), (114, 1), (115, 28), (384, 28)],
)
def test_overlap_of_a_doc_stride(doc_stride, expected):
    assert window_overlap(128, doc_stride, 10, 3) == expected


def test_lengths_that_do_not_fit_together(tokenizer):
    check_window(20, 6, 10, 3)
    with pytest.raises(ArgumentError) as error:
        check_window(13, 0, 10, 3)
    assert str(error.value) == (
        "max_seq_length=13 leaves no room for the context: a question takes up to 10 tokens and there are 3 "
        "special tokens. Raise max_seq_length or lower max_query_length."
    )
    with pytest.raises(ArgumentError) as error:
        check_window(20, 7, 10, 3)
    assert str(error.value) == (
        "Windows of max_seq_length=20 have room for 7 tokens of context, so neighbours can share 0 to 6 tokens, "
        "but not 7. Change the stride, raise max_seq_length or lower max_query_length."
    )
    with pytest.raises(ArgumentError, match="doc_stride must be at least 1, but is 0"):
        window_overlap(20, 0, 10, 3)
    with pytest.raises(ArgumentError, match="Give either stride or doc_stride"):
        encode(tokenizer, doc_stride=3)
    with pytest.raises(ArgumentError, match="neighbours can share 0 to"):
        encode(tokenizer, stride=39)


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(CheckpointError, match="needs a tokenizer that knows each token's characters; object does not"):
        encode(object())
