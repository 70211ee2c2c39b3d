"""Scores of generated texts: exact match, F1 of words, BLEU and ROUGE."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from easytx.errors import ArgumentError, MissingExtraError

# What `text_scores` knows.
TEXT_METRICS = ("exact_match", "f1", "bleu", "rouge")

_EXTRA = "generation"
_ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")
_WORD = re.compile(r"[^\W_]+")


def exact_match(truth: Sequence[str], predictions: Sequence[str]) -> float:
    """Return the share of predictions that are the true text, white space at the ends aside; from 0 to 1."""
    pairs = list(zip(truth, predictions, strict=True))
    return sum(right.strip() == text.strip() for right, text in pairs) / len(pairs)


def word_f1(truth: Sequence[str], predictions: Sequence[str]) -> float:
    """Return the mean F1 of the words that two texts share, from 0 to 1.

    Words are runs of letters and digits of any script, lower-cased; one that occurs twice counts twice. Of two texts
    without a word the score is 1.
    """
    scores = []
    for right, text in zip(truth, predictions, strict=True):
        wanted, found = (Counter(_WORD.findall(each.lower())) for each in (right, text))
        total = wanted.total() + found.total()
        scores.append(2 * (wanted & found).total() / total if total else 1.0)
    return sum(scores) / len(scores)


def bleu(truth: Sequence[str], predictions: Sequence[str]) -> float:
    """Return BLEU of all texts together, from 0 to 100.

    It is that of sacrebleu with its defaults: words as mteval-v13a has them, cased, up to four in a row, exponential
    smoothing (Post 2018, https://aclanthology.org/W18-6319).

    Raises:
        MissingExtraError: If sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError.of("sacrebleu", _EXTRA, "BLEU") from error
    # Forced: sacrebleu would warn of texts whose punctuation stands alone.
    return float(BLEU(force=True).corpus_score(list(predictions), [list(truth)]).score)


def rouge(truth: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Return the mean F1 of common words (rouge1), word pairs (rouge2) and longest common run (rougeL), from 0 to 1.

    Words are runs of letters and digits of any script, lower-cased and not stemmed (Lin 2004,
    https://aclanthology.org/W04-1013).

    Raises:
        MissingExtraError: If rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError.of("rouge-score", _EXTRA, "ROUGE") from error
    scorer = RougeScorer(_ROUGE_TYPES, tokenizer=_Words())
    scores = [scorer.score(right, text) for right, text in zip(truth, predictions, strict=True)]
    return {kind: sum(score[kind].fmeasure for score in scores) / len(scores) for kind in _ROUGE_TYPES}


def text_scores(
    truth: Sequence[str], predictions: Sequence[str], metrics: Sequence[str] = TEXT_METRICS
) -> dict[str, float]:
    """Return the scores of predicted texts.

    Args:
        truth: One true text a row.
        predictions: One predicted text a row.
        metrics: Of `TEXT_METRICS`.

    Raises:
        MissingExtraError: If a library that computes one of them is not installed.
    """
    scores: dict[str, float] = {}
    if "exact_match" in metrics:
        scores["exact_match"] = exact_match(truth, predictions)
    if "f1" in metrics:
        scores["f1_score"] = word_f1(truth, predictions)
    if "bleu" in metrics:
        scores["bleu"] = bleu(truth, predictions)
    if "rouge" in metrics:
        scores |= rouge(truth, predictions)
    return scores


def check_text_metrics(metrics: Sequence[str]) -> None:
    """Raise, before anything is computed, if these scores cannot be.

    Raises:
        ArgumentError: If there is no such score.
        MissingExtraError: If a library that computes one of them is not installed.
    """
    unknown = [name for name in metrics if name not in TEXT_METRICS]
    if unknown:
        raise ArgumentError(f"text_metrics must be of {', '.join(TEXT_METRICS)}, but has {unknown}.")
    text_scores(["a"], ["a"], metrics)


class _Words:
    """Words of any script; rouge-score's own tokenizer keeps ASCII only."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())
