"""What is asked of the C library, and that it is taken back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from easytx.training import memory
from easytx.training.memory import keep_freed_memory

CPU = torch.device("cpu")


class Library:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self.trimmed = 0

    def mallopt(self, parameter: int, value: int) -> int:
        self.settings[parameter] = value
        return 1

    def malloc_trim(self, _pad: int) -> int:
        self.trimmed += 1
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(memory, "_glibc", lambda: found)
    return found


def test_memory_is_kept_within_and_given_back_after(library: Library) -> None:
    with keep_freed_memory(CPU):
        assert library.settings == memory._KEEPING
    assert (library.settings, library.trimmed) == (memory._USUAL, 1)


def test_only_the_outermost_block_counts(library: Library) -> None:
    with keep_freed_memory(CPU):
        with keep_freed_memory(CPU):
            pass
        assert (library.settings, library.trimmed) == (memory._KEEPING, 0)
    assert library.trimmed == 1


def test_memory_is_given_back_after_an_error(library: Library) -> None:
    with pytest.raises(ValueError, match="stop"), keep_freed_memory(CPU):
        raise ValueError("stop")
    assert library.settings == memory._USUAL


def test_other_devices_are_left_alone(library: Library) -> None:
    with keep_freed_memory(torch.device("cuda")):
        pass
    assert library.settings == {}


@pytest.mark.parametrize(("name", "value"), [("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")])
def test_settings_of_the_environment_stand(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    found: Any = memory._glibc.__wrapped__()
    assert found is None
