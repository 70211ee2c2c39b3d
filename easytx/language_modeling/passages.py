"""Passages that a retrieval model finds, put before the texts that a language model reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easytx.data.checks import texts_of
from easytx.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from easytx.language_modeling.checkpoint import LanguageCheckpoint

Finder = Callable[[Sequence[str]], list[list[str]]]


def opened(retrieval_model: Any, **options: Any) -> Any:
    """Return a retrieval model: the one given, or the one in a folder; None for none.

    Args:
        retrieval_model: An object with `predict`, a folder, or None.
        **options: For the constructor, where it is a folder.

    Raises:
        ArgumentError: If it is anything else.
    """
    if isinstance(retrieval_model, (str, Path)):
        from easytx.core.registry import load

        return load(retrieval_model, **options)
    if retrieval_model is not None and not callable(getattr(retrieval_model, "predict", None)):
        raise ArgumentError(
            f"retrieval_model is {retrieval_model!r}, which finds no passages. Give a RetrievalModel, the folder of "
            "one, or an object with such a predict."
        )
    return retrieval_model


def finder(model: LanguageCheckpoint, queries: Any, knowledge: Any) -> Finder | None:
    """Return what finds the passages of the texts of a call; None where no passages are wanted.

    Args:
        model: With its retrieval model.
        queries: What to search for, one query a text; None for the texts themselves.
        knowledge: The passages to search; None for those of the retrieval model.

    Raises:
        ArgumentError: If they are given and `rag` is not, or there is no retrieval model.
    """
    if not model.args["rag"]:
        for name, value in {"rag_queries": queries, "knowledge_dataset": knowledge}.items():
            if value is not None:
                raise ArgumentError(f"'{name}' is for passages, which are looked up with rag=True in args only.")
        return None
    retrieval_model = getattr(model, "retrieval_model", None)
    if retrieval_model is None:
        raise ArgumentError(
            "rag is set, but nothing finds passages. Give retrieval_model to the constructor: a RetrievalModel or its "
            "folder; or set rag=False."
        )

    def find(texts: Sequence[str]) -> list[list[str]]:
        asked = _as_list(queries, texts)
        if len(asked) != len(texts):
            raise DataError(
                f"rag_queries has {len(asked)} queries, but there are {len(texts)} texts. Give one for each text, or "
                "none to search for the texts themselves."
            )
        found = retrieval_model.predict(asked, prediction_passages=knowledge, passages_only=True)
        return [[str(passage) for passage in passages] for passages in found]

    return find


def with_passages(texts: Sequence[str], passages: Sequence[Sequence[str]]) -> list[str]:
    """Return texts with their passages before them, as Simple Transformers puts them."""
    return [f"Context: {' '.join(found)} {text}" for found, text in zip(passages, texts, strict=True)]


def documents(model: LanguageCheckpoint, frame: pd.DataFrame, *, name: str) -> list[str]:
    """Return the texts to learn from: those of a frame, with `rag` behind the passages of its column `rag_query`.

    Raises:
        ArgumentError: If there is no retrieval model.
        DataError: If there is no such column.
    """
    texts: list[str] = frame["text"].tolist()
    if not model.args["rag"]:
        return texts
    # What lacks is said in this order: a retrieval model, and what to ask it for.
    finder(model, None, None)
    if "rag_query" not in frame:
        raise DataError(
            f"rag is set, but {name} has no column 'rag_query', which says what to search for. It has "
            f"{list(frame.columns)}."
        )
    find = finder(model, texts_of(frame, "rag_query", name=name), None)
    return texts if find is None else with_passages(texts, find(texts))


def _as_list(queries: Any, texts: Sequence[str]) -> list[str]:
    if queries is None:
        return list(texts)
    if isinstance(queries, str):
        return [queries]
    return [str(query) for query in (queries.tolist() if hasattr(queries, "tolist") else queries)]
