from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from easytx.question_answering.reading import as_questions
from easytx.question_answering.spans import SpanPrediction, best_spans
from easytx.question_answering.windows import encode_windows

STORY = "The novel stands in the museum of Oslo. Elin Berg wrote it in 1987; a river flows through the city. "


def questions(*rows: tuple[str, str | None]) -> pd.DataFrame:
    return as_questions([{"context": context, "question": "Who?", "answers": answer} for context, answer in rows])


def encode(tokenizer, frame: pd.DataFrame, **settings) -> Dataset:
    settings = {"max_length": 40, "stride": 15, "max_query_length": 20, "with_answers": True, **settings}
    return encode_windows(tokenizer, frame, **settings)


def decode(logits: list[np.ndarray], dataset: Dataset, frame: pd.DataFrame, **settings) -> list[SpanPrediction]:
    defaults = {
        "n_best": 5,
        "max_answer_length": 30,
        "null_score_diff_threshold": 0.0,
        "allow_no_answer": True,
    }
    return best_spans(logits, dataset, frame, **{**defaults, **settings})


def zeros(dataset: Dataset) -> list[np.ndarray]:
    return [np.zeros((length, 2), dtype=np.float32) for length in dataset["length"]]


def one_window(tokenizer, context: str, starts: list[float], ends: list[float], null: float = 0.0, **settings):
    """Decode one window whose context tokens, and CLS, have the given logits."""
    frame = questions((context, None))
    dataset = encode(tokenizer, frame)
    (logits,) = zeros(dataset)
    span = slice(dataset[0]["context_start"], dataset[0]["context_end"])
    logits[span, 0], logits[span, 1] = starts, ends
    logits[dataset[0]["cls_index"], 0] = null
    (prediction,) = decode([logits], dataset, frame, **settings)
    return prediction


@pytest.mark.parametrize("stride", [0, 4, 15])
def test_perfect_logits_give_back_the_gold_answers(any_tokenizer, stride):
    frame = questions(
        (STORY * 3 + "It has two bridges.", "two bridges"),
        (STORY, "Elin Berg"),
        ("Élodie  «Müller» 🏠🇳🇴 wrote\tnaïve poems in Zürich.", "🏠🇳🇴"),
        ("\n" + STORY * 2, None),
        (STORY * 2 + "ünü", "ünü"),
    )
    dataset = encode(any_tokenizer, frame, stride=stride, max_length=64)
    logits = zeros(dataset)
    for window, scores in zip(dataset, logits, strict=True):
        scores[window["start_positions"], 0] = scores[window["end_positions"], 1] = 9
    predictions = decode(logits, dataset, frame)
    for prediction, answers, starts in zip(predictions, frame["answers"], frame["answer_starts"], strict=True):
        assert prediction.answers[0] == (answers[0] if answers else "")
        assert prediction.start_chars[0] == (starts[0] if starts else -1)
        assert (prediction.null_odds > 0) == (not answers)
        assert sum(prediction.probabilities) == pytest.approx(1)


def test_answers_fall_in_score_and_their_probabilities_are_a_softmax(tokenizer):
    prediction = one_window(tokenizer, "a b", [2.0, 1.0], [0.0, 0.5], null=0.75)
    # a: 2.0; a b: 2.5; b: 1.5; nothing: 0.75.
    assert prediction.answers == ["a b", "a", "b", ""]
    assert prediction.start_chars == [0, 0, 2, -1]
    weights = [math.exp(score) for score in (2.5, 2.0, 1.5, 0.75)]
    assert prediction.probabilities == pytest.approx([weight / sum(weights) for weight in weights])
    assert prediction.null_odds == pytest.approx(-1.75)
    assert prediction.best_non_null == "a b"


