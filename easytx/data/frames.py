"""Whatever holds the caller's rows, as a DataFrame with the columns a task expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from easytx.config.fields import nearest
from easytx.config.warn import warn_user
from easytx.data.checks import with_article
from easytx.errors import DataError

if TYPE_CHECKING:
    from easytx.config.model_args import ModelArgs

_FILE_TYPES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

# By default pandas takes words such as "null", "None" and "NA" for missing values.
_MISSING = [""]


@dataclass(frozen=True)
class Columns:
    """The columns a task reads.

    Attributes:
        texts: Alternatives; a frame must have all columns of one of them. The first is the usual one.
        labels: The columns that training and evaluation need besides.
        beside: Columns that every row needs besides its texts.
        optional: Columns that are kept where they are present.
    """

    texts: tuple[tuple[str, ...], ...] = (("text",), ("text_a", "text_b"))
    labels: tuple[str, ...] = ("labels",)
    beside: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Return every column name a task knows."""
        texts = dict.fromkeys(name for names in self.texts for name in names)
        return (*texts, *self.labels, *self.beside, *self.optional)

    def forms(self, *, with_labels: bool) -> list[tuple[str, ...]]:
        """Return the columns that a frame needs, for each alternative."""
        return [(*texts, *(self.labels if with_labels else ()), *self.beside) for texts in self.texts]

    def texts_in(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """Return the text columns that a checked frame has."""
        complete = [names for names in self.texts if all(name in frame for name in names)]
        return max(complete, key=len)

    def check(self, frame: pd.DataFrame, *, name: str, with_labels: bool) -> None:
        """Raise if columns are missing or ambiguous, or there is no row.

        Raises:
            DataError: Naming what was expected, what came and what to do.
        """
        has = list(frame.columns)
        wanted = self.forms(with_labels=with_labels)
        if not any(all(column in has for column in columns) for columns in wanted):
            nearest = max(wanted, key=lambda columns: sum(column in has for column in columns))
            listed = " or ".join(str(list(columns)) for columns in wanted if columns == nearest or len(wanted) == 1)
            raise DataError(f"{name} needs the columns {listed}, but has {has}. {remedy(name, nearest, has)}")
        twice = [column for column in self.all() if has.count(column) > 1]
        if twice:
            raise DataError(f"{name} has several columns of the name '{twice[0]}'. Rename or drop all but one of them.")
        if frame.empty:
            raise DataError(f"{name} has no rows.")


def remedy(name: str, wanted: Sequence[str], has: list[Any]) -> str:
    """Return what to do where a frame of this name lacks columns: which of its own look like them."""
    missing = [column for column in wanted if column not in has]
    spare = [column for column in has if column not in wanted and isinstance(column, str)]
    renames = {}
    for column in missing:
        found = nearest(column, spare)
        if found is not None:
            spare.remove(found)
            renames[found] = column
    if renames:
        return f"Rename them, for example {name}.rename(columns={renames})."
    spelled = ", ".join(f"{column}_column=..." for column in missing)
    return f"Rename columns, or name yours with {spelled}."


def as_frame(
    data: Any,
    columns: Columns,
    *,
    name: str,
    args: ModelArgs,
    renames: Mapping[str, str] | None = None,
    with_labels: bool = True,
) -> pd.DataFrame:
    """Return the caller's rows as a checked DataFrame with our column names and the caller's index.

    Args:
        data: A DataFrame (headerless too), a path to csv, tsv, json, jsonl or parquet, a list of rows (dicts or
            sequences), or a `datasets.Dataset`.
        columns: What the task reads.
        name: What to call the data in messages, such as "train_df".
        args: For `encoding` and `lazy_loading`.
        renames: Our column name -> the caller's, where they differ.
        with_labels: Whether the label columns are needed.

    Raises:
        DataError: If the data cannot be read or lacks columns or rows.
    """
    frame = _named(_read(data, name=name, args=args), columns, name=name, with_labels=with_labels)
    frame = renamed(frame, renames or {}, name=name)
    columns.check(frame, name=name, with_labels=with_labels)
    return frame


def renamed(frame: pd.DataFrame, renames: Mapping[str, Any], *, name: str) -> pd.DataFrame:
    """Return a frame with our column names, in place of any columns that had them.

    Args:
        frame: The caller's, left as it is.
        renames: Our column name -> the caller's.
        name: What to call the rows in messages.

    Raises:
        DataError: If there is no such column.
    """
    ours_of = {theirs: ours for ours, theirs in renames.items()}
    for theirs, ours in ours_of.items():
        if theirs not in frame:
            raise DataError(f"{name} has no column '{theirs}' (given as {ours}_column); it has {list(frame.columns)}.")
    hidden = [ours for ours in ours_of.values() if ours not in ours_of]
    return frame.drop(columns=hidden, errors="ignore").rename(columns=ours_of)


def as_texts(
    data: Any, columns: Columns, *, name: str, args: ModelArgs, renames: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return what a caller wants predictions for as a checked DataFrame of text columns.

    Takes a string, a list or array of strings or of pairs, a Series, and all that `as_frame` takes. A string that names
    an existing data file is read. Where a task needs columns beside its texts, a row of a list has them all, in order.

    Raises:
        DataError: If the data has another form, or no rows.
    """
    if isinstance(data, str) and not _is_file(data):
        if _names_a_file(data) and not data.split()[1:]:
            warn_user(f"There is no file '{data}'; it is taken as a text.")
        data = [data]
    index = data.index if isinstance(data, pd.Series) else None
    if hasattr(data, "tolist"):
        data = data.tolist()
    if isinstance(data, (list, tuple)) and not any(isinstance(row, Mapping) for row in data):
        if len(data) == 0:
            raise DataError(f"{name} has no rows.")
        width = {1 if isinstance(row, str) or not isinstance(row, (list, tuple)) else len(row) for row in data}
        forms = columns.forms(with_labels=False)
        names = next((form for form in forms if width == {len(form)}), None)
        if names is None:
            shapes = " or ".join(_shape(form, named=bool(columns.beside)) for form in forms)
            raise DataError(f"{name} must be a list of {shapes}, but its rows have {sorted(width)} parts.")
        rows = [[row] for row in data] if width == {1} and not isinstance(data[0], (list, tuple)) else list(data)
        return frame_of(rows, columns=list(names), index=index)
    return as_frame(data, columns, name=name, args=args, renames=renames, with_labels=False)


def frame_of(rows: Any, **options: Any) -> pd.DataFrame:
    """Return rows as a DataFrame, those that pandas' strings cannot hold as well: with halves of characters."""
    try:
        return pd.DataFrame(rows, **options)
    except UnicodeEncodeError:
        return pd.DataFrame(rows, **options, dtype=object)


def _shape(form: Sequence[str], *, named: bool) -> str:
    if named:
        return f"lists [{', '.join(form)}]"
    return "strings" if len(form) == 1 else f"lists of {len(form)} strings"


def _read(data: Any, *, name: str, args: ModelArgs) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data.copy(deep=False)
    if isinstance(data, (str, Path)):
        return read_file(data, name=name, args=args)
    if hasattr(data, "to_pandas"):
        frame: pd.DataFrame = data.to_pandas()
        return frame
    if not isinstance(data, Sequence) or isinstance(data, (bytes, bytearray)):
        hint = f" Give pd.DataFrame({name})." if isinstance(data, Mapping) or hasattr(data, "tolist") else ""
        raise DataError(
            f"{name} must be a DataFrame, a path, a list of rows or a datasets.Dataset, but is "
            f"{with_article(type(data).__name__)}.{hint}"
        )
    if len(data) == 0:
        raise DataError(f"{name} has no rows.")
    return frame_of(list(data))


def _named(frame: pd.DataFrame, columns: Columns, *, name: str, with_labels: bool) -> pd.DataFrame:
    if frame.empty or not all(isinstance(column, int) for column in frame.columns):
        return frame
    forms = columns.forms(with_labels=True)
    if not with_labels:
        forms += columns.forms(with_labels=False)
    positional = next((form for form in forms if len(form) == frame.shape[1]), None)
    if positional is None:
        return frame
    warn_user(f"{name} has no column names; its columns are taken as {list(positional)}, in this order.")
    return frame.set_axis(list(positional), axis="columns")


def _is_file(text: str) -> bool:
    return _names_a_file(text) and Path(text).is_file()


def _names_a_file(text: str) -> bool:
    return len(text) < 4096 and Path(text).suffix.lower() in _FILE_TYPES


def codec(encoding: str | None) -> str:
    """Return how to decode a file of this encoding, None for UTF-8; there, a mark at its beginning is no text."""
    return "utf-8-sig" if (encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8") else str(encoding)


def read_file(path: str | Path, *, name: str, args: ModelArgs, kind: str | None = None) -> pd.DataFrame:
    """Return the rows of a csv, tsv, json, jsonl or parquet file.

    With `args.lazy_loading` the file is read by column positions instead (`lazy_delimiter`, `lazy_text_column` ...).

    Args:
        path: Where it is.
        name: What to call the rows in messages.
        args: For `encoding` and `lazy_loading`.
        kind: Such as ".csv", for a file whose name does not end with it.

    Raises:
        DataError: If there is no such file, its type is not known, or it is not what its type says.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{name} is the path '{path}', where there is no file.")
    encoding, suffix = args.encoding or "utf-8", kind or path.suffix.lower()
    if suffix not in _FILE_TYPES and not args.lazy_loading:
        raise DataError(f"{name} is a '{suffix}' file; one of {', '.join(_FILE_TYPES)} is expected.")
    try:
        if args.lazy_loading:
            return _read_by_position(path, name, args, encoding)
        if suffix in (".csv", ".tsv"):
            separator = "\t" if suffix == ".tsv" else ","
            return pd.read_csv(path, sep=separator, encoding=encoding, keep_default_na=False, na_values=_MISSING)
        if suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_json(path, lines=suffix == ".jsonl", encoding=codec(encoding), dtype=False)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{name} is the path '{path}', which could not be read (encoding {encoding}, see args.encoding). "
            f"The cause was: {error}"
        ) from error


def _read_by_position(path: Path, name: str, args: ModelArgs, encoding: str) -> pd.DataFrame:
    positions = {
        ours: args.get(f"lazy_{ours}_column")
        for ours in ("text", "text_a", "text_b", "labels")
        if args.get(f"lazy_{ours}_column") is not None
    }
    if "text_a" in positions and "text_b" in positions:
        positions.pop("text", None)
    frame = pd.read_csv(
        path,
        sep=args.lazy_delimiter,
        header=None,
        skiprows=args.lazy_loading_start_line,
        encoding=encoding,
        keep_default_na=False,
        na_values=_MISSING,
    )
    if positions.get("labels", 0) >= frame.shape[1]:
        # Rows to predict have none; where labels are needed, their column is missed later.
        positions.pop("labels")
    beyond = [f"lazy_{ours}_column={position}" for ours, position in positions.items() if position >= frame.shape[1]]
    if beyond:
        raise DataError(
            f"{name} has {frame.shape[1]} columns, counted from 0, but args has {', '.join(beyond)}. "
            f"The delimiter is {args.lazy_delimiter!r} (lazy_delimiter)."
        )
    return pd.DataFrame({ours: frame.iloc[:, position] for ours, position in positions.items()})
