"""Changes of modules begin with their first user, end with the last, and can be lifted for a while."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
from torch import nn

from easytx.training.hooking import hooked, is_hooked, unhooked


class Log:
    """Writes down when a change begins and ends."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def change(self, name: str) -> Callable[[], Callable[[], None]]:
        def begin() -> Callable[[], None]:
            self.events.append(f"+{name}")
            return lambda: self.events.append(f"-{name}")

        return begin


@pytest.fixture
def log() -> Log:
    return Log()


def test_nested_calls_change_a_module_once(log: Log) -> None:
    module = nn.Linear(1, 1)
    with hooked(module, "a", log.change("a")):
        with pytest.raises(KeyError), hooked(module, "a", log.change("again")):
            raise KeyError
        assert log.events == ["+a"]
        assert is_hooked(module, "a")
    assert log.events == ["+a", "-a"]
    assert not is_hooked(module, "a")
    with hooked(module, "a", log.change("a")):
        assert log.events == ["+a", "-a", "+a"]


def test_kinds_and_modules_are_told_apart(log: Log) -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    with hooked(first, "a", log.change("1a")), hooked(first, "b", log.change("1b")):
        assert not is_hooked(second, "a")
        assert not is_hooked(copy.deepcopy(first), "a")
        with hooked(second, "a", log.change("2a")):
            assert log.events == ["+1a", "+1b", "+2a"]
    assert log.events == ["+1a", "+1b", "+2a", "-2a", "-1b", "-1a"]


def test_a_change_ends_with_its_last_user_in_any_thread(log: Log) -> None:
    module = nn.Linear(1, 1)
    begun, over = threading.Event(), threading.Event()

    def other() -> None:
        with hooked(module, "a", log.change("other")):
            begun.set()
            over.wait(10)

    thread = threading.Thread(target=other)
    with hooked(module, "a", log.change("a")):
        thread.start()
        assert begun.wait(10)
    assert log.events == ["+a"]
    over.set()
    thread.join()
    assert log.events == ["+a", "-a"]


def test_changes_are_lifted_for_a_block_and_come_back(log: Log) -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with hooked(network, "a", log.change("a")), hooked(network[1], "b", log.change("b")):
        with unhooked(network):
            assert log.events[2:] == ["-a", "-b"]
            assert not is_hooked(network, "a")
            with hooked(network, "a", log.change("inner")):
                pass
        assert log.events[4:] == ["+inner", "-inner", "+a", "+b"]
        with pytest.raises(KeyError), unhooked(network):
            raise KeyError
        assert log.events[8:] == ["-a", "-b", "+a", "+b"]
        assert is_hooked(network[1], "b")
    assert log.events[12:] == ["-b", "-a"]
    with unhooked(network):
        assert log.events[14:] == []
