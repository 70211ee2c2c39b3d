"""No argument is ignored in silence: each one is read somewhere, or says that it has no effect."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

import easytx
from easytx.config.fields import fields_of
from easytx.training.arguments import DERIVED, DIRECT

PACKAGE = Path(easytx.__file__).parent

# There `self.args` is transformers' own object.
FOREIGN = {PACKAGE / "training" / "trainer.py"}

CLASSES = {
    "ModelArgs": "easytx.config.model_args",
    "ClassificationArgs": "easytx.classification",
    "MultiLabelClassificationArgs": "easytx.classification",
    "MultiModalClassificationArgs": "easytx.classification",
    "ConvAIArgs": "easytx.conv_ai",
    "LanguageGenerationArgs": "easytx.language_generation",
    "LanguageModelingArgs": "easytx.language_modeling",
    "NERArgs": "easytx.ner",
    "QuestionAnsweringArgs": "easytx.question_answering",
    "GenerationArgs": "easytx.config.generation",
    "Seq2SeqArgs": "easytx.seq2seq",
    "T5Args": "easytx.t5",
    "RepresentationArgs": "easytx.language_representation",
    "RetrievalArgs": "easytx.retrieval",
}


def _is_args(node: ast.expr) -> bool:
    """Tell whether an expression is `args`, `self.args`, `model.args` ..."""
    return "args" in (getattr(node, "id", None), getattr(node, "attr", None))


def _pattern(node: ast.expr) -> str | None:
    """Return a regular expression for the names that a key stands for: a text, or an f-string with any filling."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in node.values)
    return None


def _reads(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        key: ast.expr | None = None
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _is_args(node.value):
            yield re.escape(node.attr)
        elif isinstance(node, ast.Subscript) and _is_args(node.value):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            of_args_object = path.name == "args_object.py" and ast.unparse(node.func.value) == "self"
            key = node.args[0] if node.args and (_is_args(node.func.value) or of_args_object) else None
        pattern = None if key is None else _pattern(key)
        if pattern is not None:
            yield pattern


READ = re.compile("|".join({p for path in PACKAGE.rglob("*.py") if path not in FOREIGN for p in _reads(path)}))


def _class(name: str) -> Any:
    try:
        return getattr(importlib.import_module(CLASSES[name]), name)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


def _arguments() -> Iterator[Any]:
    """Return each argument once, under the first class that has it."""
    seen: set[str] = set()
    for name in CLASSES:
        if importlib.util.find_spec(CLASSES[name]) is None:
            continue
        for argument, (field, _) in fields_of(_class(name)).items():
            if argument not in seen and not field.metadata["no_effect"]:
                yield pytest.param(argument, field.metadata["help"], id=f"{name}.{argument}")
            seen.add(argument)


@pytest.mark.parametrize(("argument", "meaning"), [*_arguments()])
def test_an_argument_is_read_somewhere_or_says_that_it_is_not(argument: str, meaning: str) -> None:
    filled_in = meaning.startswith("Filled in: ")
    assert argument in DIRECT or argument in DERIVED or READ.fullmatch(argument) or filled_in


@pytest.mark.parametrize("name", CLASSES)
def test_every_argument_explains_itself(name: str) -> None:
    for argument, (field, _) in fields_of(_class(name)).items():
        assert field.metadata["help"].endswith("."), argument
        reason = field.metadata["no_effect"]
        assert reason is None or not reason.endswith("."), argument


def test_the_tables_for_the_trainer_name_arguments_that_exist_on_both_sides() -> None:
    ours = fields_of(_class("ModelArgs"))
    assert [name for name in (*DIRECT, *DERIVED) if name not in ours] == []
    assert [name for name in DIRECT.values() if name not in TrainingArguments.__dataclass_fields__] == []
    assert set(DIRECT) & DERIVED == set()


def test_what_has_no_effect_is_not_handed_to_the_trainer() -> None:
    without = {name for name, (field, _) in fields_of(_class("ModelArgs")).items() if field.metadata["no_effect"]}
    assert without & (set(DIRECT) | DERIVED) == set()
