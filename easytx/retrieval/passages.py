"""The passages that are searched: from what callers have, each once, and kept beside a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.data.checks import texts_of
from easytx.data.frames import Columns, as_texts

COLUMNS = Columns(texts=(("passages",),), labels=(), optional=("title", "id"))

# Names under which people keep the texts of passages.
_SPELLINGS = ("passage", "gold_passage", "text", "context")

_FILE = "passages.jsonl"


def as_passages(data: Any, *, name: str, args: ModelArgs) -> pd.DataFrame:
    """Return passages as a frame with the column `passages`, and `title` and `id` where there are any.

    Equal passages count as one, of which the first stays.

    Args:
        data: Texts as a list or a Series; or a frame or the path of one with a column `passages` (or `passage`,
            `gold_passage`, `text`, `context`).
        name: What to call them in messages.
        args: As for `frames.as_frame`.

    Raises:
        DataError: If there are none, or texts are missing.
    """
    if isinstance(data, pd.DataFrame):
        data = _named(data)
    elif isinstance(data, (str, Path)):
        from easytx.data.frames import read_file

        data = _named(read_file(data, name=name, args=args))
    frame = as_texts(data, COLUMNS, name=name, args=args)
    frame = frame.assign(passages=texts_of(frame, "passages", name=name))
    return once(frame)


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the passages of a frame without repetitions, numbered from 0."""
    if "title" in frame:
        frame = frame.assign(title=frame["title"].fillna("").astype(str))
    keys = [column for column in ("passages", "title") if column in frame]
    return frame.drop_duplicates(subset=keys, ignore_index=True)


def together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the passages of several frames, each once, those of the first one first."""
    return once(pd.concat(frames, ignore_index=True))


def keys_of(passages: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what makes each passage another than the rest: its text and its title."""
    titles = passages["title"].tolist() if "title" in passages else [""] * len(passages)
    return list(zip(passages["passages"].tolist(), titles, strict=True))


def numbers_of(passages: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return the place of each passage."""
    return {key: place for place, key in enumerate(keys_of(passages))}


def numbered(gold: pd.DataFrame, negatives: Sequence[list[str]]) -> tuple[pd.DataFrame, list[list[int]]]:
    """Return the passages of training rows, each once, and which of them each row uses, its own first.

    Args:
        gold: The passage of each row.
        negatives: The hard negatives of each row.
    """
    extra = pd.DataFrame({"passages": [text for texts in negatives for text in texts]}, dtype=object)
    passages = together([gold, extra]) if len(extra) else together([gold])
    number = numbers_of(passages)
    own = [number[key] for key in keys_of(gold)]
    return passages, [
        [first, *(number[text, ""] for text in texts)] for first, texts in zip(own, negatives, strict=True)
    ]


def titles_and_texts(passages: pd.DataFrame, args: ModelArgs) -> list[list[str]]:
    """Return what the passage encoder reads: the texts, or titles and texts as pairs."""
    texts = passages["passages"].tolist()
    if args["include_title"] and "title" in passages and (passages["title"] != "").any():
        return [passages["title"].tolist(), texts]
    return [texts]


def write_passages(passages: pd.DataFrame, folder: Path) -> None:
    """Write passages into a model folder, one JSON object a line."""
    kept = [column for column in ("passages", "title", "id") if column in passages]
    passages[kept].to_json(folder / _FILE, orient="records", lines=True, force_ascii=False)


def read_passages(folder: str | Path) -> pd.DataFrame | None:
    """Return the passages that a model folder holds, or None."""
    path = Path(folder) / _FILE
    return pd.read_json(path, lines=True, dtype=False, encoding="utf-8") if path.is_file() else None


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    theirs = next((name for name in _SPELLINGS if name in frame), None)
    return frame if "passages" in frame or theirs is None else frame.rename(columns={theirs: "passages"})
