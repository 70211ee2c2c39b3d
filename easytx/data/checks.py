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
    wrong = [i for i, value in enumerate(values) if not isinstance(value, (str, int, float))]
    if wrong:
        kind = with_article(type(values[wrong[0]]).__name__)
        raise DataError(f"{name} has {kind} instead of a text in the column '{column}': {rows(wrong)}.")
    texts = [value if isinstance(value, str) else str(value) for value in values]
    check_unicode(([text] for text in texts), column, name=name)
    return texts


def check_unicode(texts: Iterable[Iterable[str]], column: str, *, name: str) -> None:
    """Raise if texts of some rows are none in Unicode: no tokenizer reads them and no file holds them.

    Raises:
        DataError: With the rows.
    """
    broken = [row for row, own in enumerate(texts) if any(map(_is_broken, own))]
    if broken:
        raise DataError(
            f"{name} has half characters (lone surrogates) in {counted(len(broken), 'row')} of the column '{column}': "
            f"{rows(broken)}. Mend them, for example with text.encode('utf-8', 'replace').decode()."
        )


def _is_broken(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def warn_about_duplicates(frame: pd.DataFrame, columns: Sequence[str], *, name: str, what: str = "text") -> None:
    """Warn, once, with their number, if rows have the same texts as an earlier row."""
    number = int(frame.duplicated(subset=list(columns)).sum())
    if number:
        warn_user(f"{name} has {counted(number, 'row')} with the same {what} as an earlier row.")


def warn_about_overlap(
    train: pd.DataFrame, evaluation: pd.DataFrame, columns: Sequence[str], *, names: tuple[str, str]
) -> None:
    """Warn, once, with their number, if rows of the evaluation data are in the training data too."""
    keys = [pd.util.hash_pandas_object(frame[list(columns)].astype(str), index=False) for frame in (train, evaluation)]
    number = int(keys[1].isin(keys[0]).sum())
    if number:
        warn_user(
            f"{counted(number, 'row')} of {names[1]} are in {names[0]} too; the scores will look better than they are."
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
