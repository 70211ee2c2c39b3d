"""The committed reference is what the declarations in easytx give."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from easytx.config.global_args import global_args
from easytx.config.model_args import ModelArgs
from easytx.config.renamed import RENAMED

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = DOCS / "pages" / "reference"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_reference", DOCS / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_are_those_the_generator_makes(generator: ModuleType) -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.iterdir()}
    assert committed == generator.pages(), "run `make docs`, or `python docs/build_reference.py`"


def test_writing_replaces_what_is_out_of_date(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "FOLDER", tmp_path / "reference")
    generator.main()
    (tmp_path / "reference" / "gone.md").write_text("old")
    (tmp_path / "reference" / "errors.md").write_text("old")
    generator.main()
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "reference").iterdir()} == (
        generator.pages()
    )


def test_every_argument_is_on_the_page_of_its_class(generator: ModuleType) -> None:
    pages = generator.pages()
    shared = {row["name"] for row in ModelArgs.describe()}
    assert [name for name in shared if f"\n| `{name}` |" not in pages["model-args.md"]] == []
    for args_class, (page, *_) in generator.TASKS.items():
        own = {row["name"] for row in args_class.describe()} - shared
        parents = [generator.TASKS[parent][0] for parent in args_class.__mro__[1:] if parent in generator.TASKS]
        beside = "".join(pages[f"{parent}.md"] for parent in parents)
        assert [name for name in own if f"\n| `{name}` |" not in pages[f"{page}.md"] + beside] == []


def test_every_group_begins_with_an_argument(generator: ModuleType) -> None:
    page = generator.pages()["model-args.md"]
    found = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert found == list(generator.GROUPS)


def test_global_defaults_and_other_spellings_are_listed(generator: ModuleType) -> None:
    pages = generator.pages()
    assert [name for name in global_args if f"\n| `{name}` |" not in pages["global-args.md"]] == []
    assert [name for name in RENAMED if f"\n| `{name}` |" not in pages["without-effect.md"]] == []


def test_a_default_that_depends_on_the_machine_is_said_in_words(generator: ModuleType) -> None:
    assert "| `process_count` | number of CPUs less 2, at least 1 |" in generator.pages()["global-args.md"]