def test_nothing_is_an_answer_only_where_it_may_be(tokenizer):
    prediction = one_window(tokenizer, "a b", [2.0, 1.0], [0.0, 0.5], null=9.0, allow_no_answer=False)
    assert prediction.answers == ["a b", "a", "b"]
    assert prediction.null_odds == pytest.approx(6.5)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, ["", "a b", "a", "b"]), (0.49, ["", "a b", "a", "b"]), (0.5, ["a b", "", "a", "b"])],
)
def test_the_threshold_decides_whether_nothing_comes_first(tokenizer, threshold, expected):
    prediction = one_window(tokenizer, "a b", [2.0, 1.0], [0.0, 0.5], null=3.0, null_score_diff_threshold=threshold)
    assert prediction.answers == expected


@pytest.mark.parametrize(("null", "n_best", "expected"), [(9.0, 1, [""]), (0.0, 1, ["a b"]), (0.0, 2, ["a b", ""])])
def test_no_more_answers_than_asked_for(tokenizer, null, n_best, expected):
    prediction = one_window(tokenizer, "a b", [2.0, 1.0], [0.0, 0.5], null=null, n_best=n_best)
    assert prediction.answers == expected
    assert sum(prediction.probabilities) == pytest.approx(1)


def test_answers_that_read_the_same_count_once(tokenizer):
    prediction = one_window(
        tokenizer, "a b a", [1.0, 0.0, 2.0], [1.0, 0.0, 2.0], allow_no_answer=False, max_answer_length=1
    )
    assert prediction.answers == ["a", "b"]
    assert prediction.start_chars == [4, 2]


def test_answers_have_at_most_so_many_tokens(tokenizer):
    starts, ends = [5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 5.0]
    assert one_window(tokenizer, "a b c d", starts, ends).answers[0] == "a b c d"
    assert one_window(tokenizer, "a b c d", starts, ends, max_answer_length=3).answers[0] == "a b c"


def test_starts_after_all_ends_still_give_an_answer(tokenizer):
    letters = " ".join("abcdefghijklmnopqrstuvwxyz")
    frame = questions((letters + " " + letters, None))
    dataset = encode(tokenizer, frame, max_length=60)
    (logits,) = zeros(dataset)
    span = slice(dataset[0]["context_start"], dataset[0]["context_end"])
    # The 26 best ends precede the 26 best starts, and only neighbours may form an answer.
    logits[span, 0] = np.r_[np.zeros(26), np.full(26, 9.0)]
    logits[span, 1] = np.r_[np.full(26, 9.0), np.zeros(25), 1.0]
    (prediction,) = decode([logits], dataset, frame, n_best=1, max_answer_length=2, allow_no_answer=False)
    assert prediction.answers in (["y z"], ["z"])
    assert prediction.start_chars[0] >= 26


def test_a_context_without_tokens_has_the_empty_answer(tokenizer):
    frame = questions(("\u200b", None), ("a b", "b"))
    dataset = encode(tokenizer, frame)
    for allow_no_answer in (True, False):
        empty, _ = decode(zeros(dataset), dataset, frame, allow_no_answer=allow_no_answer)
        assert empty == SpanPrediction([""], [1.0], [-1], 0.0, "")


def test_nothing_scores_what_its_worst_window_gives(tokenizer):
    frame = questions(("a b c d e f g h i j", None))
    dataset = encode(tokenizer, frame, max_length=11, stride=3)
    logits = zeros(dataset)
    for scores, null in zip(logits, (4.0, 1.0, 3.0), strict=True):
        scores[0, 0] = null
    (prediction,) = decode(logits, dataset, frame)
    assert prediction.null_odds == pytest.approx(1.0)


def test_a_span_counts_where_it_has_the_most_context(tokenizer):
    # Windows a-f, d-i and g-j; the overlap d-f has its middle in e.
    frame = questions(("a b c d e f g h i j", None))
    dataset = encode(tokenizer, frame, max_length=11, stride=3)
    logits = zeros(dataset)
    logits[0][9] = 9.0  # f at the rim of the first window
    logits[1][6] = 1.0  # f in the second
    logits[1][4] = 9.0  # d at the rim of the second
    logits[0][5] = 2.0  # b, in the first alone
    (prediction,) = decode(logits, dataset, frame, max_answer_length=1, allow_no_answer=False)
    assert prediction.answers[:2] == ["b", "f"]
    assert prediction.probabilities[1] / prediction.probabilities[0] == pytest.approx(math.exp(2.0 - 4.0))


