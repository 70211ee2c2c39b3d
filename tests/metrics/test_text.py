"""Scores of texts, against cases worked out by hand."""

from __future__ import annotations

import builtins
import math
from typing import Any

import pytest

from easytx.errors import ArgumentError, MissingExtraError
from easytx.metrics.text import bleu, check_text_metrics, exact_match, rouge, text_scores, word_f1


def test_exact_match_minds_everything_but_white_space_at_the_ends() -> None:
    assert exact_match(["a b", "C", "d", "e"], [" a b\n", "c", "d", "e."]) == 0.5


def test_bleu_is_the_geometric_mean_of_precisions() -> None:
    # 6 words of which 5 are right; pairs 4 of 5, threes 3 of 4, fours 2 of 3; as long as the truth.
    expected = 100 * math.exp(sum(map(math.log, (5 / 6, 4 / 5, 3 / 4, 2 / 3))) / 4)
    assert bleu(["one two three four five six"], ["one two three four five seven"]) == pytest.approx(expected)


def test_bleu_of_too_short_texts_is_lowered() -> None:
    expected = 100 * math.exp(1 - 6 / 5)
    assert bleu(["one two three four five six"], ["one two three four five"]) == pytest.approx(expected)


def test_bleu_is_counted_over_all_texts_together() -> None:
    # 10 of 11 words, 8 of 9 pairs, 6 of 7 threes, 4 of 5 fours.
    truth, predictions = ["a b c d e f", "u v w x y"], ["a b c d e z", "u v w x y"]
    expected = 100 * math.exp(sum(map(math.log, (10 / 11, 8 / 9, 6 / 7, 4 / 5))) / 4)
    assert bleu(truth, predictions) == pytest.approx(expected)
    assert bleu(truth, truth) == pytest.approx(100)


def test_rouge_is_the_mean_f1_of_the_rows() -> None:
    scores = rouge(["the cat sat on the mat", "x y"], ["the cat lay on a mat", "x y"])
    # Words: the, cat, on, mat of 6 and 6; pairs: "the cat" of 5 and 5; the longest run in order has 4 of 6 and 6.
    assert scores == pytest.approx({"rouge1": (4 / 6 + 1) / 2, "rouge2": (1 / 5 + 1) / 2, "rougeL": (4 / 6 + 1) / 2})


def test_rouge_of_texts_of_other_lengths_and_scripts() -> None:
    # 2 of 3 words are right and 2 of 4 are found: F1 is 4 / 7.
    assert rouge(["Größe und Maß bitte"], ["größe UND mass"])["rouge1"] == pytest.approx(4 / 7)
    assert rouge(["мама мыла раму"], ["мама мыла раму."])["rougeL"] == 1.0
    assert rouge(["a"], [""])["rouge1"] == 0.0


def test_f1_is_of_words_whatever_their_order_and_case() -> None:
    # 2 of 3 words are right and 2 of 4 are found; "the" is there twice in one text only.
    assert word_f1(["The cat sat"], ["sat the, the dog!"]) == pytest.approx(4 / 7)
    assert word_f1(["a b", "c"], ["B, a.", "d"]) == 0.5
    assert word_f1(["...", "a"], ["!", ""]) == 0.5


def test_only_the_wanted_scores_are_computed() -> None:
    assert set(text_scores(["a"], ["a"])) == {"exact_match", "f1_score", "bleu", "rouge1", "rouge2", "rougeL"}
    assert set(text_scores(["a"], ["a"], ["bleu"])) == {"bleu"}
    assert text_scores(["a"], ["a"], []) == {}


def test_an_unknown_score_is_named() -> None:
    message = r"^text_metrics must be of exact_match, f1, bleu, rouge, but has \['meteor'\]\.$"
    with pytest.raises(ArgumentError, match=message):
        check_text_metrics(["bleu", "meteor"])


@pytest.mark.parametrize(
    ("module", "package", "score"), [("sacrebleu", "sacrebleu", "bleu"), ("rouge_score", "rouge-score", "rouge")]
)
def test_a_score_whose_library_is_missing_says_what_brings_it(
    module: str, package: str, score: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith(module):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    message = rf"^{score.upper()} needs the package '{package}'\. Install it with: pip install 'easytx\[generation\]'$"
    with pytest.raises(MissingExtraError, match=message):
        check_text_metrics(["exact_match", score])
    check_text_metrics(["exact_match"])
