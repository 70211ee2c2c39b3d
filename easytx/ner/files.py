"""Data files with words and tags, as a DataFrame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from easytx.config.model_args import ModelArgs
from easytx.data.checks import rows
from easytx.data.frames import read_file
from easytx.errors import DataError

_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
_LINES = (".txt", ".conll", ".iob", ".iob2", ".bio")

# What stands above a sentence in CoNLL-U and its relatives; "# O" is a word with its tag.
_COMMENT = re.compile(r"# ?(id |\S+ = )")


def names_data_file(text: str) -> bool:
    """Tell whether a text is the path of a data file that exists, and so no sentence."""
    path = Path(text) if len(text) < 4096 and "\n" not in text else Path()
    return path.suffix.lower() in (*_TABLES, *_LINES) and path.is_file()


def read_words(
    path: Path,
    *,
    name: str,
    args: ModelArgs,
    renames: Mapping[str, str],
    with_labels: bool,
    beside: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return what a data file holds: csv, tsv, json, jsonl and parquet as they are, all others as CoNLL lines.

    In csv and tsv files only an empty field is a missing one: "NA" and "null" are words.

    Args:
        path: The file.
        name: What to call it in messages.
        args: For `encoding` and `lazy_loading`.
        renames: Our column name -> the file's.
        with_labels: Whether tags are needed.
        beside: Columns that are needed besides, which lines cannot hold.

    Raises:
        DataError: If there is no such file, or its lines are not as expected.
    """
    if not path.is_file():
        raise DataError(f"{name} is the path '{path}', where there is no file.")
    suffix = path.suffix.lower()
    if args.lazy_loading or suffix not in _TABLES:
        if beside:
            columns = ", ".join(["sentence_id", "words", *["labels"] * with_labels, *beside[:-1]])
            raise DataError(
                f"{name} is the file '{path}', whose lines hold words and tags only, but the model also reads where on "
                f"a page each word stands. Give a DataFrame or a csv file with the columns {columns} and {beside[-1]}, "
                "one row a word."
            )
        skip = args.lazy_loading_start_line if args.lazy_loading else 0
        return read_conll(path, name=name, encoding=args.encoding, skip=skip, with_labels=with_labels)
    if suffix not in (".csv", ".tsv"):
        return read_file(path, name=name, args=args)
    separator = "\t" if suffix == ".tsv" else ","
    encoding = args.encoding or "utf-8"
    return pd.read_csv(
        path,
        sep=separator,
        encoding=encoding,
        keep_default_na=False,
        na_values=[""],
        dtype=dict.fromkeys(("words", "tokens", "text", "labels", "tags", *renames.values()), "str"),
        quoting=3 if suffix == ".tsv" and _has_bare_quotes(path, encoding) else 0,
    )


def read_conll(path: Path, *, name: str, encoding: str | None, skip: int = 0, with_labels: bool = True) -> pd.DataFrame:
    """Return one row a sentence, with lists of words and labels.

    A line holds a word, its first field, and a label, its last; a blank line or one that starts with -DOCSTART-
    ends a sentence. Fields are separated by tabs or, in lines without one, by spaces.

    Args:
        path: The file.
        name: What to call it in messages.
        encoding: None for UTF-8.
        skip: Lines to leave out at its top.
        with_labels: Whether labels are needed; without them all lines must have the same number of fields.

    Raises:
        DataError: If a line has no label, or without labels if the lines differ.
    """
    sentences: list[list[list[str]]] = [[]]
    alone = []
    with path.open(encoding=encoding or "utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            fields = _fields(line) if number > skip else []
            if not fields or fields[0].startswith("-DOCSTART-"):
                sentences.append([])
            elif sentences[-1] or not _COMMENT.match(line):
                sentences[-1].append(fields)
                alone += [number] * (len(fields) == 1)
    if with_labels and alone:
        raise DataError(
            f"{name} has no label in {rows(alone).replace('row', 'line')} of '{path}'. Each line needs a word and, as "
            "its last field, a label; a blank line ends a sentence."
        )
    found = [sentence for sentence in sentences if sentence]
    widths = sorted({len(fields) for sentence in found for fields in sentence})
    if not with_labels and len(widths) > 1:
        raise DataError(
            f"{name} is the file '{path}', whose lines have from {widths[0]} to {widths[-1]} fields. Such a file needs "
            "one word a line, as the first of equally many fields; a blank line ends a sentence."
        )
    columns = {"words": [[fields[0] for fields in sentence] for sentence in found]}
    if with_labels:
        columns["labels"] = [[fields[-1] for fields in sentence] for sentence in found]
    return pd.DataFrame(columns, dtype=object)


def _fields(line: str) -> list[str]:
    # str.split() would also split at the no-break spaces that words may hold.
    line = line.strip(" \t\r\n")
    if "\t" in line:
        return [field.strip(" ") for field in line.split("\t")]
    return [field for field in line.split(" ") if field]


def _has_bare_quotes(path: Path, encoding: str) -> bool:
    """Tell whether quotation marks are words like others, and not put around fields."""
    with path.open(encoding=encoding) as file:
        return any(
            field.startswith('"') and (len(field) == 1 or not field.endswith('"'))
            for line in file
            for field in line.rstrip("\r\n").split("\t")
        )
