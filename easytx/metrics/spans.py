"""Scores for answers taken from a text.

`squad_scores` and `best_null_threshold` follow the definitions of the scorer published with SQuAD 2.0
(Rajpurkar, Jia and Liang 2018, "Know What You Don't Know"), so that the numbers compare with published ones.
`answer_overlap` sorts answers into correct, similar and incorrect, to read them one by one.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from easytx.errors import DataError

__all__ = [
    "answer_overlap",
    "best_null_threshold",
    "exact_match",
    "normalise_answer",
    "squad_scores",
    "token_f1",
]

Answers: TypeAlias = Mapping[Any, str]
Truths: TypeAlias = Mapping[Any, Sequence[str]]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_IDS_NAMED = 5


def normalise_answer(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation, "a", "an", "the" and extra white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, truths: Sequence[str]) -> float:
    """Return 1 if the prediction is one of the true answers after normalisation, else 0.

    Args:
        prediction: The predicted answer, empty for "no answer".
        truths: The true answers. Those of which normalisation leaves nothing are dropped; if none remain,
            the right answer is the empty one.

    Raises:
        DataError: `truths` is a single text.
    """
    return _best(_same_text, prediction, truths)


def token_f1(prediction: str, truths: Sequence[str]) -> float:
    """Return the F1 of the prediction's words against those of the true answer that fits best.

    Words are compared as a bag after normalisation. If one side has no words, the score is 1 where the other
    has none either, else 0.

    Args:
        prediction: The predicted answer, empty for "no answer".
        truths: The true answers. Those of which normalisation leaves nothing are dropped; if none remain,
            the right answer is the empty one.

    Raises:
        DataError: `truths` is a single text.
    """
    return _best(_word_f1, prediction, truths)


def squad_scores(predictions: Answers, truths: Truths) -> dict[str, float]:
    """Return exact match and F1 as percentages, by the official definition for SQuAD 1.1 and 2.0.

    Args:
        predictions: The predicted answer of each question id, empty for "no answer". Further ids are ignored.
        truths: The true answers of each question id; none, or only empty ones, if it cannot be answered.

    Returns:
        `exact_match`, `f1` (0 to 100), `total` (questions). If there are questions without an answer, also
        `NoAns_exact`, `NoAns_f1`, `NoAns_total` over them and, unless they are all, `HasAns_exact`,
        `HasAns_f1`, `HasAns_total` over the others.

    Raises:
        DataError: There are no questions, or questions without a prediction.
    """
    _need_questions(truths)
    _need_ids(predictions, truths, "predictions")
    exact = {key: exact_match(predictions[key], answers) for key, answers in truths.items()}
    f1 = {key: token_f1(predictions[key], answers) for key, answers in truths.items()}
    without = [key for key, answers in truths.items() if not _is_answerable(answers)]
    result: dict[str, float] = {
        "exact_match": _percentage(exact, truths),
        "f1": _percentage(f1, truths),
        "total": len(truths),
    }
    if without:
        groups = {"HasAns": [key for key in truths if _is_answerable(truths[key])], "NoAns": without}
        for name, keys in groups.items():
            if keys:
                result[f"{name}_exact"] = _percentage(exact, keys)
                result[f"{name}_f1"] = _percentage(f1, keys)
                result[f"{name}_total"] = len(keys)
    return result


def best_null_threshold(predictions: Answers, truths: Truths, null_odds: Mapping[Any, float]) -> dict[str, float]:
    """Return the threshold on the odds of "no answer" that gives the best scores on these questions.

    A question is answered if its odds do not exceed the threshold. As the official scorer does, questions are
    visited by rising odds, those of equal odds one after the other, and the threshold stays 0 if answering
    none of them is best.

    Args:
        predictions: For each question id, the best of the answers that are not empty, whatever the odds.
        truths: The true answers of each question id; none, or only empty ones, if it cannot be answered.
        null_odds: For each question id, a number that is greater the likelier it has no answer.

    Returns:
        `best_exact` and `best_f1` (0 to 100), each with its threshold: `best_exact_thresh`, `best_f1_thresh`.

    Raises:
        DataError: There are no questions, or questions without a prediction or odds.
    """
    _need_questions(truths)
    _need_ids(predictions, truths, "predictions")
    _need_ids(null_odds, truths, "null_odds")
    order = sorted((key for key in null_odds if key in truths), key=lambda key: null_odds[key])
    result: dict[str, float] = {}
    for name, score in (("exact", exact_match), ("f1", token_f1)):
        current = best = float(sum(not _is_answerable(answers) for answers in truths.values()))
        threshold = 0.0
        for key in order:
            if _is_answerable(truths[key]):
                current += score(predictions[key], truths[key])
            elif predictions[key]:
                current -= 1.0
            if current > best:
                best, threshold = current, float(null_odds[key])
        result[f"best_{name}"] = 100.0 * best / len(truths)
        result[f"best_{name}_thresh"] = threshold
    return result


def answer_overlap(
    predictions: Answers, truths: Truths, questions: Answers
) -> tuple[dict[str, int], dict[str, dict[Any, Any]]]:
    """Sort answers into correct, similar and incorrect.

    Correct: equal to one of the true answers, letter by letter, apart from white space at the ends; for a
    question that cannot be answered, the empty answer. Similar: the prediction contains a true answer or is
    contained in one, in upper or lower case. An empty prediction is never similar.

    Args:
        predictions: The predicted answer of each question id, empty for "no answer". Further ids are ignored.
        truths: The true answers of each question id; none, or only empty ones, if it cannot be answered.
        questions: The question of each question id.

    Returns:
        The counts `correct`, `similar`, `incorrect`; and the texts by question id: `correct_text` with the
        true answer, `similar_text` and `incorrect_text` with `truth` (the answer that overlaps, or the first
        one), `predicted` and `question`.

    Raises:
        DataError: There are questions without a prediction or without their text.
    """
    _need_ids(predictions, truths, "predictions")
    _need_ids(questions, truths, "questions")
    texts: dict[str, dict[Any, Any]] = {"correct_text": {}, "similar_text": {}, "incorrect_text": {}}
    for key, answers in truths.items():
        golds = [gold for gold in _as_list(answers) if gold.strip()] or [""]
        predicted = predictions[key]
        equal = [gold for gold in golds if gold.strip() == predicted.strip()]
        overlapping = [gold for gold in golds if _overlap(gold, predicted)]
        if equal:
            texts["correct_text"][key] = equal[0]
            continue
        kind = "similar_text" if overlapping else "incorrect_text"
        truth = overlapping[0] if overlapping else golds[0]
        texts[kind][key] = {"truth": truth, "predicted": predicted, "question": questions[key]}
    counts = {kind: len(texts[f"{kind}_text"]) for kind in ("correct", "similar", "incorrect")}
    return counts, texts


def _best(score: Callable[[str, str], float], prediction: str, truths: Sequence[str]) -> float:
    """Return the greatest score of the prediction against the true answers, all of them normalised."""
    golds = [gold for gold in map(normalise_answer, _as_list(truths)) if gold] or [""]
    guess = normalise_answer(prediction)
    return max(score(guess, gold) for gold in golds)


def _same_text(guess: str, gold: str) -> float:
    return float(guess == gold)


def _word_f1(guess: str, gold: str) -> float:
    guess_words, gold_words = guess.split(), gold.split()
    if not guess_words or not gold_words:
        return float(guess_words == gold_words)
    common = (Counter(guess_words) & Counter(gold_words)).total()
    if common == 0:
        return 0.0
    # By way of precision and recall, as the official scorer does: a sum of F1s that is rounded otherwise could
    # make `best_null_threshold` break a tie otherwise.
    precision, recall = common / len(guess_words), common / len(gold_words)
    return 2 * precision * recall / (precision + recall)


def _overlap(gold: str, predicted: str) -> bool:
    one, other = gold.strip().lower(), predicted.strip().lower()
    return bool(one and other) and (one in other or other in one)


def _is_answerable(answers: Sequence[str]) -> bool:
    return any(answer.strip() for answer in _as_list(answers))


def _as_list(answers: Sequence[str]) -> Sequence[str]:
    # A text is a sequence of letters: it would be scored letter by letter, without an error.
    if isinstance(answers, str):
        raise DataError(f"The true answers must be a list of texts. Write [{answers!r}] for {answers!r}.")
    return answers


def _percentage(scores: Mapping[Any, float], keys: Collection[Any]) -> float:
    return 100.0 * sum(scores[key] for key in keys) / len(keys)


def _need_questions(truths: Truths) -> None:
    if not truths:
        raise DataError("There are no questions to score. Give at least one question with its true answers.")


def _need_ids(given: Mapping[Any, Any], truths: Truths, what: str) -> None:
    missing = [key for key in truths if key not in given]
    if missing:
        raise DataError(
            f"{what} must have an entry for each of the {len(truths)} question ids, "
            f"but {len(missing)} are missing (first: {missing[:_IDS_NAMED]})."
        )
