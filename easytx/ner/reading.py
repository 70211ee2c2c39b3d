"""Words and tags, from every form in which people hold them, as one row a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.data.boxes import BOX
from easytx.data.checks import counted, refuse_broken_texts, rows, with_article
from easytx.data.frames import Columns, as_frame, as_texts
from easytx.data.labels import plain
from easytx.errors import DataError, LabelError
from easytx.ner.files import names_data_file, read_words

_ROW_A_WORD = Columns(texts=(("sentence_id", "words"),))
_ROW_A_SENTENCE = Columns(texts=(("words",),))

# Other names of our columns, as published data sets have them.
_TAGGED = {"words": ("tokens",), "labels": ("ner_tags", "tags")}
_UNTAGGED = {"words": ("tokens", "text")}


@dataclass
class _Words:
    """Words one after another, and where they came from.

    Attributes:
        words: All of them.
        tags: As many, or None.
        sizes: How many words each sentence has.
        row: The caller's row of each word.
        ids: The id of each sentence.
        index: The index of the sentences.
        word_index: The caller's index label of each word, where a row is a word.
        boxes: The columns of the words' boxes, a list a sentence, where the caller has them.
    """

    words: list[Any]
    tags: list[Any] | None
    sizes: np.ndarray
    row: np.ndarray
    ids: Sequence[Any]
    index: pd.Index
    word_index: list[Any] | None = None
    boxes: dict[str, list[Any]] = field(default_factory=dict)


def tagged_sentences(
    data: Any,
    *,
    name: str,
    args: ModelArgs,
    renames: Mapping[str, str] | None = None,
    tags: Sequence[Any] | None = None,
    beside: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return one row a sentence: sentence_id, words and labels; and where a row was a word, row and index.

    `row` and `index` are lists too: the position of each word among the caller's rows, and its index label. So are
    x0, y0, x1 and y1, where the caller's rows have them.

    Args:
        data: Rows of a word with sentence_id, words, labels (a DataFrame, headerless too, a list of dicts, a
            `datasets.Dataset`, a path to csv, tsv, json, jsonl or parquet); the same with lists of words and of
            labels, one row a sentence, with or without sentence_id; a list of pairs (words, labels); a path to
            lines of a word and a label. The columns may be called tokens and tags or ner_tags.
        name: What to call the data in messages.
        args: For `encoding` and `lazy_loading`.
        renames: Our column name -> the caller's, where they differ.
        tags: The known tags, which whole numbers stand for.
        beside: Columns with something of every word that the rows need besides.

    Raises:
        DataError: If the form is unknown, or words or tags are missing.
        LabelError: If tags are numbers without names.
    """
    frame = _opened(data, name, args, renames or {}, beside, with_labels=True)
    names = _named(frame, renames or {}, _TAGGED)
    by_sentence = _holds_lists(frame, names.get("words", "words"))
    columns = replace(_ROW_A_SENTENCE if by_sentence else _ROW_A_WORD, beside=beside)
    frame = as_frame(frame, columns, name=name, args=args, renames=names)
    found = _of_lists(frame, name, tagged=True) if by_sentence else _of_words(frame, name, tagged=True)
    return _sentences(found, name, tags)