def all_spans(windows: list[dict], logits: list[np.ndarray], context: str, longest: int) -> dict[str, float]:
    """Score each text by going through every span of every window, one by one."""
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for window, scores in zip(windows, logits, strict=True):
        starts, ends = window["offset_starts"], window["offset_ends"]
        first, last = window["context_start"], window["context_end"] - 1
        for i in range(first, last + 1):
            for j in range(i, min(i + longest, last + 1)):
                # The nearer the middles of span and window, the more context on the poorer side.
                distance = abs(starts[i] + ends[j] - starts[first] - ends[last])
                found = (-distance, float(scores[i, 0] + scores[j, 1]))
                span = (starts[i], ends[j])
                best[span] = max(found, best.get(span, found), key=lambda pair: pair[0])
    texts: dict[str, float] = {}
    for (start, end), (_, score) in best.items():
        text = context[start:end].strip()
        if text:
            texts[text] = max(score, texts.get(text, score))
    return texts


@pytest.mark.parametrize(("stride", "words"), [(0, 45), (6, 42), (13, 45)])
def test_the_same_as_going_through_all_spans(tokenizer, stride, words):
    # All words have one letter, so that windows are equally long in tokens and in characters.
    context = " ".join("abcdefghijklmnopqrstuvwxyz" * 2)[: 2 * words - 1]
    frame = questions((context, None))
    dataset = encode(tokenizer, frame, max_length=20, stride=stride)
    windows = dataset.to_list()
    assert len({window["length"] for window in windows}) == 1
    random = np.random.default_rng(stride)
    logits = [random.normal(size=(length, 2)).astype(np.float32) for length in dataset["length"]]
    expected = all_spans(windows, logits, context, 3)
    (prediction,) = decode(logits, dataset, frame, n_best=1000, max_answer_length=3, allow_no_answer=False)
    assert prediction.answers == sorted(expected, key=lambda text: -expected[text])
    scores = np.array([expected[text] for text in prediction.answers])
    assert prediction.probabilities == pytest.approx(np.exp(scores) / np.exp(scores).sum())


def test_rows_do_not_depend_on_the_rows_beside_them(any_tokenizer):
    frame = questions(*((STORY * number, None) for number in (3, 1, 2, 1)))
    dataset = encode(any_tokenizer, frame)
    random = np.random.default_rng(0)
    logits = [random.normal(size=(length, 2)).astype(np.float32) for length in dataset["length"]]
    together = decode(logits, dataset, frame)
    rows = np.array(dataset["row"])
    for row in range(len(frame)):
        mine = np.flatnonzero(rows == row)
        part = dataset.select(mine).map(lambda _: {"row": 0})
        (alone,) = decode([logits[i] for i in mine], part, frame.iloc[[row]])
        assert alone == together[row]


def test_many_windows_are_decoded_in_parts(tokenizer, monkeypatch):
    frame = questions(*((STORY * number, None) for number in (3, 1, 2, 4)))
    dataset = encode(tokenizer, frame)
    random = np.random.default_rng(1)
    logits = [random.normal(size=(length, 2)).astype(np.float32) for length in dataset["length"]]
    whole = decode(logits, dataset, frame)
    monkeypatch.setattr("easytx.question_answering.spans._CHUNK", 2)
    assert decode(logits, dataset, frame) == whole


def test_logits_that_are_not_numbers_do_not_win(tokenizer):
    prediction = one_window(tokenizer, "a b", [math.nan, 1.0], [0.0, math.inf], null=math.nan)
    assert prediction.answers[0] == ""
    assert not any(math.isnan(probability) for probability in prediction.probabilities)
