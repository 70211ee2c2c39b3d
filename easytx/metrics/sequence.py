"""Scores for tags in a row: entities are compared whole, by type, first and last token.

The reading of tags is that of seqeval's default mode, which follows the conlleval script: an I- tag without a
B- tag before it opens an entity, and the letter before the first hyphen is taken for the position. Tags
without such a prefix still count, but a plain tag that begins with the letter O is read as outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import pandas as pd

from easytx.errors import DataError

__all__ = ["entity_report", "entity_scores", "entity_table"]

Tags: TypeAlias = Sequence[Sequence[str]]

_SENTENCES_NAMED = 5
_DIGITS = 4


def entity_scores(true: Tags, predicted: Tags) -> dict[str, float]:
    """Return precision, recall and F1 over all entities, and the share of tokens with the right tag.

    Args:
        true: The true tags of each sentence.
        predicted: The predicted tags of each sentence, as many as there are true ones.

    Returns:
        `precision`, `recall`, `f1_score` (micro averages, 0 where there are no entities), `token_accuracy`.

    Raises:
        DataError: There are no sentences, the tags of a sentence are not as many, or a tag is empty.
    """
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    truth, guess = _aligned(true, predicted)
    with _no_tag_warnings():
        precision, recall, f1, _ = precision_recall_fscore_support(truth, guess, average="micro", zero_division=0)
    pairs = [pair for sentences in zip(truth, guess, strict=True) for pair in zip(*sentences, strict=True)]
    right = sum(one == other for one, other in pairs)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1_score": float(f1),
        "token_accuracy": right / len(pairs) if pairs else 0.0,
    }


def entity_table(true: Tags, predicted: Tags) -> pd.DataFrame:
    """Return precision, recall, F1 and support (true entities) of each entity type, one table row a type.

    Args:
        true: The true tags of each sentence.
        predicted: The predicted tags of each sentence, as many as there are true ones.

    Raises:
        DataError: There are no sentences, the tags of a sentence are not as many, or a tag is empty.
    """
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    truth, guess = _aligned(true, predicted)
    with _no_tag_warnings():
        types = _entity_types(truth, guess)
        precision, recall, f1, support = precision_recall_fscore_support(truth, guess, average=None, zero_division=0)
    index = pd.Index(types, name="entity")
    return pd.DataFrame({"precision": precision, "recall": recall, "f1": f1, "support": support}, index=index)


def entity_report(true: Tags, predicted: Tags) -> str:
    """Return the table of entity types and averages as text, for a log or a results file.

    Args:
        true: The true tags of each sentence.
        predicted: The predicted tags of each sentence, as many as there are true ones.

    Raises:
        DataError: There are no sentences, the tags of a sentence are not as many, or a tag is empty.
    """
    from seqeval.metrics import classification_report

    truth, guess = _aligned(true, predicted)
    with _no_tag_warnings():
        if not _entity_types(truth, guess):
            return "There are no entities among the true or the predicted tags."
        return str(classification_report(truth, guess, digits=_DIGITS, zero_division=0))


def _entity_types(truth: list[list[str]], guess: list[list[str]]) -> list[str]:
    from seqeval.metrics.sequence_labeling import get_entities

    return sorted({kind for tags in (truth, guess) for kind, _, _ in get_entities(tags)})


def _aligned(true: Tags, predicted: Tags) -> tuple[list[list[str]], list[list[str]]]:
    if len(true) != len(predicted):
        raise DataError(
            f"{len(true)} sentences have true tags, but {len(predicted)} predicted ones. Give both for each."
        )
    if len(true) == 0:
        raise DataError("There are no sentences to score. Give at least one sentence with tags.")
    truth = [[str(tag) for tag in sentence] for sentence in true]
    guess = [[str(tag) for tag in sentence] for sentence in predicted]
    uneven = [i for i, (one, other) in enumerate(zip(truth, guess, strict=True)) if len(one) != len(other)]
    if uneven:
        raise DataError(
            "Each sentence needs as many predicted as true tags, "
            f"but {len(uneven)} of {len(truth)} sentences (first: {uneven[:_SENTENCES_NAMED]}) do not."
        )
    blank = [i for i, pair in enumerate(zip(truth, guess, strict=True)) if "" in pair[0] or "" in pair[1]]
    if blank:
        raise DataError(
            "Every token needs a tag, 'O' where there is no entity, "
            f"but {len(blank)} of {len(truth)} sentences (first: {blank[:_SENTENCES_NAMED]}) hold empty ones."
        )
    return truth, guess


@contextmanager
def _no_tag_warnings() -> Iterator[None]:
    """Silence the warning that seqeval repeats for each tag without a B-, I-, E- or S- prefix."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* seems not to be NE tag", category=UserWarning)
        yield
