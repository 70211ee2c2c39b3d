"""The rules that no single module can hold: layers, sizes, public names, what an import costs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import easytx
from easytx.core.base_model import BaseModel
from easytx.core.registry import MODEL_CLASSES, model_class

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "easytx"
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "accelerate",
    "datasets",
    "matplotlib",
    "pandas",
    "seqeval",
    "sklearn",
    "torch",
    "transformers",
    "wandb",
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _most_lines(path: Path) -> int:
    if path == PACKAGE / "core" / "base_model.py":
        return 300
    return 150 if path.name == "model.py" else 400


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _is_blind(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    return node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"BaseException", "Exception"})


def _is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


def _loaded_by(statement: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after `statement`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return HEAVY & set(json.loads(done.stdout))


def test_a_module_imports_only_from_the_layers_below_its_own() -> None:
    # In a process of its own, because it configures logging, and so switches off every logger there is.
    lint = "from importlinter.cli import lint_imports as lint; raise SystemExit(lint('setup.cfg', no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_outgrows_its_limit() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    too_long = {_name(path): count for path, count in lines.items() if count > _most_lines(path)}
    assert too_long == {}


@pytest.mark.parametrize("name", MODEL_CLASSES)
def test_a_model_class_is_the_fourth_of_its_line_at_most(name: str) -> None:
    line: list[type] = [model_class(name)]
    while line[-1] is not BaseModel:
        (parent,) = line[-1].__bases__
        line.append(parent)
    assert len(line) <= 4, line


def test_nothing_outside_the_command_line_prints() -> None:
    silent = [path for path in SOURCES if PACKAGE / "cli" not in path.parents]
    printing = [_name(path) for path in silent if any(map(_is_print, _nodes(path)))]
    assert printing == []


def test_no_handler_catches_everything() -> None:
    blind = [_name(path) for path in SOURCES if any(map(_is_blind, _nodes(path)))]
    assert blind == []


def test_public_names_are_sorted_and_listed() -> None:
    assert list(easytx.__all__) == sorted(set(easytx.__all__))
    assert dir(easytx) == list(easytx.__all__)


@pytest.mark.parametrize("name", easytx.__all__)
def test_each_public_name_can_be_imported(name: str) -> None:
    assert getattr(easytx, name) is not None


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"^module 'easytx' has no attribute 'NoSuchModel'$"):
        easytx.NoSuchModel  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    ["import easytx", "import easytx; easytx.global_args, easytx.ModelArgs, easytx.errors"],
    ids=["package", "arguments"],
)
def test_importing_loads_no_heavy_package(statement: str) -> None:
    assert _loaded_by(statement) == set()


def test_a_model_class_comes_without_what_only_training_or_scoring_needs() -> None:
    assert _loaded_by("import easytx; easytx.ClassificationModel, easytx.NERModel, easytx.QuestionAnsweringModel") <= {
        "pandas",
        "torch",
        "transformers",
    }
