"""What is wrong with these rows, said with row numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from easytx.config.warn import warn_user
from easytx.errors import DataError

# A class this many times rarer than the most common one is worth a word.
_IMBALANCE = 20


def rows(positions: Iterable[Any], limit: int = 5) -> str:
    """Return "row 3" or "rows 3, 17, ..." for positions counted from 0."""
    numbers = [int(position) for position in positions]
    listed = ", ".join(str(number) for number in numbers[:limit])
    return f"row{'s' * (len(numbers) > 1)} {listed}{', ...' * (len(numbers) > limit)}"


def counted(number: int, what: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{number} {what}{'s' * (number != 1)}"


def with_article(noun: str) -> str:
    """Return "a list", "an int"."""
    return f"a{'n' * noun.lower().startswith(('a', 'e', 'i', 'o', 'nd'))} {noun}"


def texts_of(frame: pd.DataFrame, column: str, *, name: str) -> list[str]:
    """Return a column as a list of strings; numbers become their text.

    Raises:
        DataError: If a value is missing, neither text nor number, or no valid Unicode.
    """
    missing = np.flatnonzero(frame[column].isna().to_numpy())
    if len(missing):
        raise DataError(
            f"{name} has no text in {counted(len(missing), 'row')} of the column '{column}': {rows(missing)}. "
            f"Fill or drop them, for example {name}.dropna(subset=['{column}'])."
        )
    values = frame[column].tolist()
    wrong = [i for i, value in enumerate(values) if not isinstance(value, (str, int, float, np.number))]
    if wrong:
        kind = with_article(type(values[wrong[0]]).__name__)
        raise DataError(f"{name} has {kind} instead of a text in the column '{column}': {rows(wrong)}.")
    texts = [value if isinstance(value, str) else str(value) for value in values]
    refuse_broken_texts(texts, column, name=name)
    return texts


def refuse_broken_texts(
    texts: Sequence[str], column: str, *, name: str, row: Sequence[int] | np.ndarray | None = None
) -> None:
    """Raise if texts hold halves of characters, which no tokenizer takes.

    Args:
        texts: The texts.
        column: Where they stand.
        name: What to call the rows in messages.
        row: The row of each text; None where they stand in rows of their own.

    Raises:
        DataError: With the rows.
    """
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        # Two halves that meet where texts are joined stay halves.
        broken = [i for i, text in enumerate(texts) if any("\ud800" <= character <= "\udfff" for character in text)]
        at = broken if row is None else np.unique(np.asarray(row)[broken])
        raise DataError(
            f"{name} has halves of characters (surrogates) in {counted(len(at), 'row')} of the column '{column}': "
            f"{rows(at)}. Replace them, for example with text.encode('utf-16', 'surrogatepass').decode('utf-16', "
            "'replace')."
        ) from None


def warn_about_duplicates(
    frame: pd.DataFrame, columns: Sequence[str], *, name: str, what: str = "text", unit: str = "row"
) -> None:
    """Warn, once, with their number, if rows have the same texts as an earlier row."""
    number = int(frame.duplicated(subset=list(columns)).sum())
    if number:
        warn_user(f"{name} has {counted(number, unit)} with the same {what} as an earlier {unit}.")


def warn_about_overlap(
    train: pd.DataFrame, evaluation: pd.DataFrame, columns: Sequence[str], *, names: tuple[str, str]
) -> None:
    """Warn, once, with their number, if rows of the evaluation data are in the training data too."""
    keys = [pd.util.hash_pandas_object(frame[list(columns)].astype(str), index=False) for frame in (train, evaluation)]
    number = int(keys[1].isin(keys[0]).sum())
    if number:
        are = "is" if number == 1 else "are"
        warn_user(
            f"{counted(number, 'row')} of {names[1]} {are} in {names[0]} too; "
            "the scores will look better than they are."
        )


def warn_about_imbalance(counts: dict[Any, int], *, name: str) -> None:
    """Warn if a class is much rarer than the most common one."""
    if not counts:
        return
    common, rare = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
    if counts[rare] * _IMBALANCE < counts[common]:
        warn_user(
            f"{name} has {counts[common]} rows of {common!r} but {counts[rare]} of {rare!r}. "
            'Consider weight="balanced", and judge by f1_macro or mcc rather than accuracy.'
        )


def warn_about_truncation(
    number: int, total: int, max_length: int, *, name: str, remedy: str, what: str = "max_seq_length"
) -> None:
    """Warn, once, with their number, if texts were longer than the model was asked to read."""
    if number:
        warn_user(
            f"{number} of {counted(total, 'row')} of {name} are longer than {what}={max_length} tokens and "
            f"were cut. {remedy}"
        )
