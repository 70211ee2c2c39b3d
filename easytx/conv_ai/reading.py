"""Conversations, from every form in which people hold them, as one row per reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from easytx.config.warn import warn_user
from easytx.data import samples
from easytx.data.checks import counted, refuse_broken_texts, rows, texts_of
from easytx.data.frames import Columns, codec, read_file
from easytx.errors import DataError

if TYPE_CHECKING:
    from easytx.config.model_args import ModelArgs

COLUMNS = Columns(
    texts=(("history",), ("personality", "history")), labels=("reply",), optional=("candidates", "utterances")
)

# What persona-chat calls the parts of its file, by what they are for.
_PARTS = {"train": ("train",), "eval": ("valid", "validation", "eval", "test"), "predict": ("test", "valid")}

_FORMS = (
    "persona-chat JSON, as [{'personality': [...], 'utterances': [{'history': [...], 'candidates': [...]}]}] or a path "
    "to it, or rows with history, reply and, if there is one, personality"
)


def as_turns(
    data: Any, *, name: str, split: str, args: ModelArgs, renames: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return one row per reply: personality and history as lists of texts, reply, and candidates where some are given.

    The last candidate is the true reply where there is no column `reply`. Rows of the caller's keep their index and
    their other columns; what came in is left as it was.

    Args:
        data: Persona-chat JSON as a path (.json, .jsonl) or a list; a DataFrame, a list of dicts, a Dataset or a path
            with such rows, or with history, reply and personality; to predict, also a text, or a list of texts or of
            histories.
        name: What to call the rows in messages.
        split: "train", "eval" or "predict".
        args: For `encoding`.
        renames: Our column name -> the caller's, where they differ.

    Raises:
        DataError: If the form is unknown, or something is missing.
    """
    frame = _frame(data, name, split, args)
    frame = frame.rename(columns={theirs: ours for ours, theirs in (renames or {}).items()})
    if "utterances" in frame and len(frame):
        frame = pd.DataFrame([*_exploded(frame, name)])
    labelled = split != "predict"
    found: dict[str, Any] = {}
    if "candidates" in frame:
        found["candidates"] = _lists(frame, "candidates", name)
        if "reply" not in frame:
            found["reply"] = _last(found["candidates"], name)
    COLUMNS.check(frame.assign(**dict.fromkeys(found)), name=name, with_labels=labelled)
    found |= {"history": _lists(frame, "history", name), "personality": _lists(frame, "personality", name)}
    silent = [row for row, texts in enumerate(found["history"]) if not texts or not texts[-1].strip()]
    if silent:
        raise DataError(f"{name} has nothing to reply to in the column 'history': {rows(silent)}.")
    if "reply" in frame and labelled:
        found["reply"] = texts_of(frame, "reply", name=name)
    if "candidates" in found and labelled:
        found["candidates"] = [
            [*dict.fromkeys(text for text in texts if text != reply), reply]
            for texts, reply in zip(found["candidates"], found["reply"], strict=True)
        ]
    columns = {key: pd.Series(values, index=frame.index, dtype=_dtype(key)) for key, values in found.items()}
    return frame.assign(**columns)


def bundled() -> pd.DataFrame:
    """Return conversations to evaluate where none were given, and warn that these are they."""
    warn_user(
        "eval_model was given no data, and scores the evaluation part of the sample 'chats', which comes with easytx."
    )
    return samples.load("chats")[1]


def _dtype(column: str) -> Any:
    return "str" if column == "reply" else object


def _frame(data: Any, name: str, split: str, args: ModelArgs) -> pd.DataFrame:
    if isinstance(data, str) and split == "predict" and not _is_path(data):
        data = [data]
    if isinstance(data, (str, Path)):
        path = Path(data)
        data = _json(path, name, args) if path.suffix.lower() == ".json" else read_file(path, name=name, args=args)
    if isinstance(data, Mapping):
        data = _part(data, split, name)
    if isinstance(data, pd.DataFrame):
        return data.copy(deep=False)
    if hasattr(data, "to_pandas"):
        return pd.DataFrame(data.to_pandas())
    if isinstance(data, pd.Series) and split == "predict":
        return pd.DataFrame({"history": data})
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise DataError(f"{name} must be {_FORMS}, but is a {type(data).__name__}.")
    if not data:
        raise DataError(f"{name} has no rows.")
    if all(isinstance(row, Mapping) for row in data):
        return pd.DataFrame(list(data))
    if split == "predict" and all(isinstance(row, (str, list, tuple)) for row in data):
        return pd.DataFrame({"history": pd.Series(list(data), dtype=object)})
    kinds = sorted({type(row).__name__ for row in data})
    raise DataError(f"{name} must be {_FORMS}, but is a list of {' and '.join(kinds)}.")


def _is_path(text: str) -> bool:
    return len(text) < 4096 and Path(text).suffix.lower() in (".json", ".jsonl", ".csv", ".tsv", ".parquet")


def _json(path: Path, name: str, args: ModelArgs) -> Any:
    if not path.is_file():
        raise DataError(f"{name} is the path '{path}', where there is no file.")
    try:
        return json.loads(path.read_text(codec(args.encoding)))
    except ValueError as error:
        raise DataError(f"{name} is the path '{path}', which is no JSON file. The cause was: {error}") from error


def _part(data: Mapping[str, Any], split: str, name: str) -> Any:
    """Return the part of a file with several that is for this split; or the only conversation."""
    if "utterances" in data or "history" in data:
        return [data]
    part = next((part for part in _PARTS[split] if part in data), None)
    if part is None:
        raise DataError(f"{name} must be {_FORMS}, but is a dict with the keys {list(data)}.")
    return data[part]


def _exploded(frame: pd.DataFrame, name: str) -> Iterator[dict[str, Any]]:
    """Return one record per utterance of each conversation."""
    others = [column for column in frame if column not in ("utterances", "history", "candidates", "reply")]
    for row, (rest, utterances) in enumerate(zip(frame[others].to_dict("records"), frame["utterances"], strict=True)):
        if not isinstance(utterances, (Sequence, np.ndarray)) or not all(isinstance(u, Mapping) for u in utterances):
            raise DataError(
                f"{name} has in row {row} no list of {{'history', 'candidates'}} in the column 'utterances', but "
                f"{type(utterances).__name__}."
            )
        for utterance in utterances:
            yield {**{str(key): value for key, value in rest.items()}, **utterance}


def _lists(frame: pd.DataFrame, column: str, name: str) -> list[list[str]]:
    """Return a column as lists of texts: one text is a list of it, and nothing an empty one."""
    if column not in frame:
        return [[] for _ in range(len(frame))]
    found = [_texts(value) for value in frame[column]]
    wrong = [row for row, texts in enumerate(found) if texts is None]
    if wrong:
        raise DataError(
            f"{name} has something else than a list of texts in {counted(len(wrong), 'row')} of the column "
            f"'{column}': {rows(wrong)}."
        )
    lists = [texts or [] for texts in found]
    of_rows = np.repeat(np.arange(len(lists)), [len(texts) for texts in lists])
    refuse_broken_texts([text for texts in lists for text in texts], column, name=name, row=of_rows)
    return lists


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value) if all(isinstance(text, str) for text in value) else None
    return [] if pd.isna(value) else None


def _last(candidates: list[list[str]], name: str) -> list[str]:
    without = [row for row, texts in enumerate(candidates) if not texts]
    if without:
        raise DataError(
            f"{name} has neither a reply nor candidates, of which the last is the reply, in "
            f"{counted(len(without), 'row')}: {rows(without)}."
        )
    return [texts[-1] for texts in candidates]
