"""Large tables lie in a file that nobody sees; they hold what small ones hold, and nothing stays behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from easytx.data import tables
from easytx.data.tables import joined, large_data_in, lists_of
from easytx.data.tokenise import encode, lengths_of, with_column
from easytx.testing.tokenizers import tiny_tokenizer

TEXTS = [f"{'good ' * (i % 7)}film" for i in range(600)]


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_IN_MEMORY", 2000)


def _open_files() -> list[str]:
    """Return what the open files of this process are, where the system tells."""
    folder = Path("/proc/self/fd")
    return [os.readlink(path) for path in folder.iterdir() if path.is_symlink()] if folder.exists() else []


def _number(count: int = 5) -> Iterator[pa.Table]:
    for i in range(count):
        yield pa.table({"row": np.arange(300) + 300 * i})


@pytest.mark.usefixtures("small_memory")
def test_features_are_the_same_in_memory_and_on_disk(tmp_path: Path) -> None:
    for options in ({}, {"pairs": TEXTS[::-1]}, {"overlap": 1}):
        in_memory: Any = encode(tiny_tokenizer(), TEXTS, max_length=6, **options)  # type: ignore[arg-type]
        with large_data_in(tmp_path):
            on_disk: Any = encode(tiny_tokenizer(), TEXTS, max_length=6, **options)  # type: ignore[arg-type]
        assert on_disk.column_names == in_memory.column_names
        assert on_disk.to_dict() == in_memory.to_dict()
        labelled = with_column(on_disk, "labels", np.arange(len(on_disk)))
        assert labelled.remove_columns("labels").to_dict() == in_memory.to_dict()
        assert labelled.select([5, 300, 7])["labels"][:] == [5, 300, 7]
        assert pickle.loads(pickle.dumps(labelled)).to_dict() == labelled.to_dict()


@pytest.mark.usefixtures("small_memory")
def test_the_file_is_seen_by_nobody_and_ends_with_the_data(tmp_path: Path) -> None:
    def writes() -> Iterator[pa.Table]:
        for table in _number():
            yield table
            assert not any(tmp_path.iterdir())

    with large_data_in(tmp_path):
        dataset: Any = joined(writes())
    assert dataset["row"][:] == list(range(1500))
    assert not any(tmp_path.iterdir())
    if _open_files():
        assert [path for path in _open_files() if str(tmp_path) in path]
        part = dataset.select_columns(["row"])
        del dataset
        gc.collect()
        assert part["row"][1499] == 1499
        del part
        gc.collect()
        assert not [path for path in _open_files() if str(tmp_path) in path]


@pytest.mark.usefixtures("small_memory")
def test_nothing_stays_behind_after_an_error(tmp_path: Path) -> None:
    def breaks() -> Iterator[pa.Table]:
        yield from _number(3)
        raise KeyboardInterrupt

    with large_data_in(tmp_path / "cache"), pytest.raises(KeyboardInterrupt):
        joined(breaks())
    assert not any(tmp_path.iterdir())
    gc.collect()
    assert not [path for path in _open_files() if str(tmp_path) in path]


@pytest.mark.usefixtures("small_memory")
def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with large_data_in(tmp_path / "cache"):
        joined(_number())
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.usefixtures("small_memory")
def test_a_folder_that_another_process_takes_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file, folder = tables.tempfile.TemporaryFile, tmp_path / "cache"
    refused: list[Path] = []

    def late(**options: Any) -> Any:
        if not refused:
            refused.append(folder)
            folder.rmdir()
        return open_file(**options)

    monkeypatch.setattr(tables.tempfile, "TemporaryFile", late)
    with large_data_in(folder):
        assert joined(_number())["row"][1499] == 1499
    assert refused
    assert not any(tmp_path.iterdir())


def test_small_data_and_data_without_a_folder_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(tables.tempfile, "TemporaryFile", refuse)
    with large_data_in(tmp_path):
        assert joined(_number())["row"][1499] == 1499
        monkeypatch.setattr(tables, "_IN_MEMORY", 2000)
        with large_data_in(None):
            assert joined(_number())["row"][1499] == 1499
        with pytest.raises(AssertionError, match="a file was opened"):
            joined(_number())
    assert joined(_number())["row"][1499] == 1499


@pytest.mark.usefixtures("small_memory")
def test_memory_does_not_grow_with_what_is_written(tmp_path: Path) -> None:
    before = pa.total_allocated_bytes()
    most = []

    def large() -> Iterator[pa.Table]:
        for i in range(40):
            most.append(pa.total_allocated_bytes() - before)
            yield pa.table({"row": pa.array(range(1000 * i, 1000 * (i + 1)), type=pa.int64())})

    with large_data_in(tmp_path):
        dataset = joined(large())
    assert len(dataset) == 40_000
    assert max(most) <= 6 * 8000 < dataset.data.nbytes / 6


@pytest.mark.usefixtures("small_memory")
def test_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.Process, "start", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    with large_data_in(tmp_path):
        assert lengths_of(encode(tiny_tokenizer(), TEXTS, max_length=6)).sum() > 0


def test_numbers_become_lists() -> None:
    assert lists_of(np.arange(5), np.array([2, 0, 3])).to_pylist() == [[0, 1], [], [2, 3, 4]]
    assert lists_of(np.ones(2), np.array([2]), pa.int8()).type == pa.list_(pa.int8())
