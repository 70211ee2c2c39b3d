"""Which passages are right for a query: its own, those of its other rows, and those that the caller names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from easytx.data.checks import rows
from easytx.errors import ArgumentError, DataError
from easytx.metrics.ranking import CUTS

# A passage: its text, and its title or "".
Key = tuple[str, str]


def right_of_queries(queries: Sequence[str], gold: Sequence[Any]) -> list[dict[Any, float]]:
    """Return, per row, a gain of 1 for each passage that a row with this query has.

    Args:
        queries: The query of each row.
        gold: What identifies the passage of each row.
    """
    right: dict[str, dict[Any, float]] = {}
    for query, passage in zip(queries, gold, strict=True):
        right.setdefault(query, {})[passage] = 1.0
    return [right[query] for query in queries]


def texts_right_for(frame: pd.DataFrame) -> list[dict[Any, float]]:
    """Return, per row, the texts that are right for its query; none where rows have no `gold_passage`."""
    if "gold_passage" not in frame:
        return [{} for _ in range(len(frame))]
    return right_of_queries(frame["query_text"].tolist(), frame["gold_passage"].tolist())


def relevant_docs(given: Any, number: int) -> list[dict[Any, float]]:
    """Return the caller's right passages as one dict a row: a text, or text and title, and its gain.

    Args:
        given: One list of texts per row, or a dict of texts and gains; or the path of a JSON file of them; or None.
        number: How many rows there are.

    Raises:
        DataError: If it is something else.
    """
    if given is None:
        return [{} for _ in range(number)]
    if isinstance(given, (str, Path)):
        given = _read(Path(given))
    listed = list(given) if isinstance(given, (Sequence, pd.Series)) else []
    if len(listed) != number:
        raise DataError(
            f"relevant_docs must have one list of passages for each of the {number} rows of eval_df, but has "
            f"{len(listed)}."
        )
    wrong = [row for row, texts in enumerate(listed) if isinstance(texts, str) or not hasattr(texts, "__iter__")]
    if wrong:
        raise DataError(f"relevant_docs has something else than a list of passages in {rows(wrong)}.")
    return [dict(texts) if isinstance(texts, Mapping) else dict.fromkeys(texts, 1.0) for texts in listed]


def texts_beside(judged: Sequence[Mapping[Any, float]], known: pd.DataFrame) -> pd.DataFrame:
    """Return the passages that are named by their text alone and are not among the known ones."""
    there = set(known["passages"])
    named = dict.fromkeys(key for row in judged for key in row if isinstance(key, str) and key not in there)
    return pd.DataFrame({"passages": list(named)}, dtype=object)


def places_of(judged: Sequence[Mapping[Any, float]], places: Mapping[Key, int]) -> list[dict[int, float]]:
    """Return the right passages of each row by their places among all."""
    by_text: dict[str, int] = {}
    for (text, _), place in places.items():
        by_text.setdefault(text, place)

    def place_of(key: str | Key) -> int:
        return by_text[key] if isinstance(key, str) else places[key]

    return [{place_of(key): gain for key, gain in row.items()} for row in judged]


def cuts_of(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the numbers of passages that scores look at: `top_k_values`, or else the usual ones.

    Raises:
        ArgumentError: If they are no whole numbers from 1.
    """
    given = options.get("top_k_values")
    if given is None:
        return CUTS
    if isinstance(given, str) or not all(isinstance(k, int) and k > 0 for k in given) or not len(given):
        raise ArgumentError(f"top_k_values must be a list of whole numbers from 1, but is {given!r}.")
    return tuple(sorted(set(given)))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"relevant_docs is the path '{path}', which could not be read: {error}") from error
