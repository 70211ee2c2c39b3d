"""Questions, their contexts and answers, from every form in which people hold them, as one DataFrame."""

from __future__ import annotations

import ast
import contextlib
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.data.checks import counted, refuse_broken_texts, rows, with_article
from easytx.data.frames import frame_of, read_file, remedy, renamed
from easytx.data.labels import plain
from easytx.errors import DataError

# The start of an answer of which nobody said where it stands.
UNKNOWN_START = -1

_TABLES = (".csv", ".tsv", ".parquet")

# How many characters an answer may stand beside its given start and still be surely the one that was meant.
_SLIP = 2

_FORMS = (
    "a list of {'context': ..., 'qas': [...]}, a SQuAD dict, a path to one (.json, .json.gz, .jsonl) or to a table, "
    "a DataFrame with the columns 'context' and 'question', or a datasets.Dataset"
)


@dataclass(frozen=True)
class RepairReport:
    """What `repair_answers` did.

    Attributes:
        moved: How many answers stood elsewhere than said.
        skipped_ids: The questions that were left out.
    """

    moved: int
    skipped_ids: list[str]

    def message(self, name: str) -> str:
        """Return one sentence for a warning; empty if there is nothing to say."""
        parts = []
        if self.moved:
            parts.append(f"{counted(self.moved, 'answer')} did not stand at answer_start and had to be moved")
        if self.skipped_ids:
            skipped = f"{counted(len(self.skipped_ids), 'question')} had to be skipped"
            parts.append(f"{skipped} for want of one clear place of the answer: {_listed(self.skipped_ids)}")
        return f"In {name}, {', and '.join(parts)}." if parts else ""


def as_questions(
    data: Any,
    *,
    name: str = "train_data",
    args: ModelArgs | None = None,
    renames: Mapping[str, Any] | None = None,
    with_answers: bool = True,
) -> pd.DataFrame:
    """Return one row a question: id, question, context, answers, answer_starts and is_impossible.

    A question without an id gets the number of its row. An answer without a start is looked up in the
    context; it gets -1 if it does not occur there exactly once. A question marked as impossible has no
    answers, whatever is given. What came in is left as it was.

    Args:
        data: A list of {"context", "qas"}; SQuAD's dict of version 1 or 2; a path to one of them (.json,
            .json.gz) or to one {"context", "qas"} a line (.jsonl); a DataFrame, list of dicts,
            `datasets.Dataset` or path to csv, tsv or parquet with context, question and answers (SQuAD's dict, a
            list of {"text", "answer_start"}, strings) or the pair answer_text, answer_start. A DataFrame's index
            is kept.
        name: What to call the data in messages.
        args: For `encoding`, `lazy_loading` and `lazy_loading_start_line`.
        renames: Our column name -> the caller's, where they differ.
        with_answers: Whether answers are needed.

    Raises:
        DataError: If the form is unknown, texts are missing or two questions have the same id.
    """
    frame = renamed(_as_rows(data, name, args or ModelArgs()), renames or {}, name=name)
    if frame.empty:
        raise DataError(f"{name} has no questions.")
    _check_columns(frame, name, with_answers=with_answers)
    texts = {column: _texts_of(frame, column, name) for column in ("context", "question")}
    impossible = [_present(value) and bool(value) for value in _column(frame, "is_impossible")]
    answers = _column(frame, "answers" if "answers" in frame else "answer_text")
    starts = _column(frame, "answer_start" if "answer_start" in frame else "answer_starts")
    cells = zip(answers, starts, texts["context"], impossible, strict=True)
    found = [
        ([], []) if none else _answers_of(answer, start, context, f"{name} has in row {row}")
        for row, (answer, start, context, none) in enumerate(cells)
    ]
    return pd.DataFrame(
        {
            "id": _ids_of(frame, name),
            "question": texts["question"],
            "context": texts["context"],
            "answers": pd.Series([given for given, _ in found], index=frame.index, dtype=object),
            "answer_starts": pd.Series([places for _, places in found], index=frame.index, dtype=object),
            "is_impossible": np.array(impossible, dtype=bool),
        },
        index=frame.index,
    )


