"""The code in the README and in the pages: it runs from top to bottom, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
TEXTS = [ROOT / "README.md", *sorted(PAGES.rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+\.(?:md|svg))")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        kind: `python` is run, `output` is what the block before it prints, `py` is only shown.
        text: What is between the fences.
        line: The line of the first fence, counted from 1.
    """

    kind: str
    text: str
    line: int


def _blocks(path: Path) -> Iterator[Block]:
    page = path.read_text(encoding="utf-8")
    for match in _FENCE.finditer(page):
        yield Block(match[1], match[2], page.count("\n", 0, match.start()) + 1)


def _compiled(block: Block, path: Path) -> Any:
    # Blank lines before it, so that a traceback names the line of the page.
    return compile("\n" * block.line + block.text, str(path), "exec")


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _with_code() -> list[Path]:
    return [path for path in TEXTS if any(block.kind == "python" for block in _blocks(path))]


@pytest.mark.real
@pytest.mark.parametrize("path", _with_code(), ids=_id)
def test_the_code_of_a_page_runs_and_prints_what_it_says(path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for block in _blocks(path):
        if block.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(_compiled(block, path), namespace)
            printed = stream.getvalue()
        elif block.kind == "output":
            assert printed == block.text, f"{_id(path)}, line {block.line}"


@pytest.mark.parametrize("path", TEXTS, ids=_id)
def test_code_that_is_only_shown_is_python_too(path: Path) -> None:
    for block in _blocks(path):
        if block.kind in ("py", "python"):
            _compiled(block, path)


@pytest.mark.parametrize("path", TEXTS, ids=_id)
def test_every_fence_is_closed_and_says_what_it_holds(path: Path) -> None:
    blocks = list(_blocks(path))
    fences = sum(line.startswith("```") for line in path.read_text(encoding="utf-8").splitlines())
    assert fences == 2 * len(blocks)
    assert {block.kind for block in blocks} <= {"bash", "output", "py", "python", "text"}


def test_every_output_follows_code_that_runs() -> None:
    kinds = {path: [block.kind for block in _blocks(path)] for path in TEXTS}
    pairs = [pair for found in kinds.values() for pair in zip(["", *found], found, strict=False)]
    assert {before for before, kind in pairs if kind == "output"} == {"python"}


@pytest.mark.parametrize("path", TEXTS, ids=_id)
def test_links_lead_to_pages_and_pictures(path: Path) -> None:
    targets = _LINK.findall(path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).is_file()] == []


def test_every_page_is_in_the_navigation_once() -> None:
    def named(entries: list[Any]) -> Iterator[str]:
        for entry in entries:
            for target in entry.values():
                if isinstance(target, str):
                    yield target
                else:
                    yield from named(target)

    settings = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))
    pages = [path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")]
    assert sorted(named(settings["project"]["nav"])) == sorted(pages)
