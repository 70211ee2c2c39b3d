"""Write the pages under docs/pages/reference from the declarations in easytx: `python docs/build_reference.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from easytx import errors
from easytx.classification.args import (
    ClassificationArgs,
    MultiLabelClassificationArgs,
    MultiModalClassificationArgs,
)
from easytx.config.args_object import ArgsObject
from easytx.config.fields import fields_of
from easytx.config.global_args import global_args
from easytx.config.model_args import ModelArgs
from easytx.config.renamed import RENAMED
from easytx.conv_ai.args import ConvAIArgs
from easytx.language_generation.args import LanguageGenerationArgs
from easytx.language_modeling.args import LanguageModelingArgs
from easytx.language_representation.args import RepresentationArgs
from easytx.ner.args import NERArgs
from easytx.question_answering.args import QuestionAnsweringArgs
from easytx.retrieval.args import RetrievalArgs
from easytx.seq2seq.args import Seq2SeqArgs
from easytx.t5.args import T5Args

FOLDER = Path(__file__).parent / "pages" / "reference"

NOTE = "<!-- Written by docs/build_reference.py; changes here are lost. -->"

# heading -> the first argument below it, in the order in which they are declared
GROUPS = {
    "Optimisation": "train_batch_size",
    "Precision and devices": "fp16",
    "Evaluation while training, early stopping, best model": "eval_batch_size",
    "Folders and saving": "output_dir",
    "Data": "max_seq_length",
    "Model and tokenizer": "config",
    "Reporting": "logging_steps",
    "Without effect": "fp16_opt_level",
}

# args class -> (page, the class it belongs to, the page of that class)
TASKS: dict[type[ModelArgs], tuple[str, str, str]] = {
    ClassificationArgs: ("classification-args", "ClassificationModel", "classification"),
    MultiLabelClassificationArgs: ("multi-label-args", "MultiLabelClassificationModel", "multi-label"),
    ConvAIArgs: ("conversation-args", "ConvAIModel", "conversation"),
    MultiModalClassificationArgs: ("multi-modal-args", "MultiModalClassificationModel", "multi-modal"),
    LanguageGenerationArgs: ("language-generation-args", "LanguageGenerationModel", "language-generation"),
    LanguageModelingArgs: ("language-modeling-args", "LanguageModelingModel", "language-modeling"),
    NERArgs: ("ner-args", "NERModel", "ner"),
    QuestionAnsweringArgs: ("question-answering-args", "QuestionAnsweringModel", "question-answering"),
    RepresentationArgs: ("representation-args", "RepresentationModel", "representation"),
    RetrievalArgs: ("retrieval-args", "RetrievalModel", "retrieval"),
    Seq2SeqArgs: ("seq2seq-args", "Seq2SeqModel", "seq2seq"),
    T5Args: ("t5-args", "T5Model", "t5"),
}

# Defaults that differ from machine to machine.
VARYING = {"process_count": "number of CPUs less 2, at least 1"}


def pages() -> dict[str, str]:
    """Return the text of each page, by the name of its file."""
    texts = {"model-args": _shared(), **{page: _task(args_class) for args_class, (page, *_) in TASKS.items()}}
    texts |= {"global-args": _global_args(), "without-effect": _without_effect(), "errors": _errors()}
    return {f"{name}.md": f"{NOTE}\n\n{text.strip()}\n" for name, text in texts.items()}


def main() -> None:
    """Write all pages, and delete those that are no longer made."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    texts = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _shared() -> str:
    rows = ModelArgs.describe()
    first = {name: heading for heading, name in GROUPS.items()}
    groups: dict[str, list[dict[str, Any]]] = {}
    heading = ""
    for row in rows:
        heading = first.get(row["name"], heading)
        groups.setdefault(heading, []).append(row)
    tables = [f"## {heading}\n\n{_arguments(group, ModelArgs)}" for heading, group in groups.items()]
    return "\n\n".join(
        [
            "# Arguments of all classes",
            _lines(
                "Every model class takes these, as a dict or as an object of its args class. Batch sizes are in rows, "
                "lengths in tokens, intervals in optimiser steps. How several sources of arguments are put together is "
                "told in [How arguments are merged](../explanation/arguments.md). `ClassificationArgs.help()` prints "
                'the same lists, and `ClassificationArgs.help("stride")` one line of them.'
            ),
            *tables,
        ]
    )