def repair_answers(frame: pd.DataFrame, *, name: str) -> tuple[pd.DataFrame, RepairReport]:
    """Return the rows that can be learnt from, the first answer of each in its place, and what was changed.

    White space around an answer is cut off. An answer that does not stand at its start is moved to where it
    stands at most 2 characters away, else to the only place where it occurs; else its row is left out. A row
    without answers is one that the context does not answer.

    Args:
        frame: What `as_questions` gave; left as it was.
        name: What to call the data in messages.

    Raises:
        DataError: If no row is left.
    """
    answers: list[list[str]] = []
    starts: list[list[int]] = []
    keep, skipped, moved = [], [], 0
    for position, (texts, places, context, id_) in enumerate(
        zip(frame["answers"], frame["answer_starts"], frame["context"], frame["id"], strict=True)
    ):
        if texts:
            answer = texts[0].strip()
            given = places[0]
            if given != UNKNOWN_START:
                given += len(texts[0]) - len(texts[0].lstrip())
            start = _place_of(answer, given, context)
            if start is None:
                skipped.append(str(id_))
                continue
            moved += start != given
            texts, places = [answer, *texts[1:]], [start, *places[1:]]
        keep.append(position)
        answers.append(list(texts))
        starts.append(list(places))
    if not keep:
        raise DataError(
            f"{name} has no answer that stands in its context, so there is nothing to learn from. "
            "Give each answer as it is spelled in the context, and the number of characters before it."
        )
    kept = frame.iloc[keep].copy()
    kept["answers"] = pd.Series(answers, index=kept.index, dtype=object)
    kept["answer_starts"] = pd.Series(starts, index=kept.index, dtype=object)
    kept["is_impossible"] = [not texts for texts in answers]
    return kept, RepairReport(moved, skipped)


def _place_of(answer: str, given: int, context: str) -> int | None:
    if given != UNKNOWN_START:
        for slip in sorted(range(-_SLIP, _SLIP + 1), key=abs):
            if given + slip >= 0 and context.startswith(answer, given + slip):
                return given + slip
    only = _only_place(answer, context)
    return None if only == UNKNOWN_START else only


def _only_place(answer: str, context: str) -> int:
    first = context.find(answer)
    return first if first >= 0 and context.find(answer, first + 1) < 0 else UNKNOWN_START


def _as_rows(data: Any, name: str, args: ModelArgs) -> pd.DataFrame:
    if isinstance(data, (str, Path)):
        data = _read(Path(data), name, args)
    if isinstance(data, pd.DataFrame):
        return data
    if hasattr(data, "to_pandas"):
        return pd.DataFrame(data.to_pandas())
    if isinstance(data, Mapping):
        data = data.get("data", [data])
    if not isinstance(data, Sequence) or not all(isinstance(entry, Mapping) for entry in data):
        raise DataError(f"{name} must be {_FORMS}; it is {_short(data)}. Bring it into one of these forms.")
    if all("qas" not in entry and "paragraphs" not in entry for entry in data):
        return frame_of([dict(entry) for entry in data])
    return frame_of(list(_flat(data, name)))


def _flat(entries: Iterable[Mapping[str, Any]], name: str) -> Iterable[dict[str, Any]]:
    for number, entry in enumerate(entries):
        if "paragraphs" in entry:
            yield from _flat(entry["paragraphs"], name)
        elif not {"context", "qas"} <= set(entry):
            raise DataError(
                f"{name} needs the keys 'context' and 'qas' in each entry, but entry {number} has "
                f"{list(entry)}. Rename or add them."
            )
        else:
            for question in entry["qas"]:
                yield {**question, "context": entry["context"]}


def _read(path: Path, name: str, args: ModelArgs) -> Any:
    if not path.is_file():
        raise DataError(f"{name} is the path '{path}', where there is no file.")
    kind = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if kind in _TABLES:
        return _with_lists(read_file(path, name=name, args=args.merged({"lazy_loading": False})))
    if kind not in (".json", ".jsonl", ".json.gz", ".jsonl.gz"):
        raise DataError(
            f"{name} is the path '{path}', but must be .json, .json.gz, .jsonl, .csv, .tsv or .parquet. Convert it."
        )
    content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if kind.endswith(".gz") else content).decode(args.encoding or "utf-8-sig")
        if kind.startswith(".jsonl") or args.lazy_loading:
            # Not splitlines: a text may hold one of the rarer line separators as it is.
            lines = text.split("\n")[args.lazy_loading_start_line if args.lazy_loading else 0 :]
            return [json.loads(line) for line in lines if line.strip()]
        return json.loads(text)
    except (ValueError, LookupError, gzip.BadGzipFile, EOFError) as error:
        encoding = args.encoding or "UTF-8"
        raise DataError(f"{name}: the file '{path}' is not valid {kind[1:]} in {encoding} ({error}).") from error


