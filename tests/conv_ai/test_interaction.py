"""Talking at a terminal, and being told where there is none."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from easytx.conv_ai import ConvAIModel
from easytx.errors import ArgumentError

NO_TERMINAL = (
    r"^interact\(\) needs a terminal to talk at\. Here, call "
    r"reply, history = model\.interact_single\(message, history\) for each message\.$"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def given(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(text))

    return given


def test_a_conversation_ends_with_the_input(
    talker: Callable[..., ConvAIModel], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    model = talker()
    typed("Hi\n\nWhat is new?\n")
    said = model.interact(personality=["I love cats."])
    first, history = model.interact_single("Hi", [], ["I love cats."])
    second, history = model.interact_single("What is new?", history, ["I love cats."])
    assert said == history == ["Hi", first, "What is new?", second]
    shown = capsys.readouterr().out
    assert shown.startswith("  I love cats.\nType a message, or /quit to end.\n>>> ")
    assert f"{first}\n" in shown


def test_quit_ends_it_and_so_does_an_interruption(
    talker: Callable[..., ConvAIModel], typed: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = talker()
    typed("/quit\nHi\n")
    assert model.interact() == []

    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    assert model.interact() == []


@pytest.mark.parametrize("stdin", [None, io.StringIO("Hi\n")], ids=["none", "no terminal"])
def test_without_a_terminal_it_does_not_wait(
    talker: Callable[..., ConvAIModel], monkeypatch: pytest.MonkeyPatch, stdin: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(ArgumentError, match=NO_TERMINAL):
        talker().interact()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", shell)  # type: ignore[arg-type]


@pytest.mark.usefixtures("notebook")
def test_nor_in_a_notebook(talker: Callable[..., ConvAIModel], typed: Callable[[str], None]) -> None:
    typed("Hi\n")
    with pytest.raises(ArgumentError, match=NO_TERMINAL):
        talker().interact()
