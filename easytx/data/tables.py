"""Tables one after another as a dataset: in memory while they are small, else in a file without a name."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from datasets import Dataset

# Bytes held before they are written: features of some 180,000 short texts. What is smaller is never written.
_IN_MEMORY = 32 * 2**20

_folder: ContextVar[Path | None] = ContextVar("_folder", default=None)


@contextlib.contextmanager
def large_data_in(folder: str | Path | None) -> Iterator[None]:
    """Have tables too large for memory lie in a folder, as a file that no one sees and that ends with their dataset.

    Args:
        folder: Where; it need not exist. None keeps all tables in memory.
    """
    token = _folder.set(None if folder is None else Path(folder))
    try:
        yield
    finally:
        _folder.reset(token)


def joined(tables: Iterable[pa.Table]) -> Dataset:
    """Return tables of the same columns, one at least, as one dataset; see `large_data_in`."""
    folder, blocks = _folder.get(), _blocks(tables)
    first = [*islice(blocks, 2)]
    if folder is None or len(first) < 2:
        return as_dataset(pa.concat_tables([*first, *blocks]))
    with _nameless_file(folder) as file:
        with pa.ipc.new_stream(file, first[0].schema) as stream:
            while first:
                stream.write_table(first.pop(0))
            for block in blocks:
                stream.write_table(block)
        file.flush()
        # Arrow's own maps want a name. This one keeps the file until the last table that lies in it is gone.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return as_dataset(pa.ipc.open_stream(pa.py_buffer(mapped)).read_all())


def as_dataset(table: pa.Table) -> Dataset:
    """Return a table as a dataset, under a name drawn for it: left to itself, it would be named by all it holds."""
    from datasets import Dataset

    return Dataset(table, fingerprint=uuid.uuid4().hex)


def lists_of(values: np.ndarray, lengths: np.ndarray | Sequence[int], kind: pa.DataType | None = None) -> pa.Array:
    """Return numbers, one list of them behind the other, as lists of these lengths.

    Args:
        values: Of shape (numbers,).
        lengths: Of shape (lists,).
        kind: What to make of the numbers; None leaves them as they are.
    """
    ends = pa.array(np.append(0, np.cumsum(lengths)), type=pa.int32())
    flat = pa.array(values)
    return pa.ListArray.from_arrays(ends, flat if kind is None else flat.cast(kind))


def _blocks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Return the tables as few, each of about so many bytes and in one piece."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= _IN_MEMORY:
            yield pa.concat_tables(held).combine_chunks()
            held, size = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _nameless_file(folder: Path) -> IO[bytes]:
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return tempfile.TemporaryFile(dir=folder)
    except FileNotFoundError:
        # Another process had made the folder, and took it away at this moment.
        return _nameless_file(folder)
    finally:
        if is_new:
            # Where an open file keeps its name, the folder is not empty and stays.
            with contextlib.suppress(OSError):
                folder.rmdir()