def _with_lists(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which answers that stand there as Python or JSON writes a list or a dict are one."""
    if "answers" not in frame:
        return frame
    cells = [_literal(cell) if isinstance(cell, str) and cell[:1] in ("[", "{") else cell for cell in frame["answers"]]
    return frame.assign(answers=pd.Series(cells, index=frame.index, dtype=object))


def _literal(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError):
            return read(text)
    return text


def _check_columns(frame: pd.DataFrame, name: str, *, with_answers: bool) -> None:
    needed = ["context", "question"]
    if with_answers:
        needed.append("answer_text" if "answer_text" in frame and "answers" not in frame else "answers")
    missing = [column for column in needed if column not in frame]
    if missing == ["answers"] and "is_impossible" in frame:
        missing = []
    if missing:
        has = list(frame.columns)
        raise DataError(f"{name} needs {needed} of every question, but has {has}. {remedy(name, needed, has)}")


def _column(frame: pd.DataFrame, column: str) -> list[Any]:
    return frame[column].tolist() if column in frame else [None] * len(frame)


def _texts_of(frame: pd.DataFrame, column: str, name: str) -> list[str]:
    values = frame[column].tolist()
    empty = [row for row, value in enumerate(values) if not isinstance(value, str) or not value.strip()]
    if empty:
        raise DataError(
            f"{name} has no text in {counted(len(empty), 'row')} of the column '{column}': {rows(empty)}. "
            f"Fill or drop {'it' if len(empty) == 1 else 'them'}."
        )
    refuse_broken_texts(values, column, name=name)
    return values


def _ids_of(frame: pd.DataFrame, name: str) -> list[Any]:
    ids = [plain(value) if _present(value) else str(row) for row, value in enumerate(_column(frame, "id"))]
    twice = [id_ for id_, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(
            f"{name} has more than one question with the id {_listed(twice)}. "
            "Give each its own id, or leave all ids out."
        )
    return ids


def _answers_of(value: Any, start: Any, context: str, where: str) -> tuple[list[str], list[int]]:
    """Return an answer cell of any form as texts and their starts."""
    if isinstance(value, Mapping):
        value, start = value.get("text"), value.get("answer_start")
    texts, starts = _as_list(value), _as_list(start)
    known = not any(isinstance(text, Mapping) and "text" not in text for text in texts)
    if texts and all(isinstance(text, Mapping) for text in texts):
        starts = [text.get("answer_start") for text in texts]
        texts = [text.get("text") for text in texts]
    starts = starts or [None] * len(texts)
    known = known and all(isinstance(text, str) for text in texts if _present(text))
    known = known and all(_is_number(place) for place in starts if _present(place))
    if not known or len(texts) > len(starts):
        raise DataError(
            f"{where} answers of an unknown form: {_short(value)}. Give a text, a list of texts, a list of "
            "{'text': ..., 'answer_start': ...} or {'text': [...], 'answer_start': [...]}."
        )
    # An empty text is how tables without missing values say that there is no answer.
    pairs = [
        (text, int(place) if _present(place) else _only_place(text, context))
        for text, place in zip(texts, starts, strict=False)
        if _present(text) and text.strip()
    ]
    return [text for text, _ in pairs], [place for _, place in pairs]


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value)
    return [value] if _present(value) else []


def _present(value: Any) -> bool:
    return not (pd.api.types.is_scalar(value) and pd.isna(value))


def _is_number(value: Any) -> bool:
    return value.isdecimal() if isinstance(value, str) else isinstance(value, (int, float, np.number))


def _listed(ids: list[Any]) -> str:
    return ", ".join(repr(id_) for id_ in ids[:5]) + ", ..." * (len(ids) > 5)


def _short(value: Any) -> str:
    text = repr(value)
    return f"{with_article(type(value).__name__)}, {text[:80]}{'...' * (len(text) > 80)}"
