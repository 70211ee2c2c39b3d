"""A conversation at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from easytx.core.prompting import at_terminal
from easytx.errors import ArgumentError

_QUIT = "/quit"


def check_terminal() -> None:
    """Raise where nobody can type: in a notebook, and where the input is no terminal.

    Raises:
        ArgumentError: Naming what works there.
    """
    if not at_terminal():
        raise ArgumentError(
            "interact() needs a terminal to talk at. Here, call "
            "reply, history = model.interact_single(message, history) for each message."
        )


def talk(answer: Callable[[str, list[str]], tuple[str, list[str]]], personality: Sequence[str]) -> list[str]:
    """Let the user talk until the end of the input, an interruption or /quit, and return what was said.

    Args:
        answer: Returns a reply and the new history, given a message and what was said before.
        personality: Shown at the beginning.
    """
    history: list[str] = []
    for line in personality:
        _show(f"  {line}")
    _show(f"Type a message, or {_QUIT} to end.")
    while True:
        try:
            message = input(">>> ").strip()
        except (EOFError, KeyboardInterrupt):
            _show("")
            return history
        if message == _QUIT:
            return history
        if message:
            reply, history = answer(message, history)
            _show(reply)


def said(tokenizer: Any, history: Sequence[Any]) -> list[str]:
    """Return what was said before as texts, whether it came as texts or as token ids."""
    return [text if isinstance(text, str) else tokenizer.decode(text, skip_special_tokens=True) for text in history]


def _show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