def untagged_sentences(
    data: Any,
    *,
    name: str,
    args: ModelArgs,
    renames: Mapping[str, str] | None = None,
    beside: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return one row a sentence, as `tagged_sentences` does, without labels. Texts are split at white space.

    Args:
        data: A text; texts or lists of words in a list, a Series, or a DataFrame's column words, tokens, text or
            only one; all that `tagged_sentences` takes, labels left out. In a list each row holds what is needed
            beside as well, [words, x0, y0, x1, y1].
        name: What to call the data in messages.
        args: For `encoding` and `lazy_loading`.
        renames: Our column name -> the caller's, where they differ.
        beside: Columns with something of every word that the rows need besides.

    Raises:
        DataError: If the form is unknown, or words are missing.
    """
    if isinstance(data, str) and not names_data_file(data):
        data = [data]
    if hasattr(data, "tolist") and not isinstance(data, pd.Series):
        data = data.tolist()
    if beside and isinstance(data, (list, tuple)) and not any(isinstance(row, Mapping) for row in data):
        data = as_texts(data, replace(_ROW_A_SENTENCE, beside=beside), name=name, args=args)
    frame = _opened(data, name, args, renames or {}, beside, with_labels=False)
    if frame.shape[1] == 1 and not renames:
        frame = frame.set_axis(["words"], axis="columns")
    names = _named(frame, renames or {}, _UNTAGGED)
    words = names.get("words", "words")
    ids = names.get("sentence_id", "sentence_id")
    headerless = frame.shape[1] == 3 + len(beside) and all(isinstance(column, int) for column in frame.columns)
    by_word = headerless or (ids in frame and words in frame and not _holds_lists(frame, words))
    columns = replace(_ROW_A_WORD if by_word else _ROW_A_SENTENCE, beside=beside)
    frame = as_frame(frame, columns, name=name, args=args, renames=names, with_labels=False)
    if not by_word:
        frame = frame.assign(words=pd.Series(_split_texts(frame["words"], name), index=frame.index, dtype=object))
    return _sentences((_of_words if by_word else _of_lists)(frame, name, tagged=False), name, None)


def refuse_texts(data: Any, *, name: str) -> None:
    """Raise if there are texts where the caller promises lists of words.

    Raises:
        DataError: With the rows.
    """
    if isinstance(data, (str, list, tuple, pd.Series)):
        texts = [i for i, row in enumerate([data] if isinstance(data, str) else data) if _is_text(row)]
        if texts:
            raise DataError(
                f"{name} has a text in {counted(len(texts), 'row')} ({rows(texts)}), but with split_on_space=False "
                "each row is a list of words."
            )


def _opened(
    data: Any, name: str, args: ModelArgs, renames: Mapping[str, str], beside: tuple[str, ...], *, with_labels: bool
) -> pd.DataFrame:
    if isinstance(data, (str, Path)):
        options: dict[str, Any] = {"args": args, "renames": renames, "with_labels": with_labels, "beside": beside}
        frame = read_words(Path(data), name=name, **options)
        if frame.empty:
            raise DataError(f"{name} is the path '{data}', where there are no words.")
        return frame
    if isinstance(data, pd.Series):
        return pd.DataFrame({"words": data})
    if isinstance(data, pd.DataFrame):
        pairs = data.shape[1] == 2 and all(isinstance(c, int) and _holds_lists(data, c) for c in data.columns)
        return data.set_axis(["words", "labels"], axis="columns") if pairs else data
    if hasattr(data, "to_pandas"):
        return _with_class_names(data.to_pandas(), getattr(data, "features", {}))
    if not isinstance(data, (list, tuple)) or len(data) == 0:
        # It says what may come.
        return as_frame(data, _ROW_A_WORD, name=name, args=args)
    if all(isinstance(row, (list, tuple)) and len(row) == 2 and _is_list(row[0]) for row in data):
        return pd.DataFrame({"words": [row[0] for row in data], "labels": [row[1] for row in data]}, dtype=object)
    if with_labels or any(isinstance(row, Mapping) for row in data):
        return pd.DataFrame(list(data))
    return pd.DataFrame({"words": list(data)}, dtype=object)


def _with_class_names(frame: pd.DataFrame, features: Mapping[str, Any]) -> pd.DataFrame:
    for column, feature in features.items():
        names = getattr(getattr(feature, "feature", feature), "names", None)
        if names is not None:
            # The number -1 stands for a missing label.
            name_of = dict(enumerate(names))
            cells = [
                [name_of.get(number) for number in cell] if _is_list(cell) else name_of.get(cell)
                for cell in frame[column]
            ]
            frame = frame.assign(**{column: pd.Series(cells, index=frame.index, dtype=object)})
    return frame


def _named(frame: pd.DataFrame, renames: Mapping[str, str], others: Mapping[str, Sequence[str]]) -> dict[str, str]:
    found = dict(renames)
    for ours, names in others.items():
        present = [name for name in names if name in frame]
        if ours not in found and ours not in frame and present:
            found[ours] = present[0]
    return found


def _is_text(row: Any) -> bool:
    """Tell whether a row is a text, with boxes or without."""
    return isinstance(row, str) or (_is_list(row) and len(row) > 1 and isinstance(row[0], str) and _is_list(row[1]))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _as_list(value: Any) -> list[Any]:
    items: list[Any] = value.tolist() if isinstance(value, np.ndarray) else list(value)
    return items


def _holds_lists(frame: pd.DataFrame, column: Any) -> bool:
    return column in frame and any(_is_list(value) for value in frame[column].head(100))


def _split_texts(column: pd.Series, name: str) -> list[Any]:
    missing = [i for i, value in enumerate(column) if not _is_list(value) and pd.isna(value)]
    if missing:
        raise DataError(f"{name} has no text in {counted(len(missing), 'row')}: {rows(missing)}.")
    wrong = [i for i, value in enumerate(column) if not isinstance(value, (str, list, tuple, np.ndarray))]
    if wrong:
        kind = with_article(type(column.iloc[wrong[0]]).__name__)
        raise DataError(f"{name} has {kind} instead of a text or a list of words: {rows(wrong)}.")
    return [value.split() if isinstance(value, str) else value for value in column]


def _of_words(frame: pd.DataFrame, name: str, *, tagged: bool) -> _Words:
    codes, ids = pd.factorize(frame["sentence_id"])
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise DataError(
            f"{name} has no sentence_id in {counted(len(missing), 'row')}: {rows(missing)}. Where only the first word "
            f"of a sentence has one, fill the others: {name}['sentence_id'] = {name}['sentence_id'].ffill()."
        )
    order = np.argsort(codes, kind="stable")
    ordered, sizes = frame.iloc[order], np.bincount(codes)
    return _Words(
        words=ordered["words"].tolist(),
        tags=ordered["labels"].tolist() if tagged else None,
        sizes=sizes,
        row=order,
        ids=ids.tolist(),
        index=pd.RangeIndex(len(ids)),
        word_index=ordered.index.tolist(),
        boxes={part: _by_sentence(ordered[part].tolist(), sizes) for part in BOX if part in frame},
    )


def _of_lists(frame: pd.DataFrame, name: str, *, tagged: bool) -> _Words:
    words = _lists(frame, "words", name)
    sizes = np.array([len(sentence) for sentence in words], dtype=np.int64)
    tags = _lists(frame, "labels", name) if tagged else []
    if tagged and not sizes.all():
        empty = np.flatnonzero(sizes == 0)
        raise DataError(f"{name} has no words in {counted(len(empty), 'row')}: {rows(empty)}. Drop these rows.")
    uneven = [i for i, sentence in enumerate(tags) if len(sentence) != sizes[i]]
    if uneven:
        first = uneven[0]
        raise DataError(
            f"{name} has words and tags of different length in {counted(len(uneven), 'row')}: {rows(uneven)}. "
            f"Row {first} has {counted(int(sizes[first]), 'word')} and {counted(len(tags[first]), 'tag')}."
        )
    return _Words(
        words=[word for sentence in words for word in sentence],
        tags=[tag for sentence in tags for tag in sentence] if tagged else None,
        sizes=sizes,
        row=np.repeat(np.arange(len(words)), sizes),
        ids=frame.get("sentence_id", frame.index).tolist(),
        index=frame.index,
        boxes={part: frame[part].tolist() for part in BOX if part in frame},
    )


def _lists(frame: pd.DataFrame, column: str, name: str) -> list[list[Any]]:
    wrong = [i for i, value in enumerate(frame[column]) if not _is_list(value)]
    if wrong:
        kind = with_article(type(frame[column].iloc[wrong[0]]).__name__)
        what = "words" if column == "words" else "tags"
        raise DataError(f"{name} has {kind} instead of a list of {what} in the column '{column}': {rows(wrong)}.")
    return [_as_list(value) for value in frame[column]]


def _sentences(found: _Words, name: str, known: Sequence[Any] | None) -> pd.DataFrame:
    words = _checked(found.words, found.row, name, column="words", what="word", remedy="Fill or drop them.")
    columns = {"words": [word if isinstance(word, str) else str(word) for word in words]}
    refuse_broken_texts(columns["words"], "words", name=name, row=found.row)
    if found.tags is not None:
        remedy = "Every word needs one: 'O' is the usual tag outside of entities."
        tags = _checked(found.tags, found.row, name, column="labels", what="tag", remedy=remedy)
        columns["labels"] = _tag_names(tags, found.row, name, known)
    if found.word_index is not None:
        columns |= {"row": found.row.tolist(), "index": found.word_index}
    lists = {column: _by_sentence(values, found.sizes) for column, values in columns.items()}
    return pd.DataFrame({"sentence_id": found.ids, **lists, **found.boxes}, index=found.index)


def _by_sentence(values: list[Any], sizes: np.ndarray) -> list[list[Any]]:
    ends = np.cumsum(sizes).tolist()
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _checked(values: list[Any], row: np.ndarray, name: str, *, column: str, what: str, remedy: str) -> list[Any]:
    values = [plain(value) for value in values]
    absent = pd.Series(values, dtype=object).isna().to_numpy()
    missing = [i for i, value in enumerate(values) if absent[i] or (what == "tag" and value == "")]
    if missing:
        at = np.unique(row[missing])
        raise DataError(
            f"{name} has no {what} in {counted(len(at), 'row')} of the column '{column}': {rows(at)}. {remedy}"
        )
    wrong = [i for i, value in enumerate(values) if not isinstance(value, (str, int, float))]
    if wrong:
        first = values[wrong[0]]
        kind = "a list" if isinstance(first, tuple) else with_article(type(first).__name__)
        raise DataError(
            f"{name} has {kind} instead of a {what} in the column '{column}': {rows(np.unique(row[wrong]))}. Give one "
            "word and its tag a row, or a list of words and a list of tags."
        )
    return values


def _tag_names(tags: list[Any], row: np.ndarray, name: str, known: Sequence[Any] | None) -> list[Any]:
    numbers = [i for i, tag in enumerate(tags) if not isinstance(tag, str)]
    names = list(known or [])
    named = any(isinstance(label, str) for label in names)
    if not numbers or (names and not named):
        return tags
    wrong = [i for i in numbers if tags[i] not in range(len(names))]
    if wrong:
        remedy = f"The model has {len(names)} labels, numbered from 0." if named else "Give the model labels=[...]."
        raise LabelError(
            f"{name} has numbers for tags that no label stands for, such as {tags[wrong[0]]!r} "
            f"({rows(np.unique(row[wrong]))}). {remedy}"
        )
    return [tag if isinstance(tag, str) else names[int(tag)] for tag in tags]