def _task(args_class: type[ModelArgs]) -> str:
    _, model, page = TASKS[args_class]
    parent = next(base for base in args_class.__mro__[1:] if base in (*TASKS, ModelArgs))
    shared = {row["name"]: row["default"] for row in parent.describe()}
    own = [row for row in args_class.describe() if row["name"] not in shared]
    changed = [row for row in args_class.describe() if row["name"] in shared and row["default"] != shared[row["name"]]]
    beside = "[arguments of all classes](model-args.md)"
    if parent in TASKS:
        name, parent_model, _ = TASKS[parent]
        beside = f"[arguments of `{parent_model}`]({name}.md) and the {beside}"
    parts = [
        f"# Arguments of {model}",
        _lines(
            f"`{args_class.__name__}` has these beside the {beside}. [{model}](../classes/{page}.md) shows them in use."
        ),
        _arguments(own, args_class),
    ]
    if changed:
        parts += ["## Shared arguments with another default", _arguments(changed, args_class)]
    return "\n\n".join(parts)


def _global_args() -> str:
    rows = [row for row in ModelArgs.describe() if row["name"] in global_args]
    return "\n\n".join(
        [
            "# global_args",
            _lines(
                "`easytx.global_args` is a dict of the defaults below. What is changed in it holds for every model "
                "made afterwards; a default that a task states itself, what a saved folder says and what is given to "
                "the constructor win over it. What each argument means is told under "
                "[Arguments of all classes](model-args.md)."
            ),
            _table(
                ("key", "default"),
                ((f"`{row['name']}`", _default(row)) for row in sorted(rows, key=lambda row: str(row["name"]))),
            ),
        ]
    )


def _without_effect() -> str:
    found: dict[str, dict[str, Any]] = {}
    for args_class in (ModelArgs, *TASKS):
        for row in args_class.describe():
            if row["no_effect"]:
                found.setdefault(row["name"], {**row, "class": args_class.__name__})
    return "\n\n".join(
        [
            "# Arguments without effect, and other spellings",
            "## Without effect",
            "These are accepted so that existing scripts run. They change nothing.",
            _table(
                ("argument", "class", "why"),
                ((f"`{name}`", f"`{row['class']}`", str(row["no_effect"])) for name, row in found.items()),
            ),
            "## Other spellings",
            _lines(
                "These are taken for an argument of ours, with a warning that says so. Names on the left that an args "
                "class has itself keep their own meaning there."
            ),
            _table(
                ("given", "taken as"),
                (
                    (f"`{theirs}`", f"`{ours}`, negated" if convert(True) is False else f"`{ours}`")
                    for theirs, (ours, convert) in sorted(RENAMED.items())
                ),
            ),
        ]
    )


def _errors() -> str:
    documentation = inspect.getdoc(errors) or ""
    _, tree, rest = documentation.split("\n\n", 2)
    kinds = [getattr(errors, name) for name in errors.__all__]
    return "\n\n".join(
        [
            "# Errors",
            _lines(
                "What easytx raises on purpose is in `easytx.errors`. A message says what was expected, what came, in "
                f"which rows, and what to do. {rest.strip()}"
            ),
            f"```text\n{tree}\n```",
            _table(
                ("error", "is also a", "raised when"),
                (
                    (f"`{kind.__name__}`", _builtin(kind), (inspect.getdoc(kind) or "").splitlines()[0])
                    for kind in kinds
                    if kind is not errors.EasytxError
                ),
            ),
        ]
    )


def _builtin(kind: type[BaseException]) -> str:
    return next(f"`{base.__name__}`" for base in kind.__mro__ if base.__module__ == "builtins")


def _arguments(rows: Iterable[dict[str, Any]], args_class: type[ArgsObject]) -> str:
    return _table(("argument", "type", "default", "meaning"), _cells(rows, args_class))


def _cells(rows: Iterable[dict[str, Any]], args_class: type[ArgsObject]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        meaning = f"{row['help']}{_bounds(args_class, row['name'])}"
        if row["no_effect"]:
            meaning += f" Without effect: {row['no_effect']}."
        yield f"`{row['name']}`", f"`{row['type'].replace(' | ', ' or ')}`", _default(row), meaning


def _bounds(args_class: type[ArgsObject], name: str) -> str:
    rules = fields_of(args_class)[name][0].metadata
    if rules["choices"] is not None:
        return f" One of {', '.join(f'`{choice!r}`' for choice in rules['choices'])}."
    words = {"low": "at least", "above": "above", "high": "at most"}
    limits = [f"{word} {rules[key]}" for key, word in words.items() if rules[key] is not None]
    return f" {', '.join(limits).capitalize()}." if limits else ""


def _default(row: dict[str, Any]) -> str:
    return VARYING.get(row["name"]) or f"`{row['default']!r}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _lines(text: str, width: int = 118) -> str:
    """Return a paragraph in lines of this width."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


if __name__ == "__main__":
    main()
