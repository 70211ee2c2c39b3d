"""Every notebook runs from top to bottom, in an empty folder, and is committed with what it gave."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# Places on the machine of whoever ran it.
_PLACE = re.compile(r"(?:/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\)")


def _id(path: Path) -> str:
    return path.stem


def test_there_is_a_notebook_for_every_class_and_one_for_tracking() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "classification",
        "conversation",
        "language_generation",
        "language_modeling",
        "multi_label",
        "multi_modal",
        "ner",
        "question_answering",
        "representation",
        "retrieval",
        "sentence_pairs",
        "seq2seq",
        "t5",
        "tracking",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_id)
def test_a_notebook_is_committed_as_it_ran(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert _PLACE.findall(text) == []
    code = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {output.output_type for cell in code for output in cell.outputs} <= {"display_data", "execute_result"}


@pytest.mark.real
@pytest.mark.parametrize("path", NOTEBOOKS, ids=_id)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    # It raises where a cell does.
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_bars_of_text_need_no_warning() -> None:
    lines = ["import warnings", "warnings.simplefilter('error')", "import easytx", "import tqdm.auto"]
    cell = nbformat.v4.new_code_cell("\n".join(lines))
    NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=120).execute()
    assert cell.outputs == []
