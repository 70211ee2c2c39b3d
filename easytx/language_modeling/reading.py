"""Whatever holds texts, as documents: one a row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from easytx.data.checks import texts_of
from easytx.data.frames import Columns, as_frame, codec, read_file
from easytx.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from datasets import IterableDataset

    from easytx.config.model_args import ModelArgs

COLUMNS = Columns(texts=(("text",),), labels=(), optional=("rag_query",))

_TABLES = {".csv", ".tsv", ".json", ".jsonl", ".parquet"}


def documents(data: Any, *, name: str, args: ModelArgs, renames: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the caller's texts as a frame with a column `text`: a document a row, under the caller's index.

    Args:
        data: A path or a list of paths; a list or Series of texts; a DataFrame, a list of dicts or a Dataset with a
            column `text`. Of a text file, each line that is not blank is a document, or with `dataset_type="text"`
            the whole file.
        name: What to call the data in messages.
        args: For `dataset_type`, `data_format` and `encoding`.
        renames: Our column name -> the caller's, where they differ.

    Raises:
        DataError: If the data cannot be read, has no texts, or some are missing.
    """
    paths = paths_in(data)
    if paths is not None:
        tables = [_file(path, name=name, args=args, renames=renames) for path in paths]
        frame = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    elif isinstance(data, pd.Series):
        frame = pd.DataFrame({"text": data})
    elif isinstance(data, (list, tuple)) and data and not isinstance(data[0], (Mapping, list, tuple)):
        frame = pd.DataFrame({"text": list(data)})
    else:
        frame = as_frame(_materialised(data), COLUMNS, name=name, args=args, renames=renames)
    COLUMNS.check(frame, name=name, with_labels=False)
    return frame.assign(text=texts_of(frame, "text", name=name))


def paths_in(data: Any) -> list[Path] | None:
    """Return the files that are meant: a path, or a list of which every item is a file. None for anything else."""
    if isinstance(data, (str, Path)):
        return [Path(data)]
    if not isinstance(data, (list, tuple)) or not data or not all(isinstance(item, (str, Path)) for item in data):
        return None
    paths = [Path(item) for item in data]
    if all(isinstance(item, Path) for item in data):
        return paths
    # Unlike Path.is_file, this takes a text too long for a name.
    return paths if all(os.path.isfile(path) for path in paths) else None


def lines_of(paths: Sequence[Path], args: ModelArgs, *, name: str) -> Iterator[str]:
    """Return the texts of files, one after the other, as a new vocabulary is learnt from them.

    Raises:
        DataError: If there is no such file, or it is not what its name or `data_format` says.
    """
    for path in paths:
        if _kind(path, args) == "text":
            with _opened(path, args, name=name) as file:
                yield from (line for line in _decoded(file, path, args, name=name) if line.strip())
        else:
            yield from _file(path, name=name, args=args, renames=None)["text"].tolist()


def streamed(data: Any, *, name: str, args: ModelArgs) -> IterableDataset:
    """Return texts that are read while training, as an iterable dataset with the column `text` alone.

    Raises:
        ArgumentError: If the number of steps is not set, or the texts are in memory.
        DataError: If there is no such file, or it has no column `text`.
    """
    from datasets import IterableDataset, load_dataset

    if args.max_steps <= 0:
        raise ArgumentError("stream_hf_datasets does not know how many rows there are. Set max_steps in args.")
    if isinstance(data, IterableDataset):
        dataset = data
    else:
        paths = paths_in(data)
        if paths is None:
            raise ArgumentError(
                f"stream_hf_datasets reads files bit by bit, but {name} is a {type(data).__name__}. Give a path, a "
                "list of paths or a datasets.IterableDataset, or leave stream_hf_datasets out."
            )
        for path in paths:
            _check_file(path, name=name)
        dataset = load_dataset(**_builder(paths, args), split="train", streaming=True)
    first = next(iter(dataset), None)
    if first is None:
        raise DataError(f"{name} has no rows.")
    COLUMNS.check(pd.DataFrame([first]), name=name, with_labels=False)
    texts = dataset.select_columns(["text"])
    return texts.filter(lambda row: isinstance(row["text"], str) and bool(row["text"].strip()))


def _builder(paths: Sequence[Path], args: ModelArgs) -> dict[str, Any]:
    kinds = {_kind(path, args) for path in paths}
    if len(kinds) > 1:
        raise ArgumentError(f"stream_hf_datasets needs files of one kind, but these are {', '.join(sorted(kinds))}.")
    (kind,) = kinds
    options: dict[str, Any] = {"path": {"tsv": "csv", "jsonl": "json"}.get(kind, kind)}
    options["data_files"] = [str(path) for path in paths]
    if kind == "tsv":
        options["delimiter"] = "\t"
    elif kind == "text":
        options["encoding"] = codec(args.encoding)
        options["sample_by"] = "document" if args["dataset_type"] == "text" else "line"
    return options


def _materialised(data: Any) -> Any:
    """Return a dataset that is read bit by bit as a list of rows, anything else as it is."""
    is_iterable = type(data).__name__ == "IterableDataset"
    return list(data) if is_iterable else data


def _kind(path: Path, args: ModelArgs) -> str:
    suffix = path.suffix.lower()
    return suffix[1:] if suffix in _TABLES else str(args["data_format"])


def _file(path: Path, *, name: str, args: ModelArgs, renames: Mapping[str, str] | None) -> pd.DataFrame:
    kind = _kind(path, args)
    if kind != "text":
        table = read_file(path, name=name, args=args, kind=f".{kind}")
        return as_frame(table, COLUMNS, name=name, args=args, renames=renames)
    with _opened(path, args, name=name) as file:
        lines = _decoded(file, path, args, name=name)
        texts = ["".join(lines)] if args["dataset_type"] == "text" else [line.rstrip("\n") for line in lines]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError(f"{name} is the path '{path}', which has no text.")
    return pd.DataFrame({"text": texts})


def _check_file(path: Path, *, name: str) -> None:
    if not os.path.isfile(path):
        raise DataError(
            f"{name} is the path '{str(path)[:200]}', where there is no file. Texts themselves are given as a list of "
            "texts."
        )


def _opened(path: Path, args: ModelArgs, *, name: str) -> Any:
    _check_file(path, name=name)
    return path.open(encoding=codec(args.encoding))


def _decoded(file: Any, path: Path, args: ModelArgs, *, name: str) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is the path '{path}', which is not {args.encoding or 'utf-8'} (see args.encoding). "
            f"The cause was: {error}"
        ) from error
