"""Where on a page each word stands, as layout models read it: from the caller's columns to the tokens of a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from easytx.data.checks import counted, rows
from easytx.data.tokenise import column, lengths_of, with_column
from easytx.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

BOX = ("x0", "y0", "x1", "y1")

# The width and the height of the page that LayoutLM was trained on, whatever the size of the paper.
PAGE = 1000


def boxes_of(
    frame: pd.DataFrame, words: Sequence[Sequence[str]], *, name: str, row: np.ndarray | None = None, page: int = PAGE
) -> list[np.ndarray]:
    """Return the boxes of each row's words, int16 of shape (words, 4).

    A text such as "[10, 20]", as a csv file holds it, is read as the list it shows.

    Args:
        frame: With a list of numbers, one per word, in each of the columns x0, y0 (upper left corner) and x1, y1
            (lower right corner).
        words: Those of each row.
        name: What to call the rows in messages.
        row: The caller's row of each word; None where a row of the frame is one of the caller's.
        page: Width and height of the page that boxes lie on.

    Raises:
        DataError: If a row has no list, or not one number per word, or a number is no place on the page, or a corner
            is on the wrong side of the other.
    """
    sizes = [len(part) for part in words]
    at = np.repeat(np.arange(len(frame)), sizes) if row is None else row
    found = [_places(frame[part], sizes, at, page, name) for part in BOX]
    boxes = np.stack(found, axis=1).astype(np.int16)
    for first, second in ((0, 2), (1, 3)):
        turned = np.flatnonzero(boxes[:, first] > boxes[:, second])
        if len(turned):
            where = np.unique(at[turned])
            raise DataError(
                f"{name} has boxes whose {BOX[first]} is above their {BOX[second]} in {counted(len(where), 'row')}: "
                f"{rows(where)}. Row {at[turned[0]]} has {boxes[turned[0]].tolist()}. "
                "x0, y0 is the upper left corner of a word, and x1, y1 the lower right one."
            )
    return np.split(boxes, np.cumsum(sizes)[:-1])


def with_boxes(dataset: Dataset, boxes: Sequence[np.ndarray], *, ends: Mapping[int, Any]) -> Dataset:
    """Return features with `bbox`, four numbers for each token, one after another.

    A token has the box of its word; one that belongs to no word lies in the upper left corner, unless `ends` says
    otherwise.

    Args:
        dataset: Features with `word_ids`: the word of its row that a token belongs to, or -1.
        boxes: Those of each row's words, of shape (words, 4).
        ends: The boxes of special tokens that do not lie there, by their ids.
    """
    word, ids = (np.asarray(pc.list_flatten(dataset.data.column(part))) for part in ("word_ids", "input_ids"))
    length = lengths_of(dataset)
    sizes = np.array([len(part) for part in boxes])
    first_word = np.cumsum(sizes) - sizes
    placed = np.zeros((len(word), 4), dtype=np.int16)
    for token, box in ends.items():
        placed[ids == token] = box
    inside = word >= 0
    placed[inside] = np.concatenate(boxes)[(np.repeat(first_word[column(dataset, "row")], length) + word)[inside]]
    limits = pa.array(np.append(0, np.cumsum(length) * 4), type=pa.int32())
    return with_column(dataset, "bbox", pa.ListArray.from_arrays(limits, pa.array(placed.ravel())))


def _places(cells: pd.Series, sizes: Sequence[int], at: np.ndarray, page: int, name: str) -> np.ndarray:
    """Return one number per word."""
    lists = [_as_list(cell) for cell in cells]
    wrong = [i for i, values in enumerate(lists) if values is None]
    if wrong:
        raise DataError(
            f"{name} has no list of numbers in {counted(len(wrong), 'row')} of the column '{cells.name}': "
            f"{rows(wrong)}. Give a list with one number per word."
        )
    found = [values for values in lists if values is not None]
    uneven = [i for i, values in enumerate(found) if len(values) != sizes[i]]
    if uneven:
        first = uneven[0]
        raise DataError(
            f"{name} has not one number per word in {counted(len(uneven), 'row')} of the column '{cells.name}': "
            f"{rows(uneven)}. Row {first} has {counted(sizes[first], 'word')} and "
            f"{counted(len(found[first]), 'number')}; words are what white space separates."
        )
    numbers = [number for values in found for number in values]
    strange = [i for i, number in enumerate(numbers) if not _is_place(number, page)]
    if strange:
        axis, side = str(cells.name)[0], "width" if str(cells.name)[0] == "x" else "height"
        raise DataError(
            f"{name} has {numbers[strange[0]]!r} where the column '{cells.name}' needs a whole number from 0 to "
            f"{page}: {rows(np.unique(at[strange]))}. Scale boxes to a page of {page} by {page}: "
            f"round({page} * {axis} / page_{side})."
        )
    return np.array(numbers, dtype=np.int64)


def _is_place(number: Any, page: int) -> bool:
    kinds = (int, float, np.integer, np.floating)
    if isinstance(number, bool) or not isinstance(number, kinds):
        return False
    return 0 <= float(number) <= page and float(number).is_integer()


def _as_list(cell: Any) -> list[Any] | None:
    if isinstance(cell, str) and cell.strip().startswith("["):
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError:
            return None
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    return list(cell) if isinstance(cell, (list, tuple)) else None
