"""Models as ONNX: how an exported folder is opened, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx.classification import ClassificationModel
from easytx.core import onnx
from easytx.errors import ArgumentError, CheckpointError, MissingExtraError, OutputDirError, ScoreDropError

TEXTS = ["the film was good", "a dull book and the worst song of all, terrible", "fine"]
ARGS = {"fp16": False, "silent": True, "max_seq_length": 32}


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> ClassificationModel:
    return ClassificationModel("bert", str(checkpoint), num_labels=3, args=ARGS)


@pytest.fixture(scope="module")
def exported(model: ClassificationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.convert_to_onnx(tmp_path_factory.mktemp("exported") / "onnx")


def _logits(model: Any) -> np.ndarray:
    found: np.ndarray = model.predict(TEXTS).raw_outputs
    return found


@pytest.mark.parametrize(
    "opened",
    [
        lambda folder: easytx.load(folder),
        lambda folder: ClassificationModel("bert", folder, onnx_execution_provider="CPUExecutionProvider"),
        lambda folder: ClassificationModel(folder, args={"onnx": True, "thread_count": 2}),
    ],
    ids=["load", "class with a provider", "class with arguments"],
)
def test_an_exported_folder_opens_and_gives_the_same_logits(
    model: ClassificationModel, exported: Path, opened: Callable[[Path], Any]
) -> None:
    found = opened(exported)
    assert isinstance(found.model, onnx.OnnxNetwork)
    assert found.device == torch.device("cpu")
    np.testing.assert_allclose(_logits(found), _logits(model), atol=1e-5)


def test_loss_and_class_weights_are_those_of_the_network(model: ClassificationModel, exported: Path) -> None:
    rows = pd.DataFrame({"text": TEXTS, "labels": [0, 1, 2]})
    for weight in (None, [1.0, 2.0, 3.0]):
        expected = ClassificationModel(str(model.source()), num_labels=3, weight=weight, args=ARGS)
        expected.model = model.model
        found = ClassificationModel(exported, weight=weight)
        assert found.eval_model(rows).result == pytest.approx(expected.eval_model(rows).result, rel=1e-4)


def test_int8_is_close_whether_written_or_made_when_opened(
    model: ClassificationModel, exported: Path, tmp_path: Path
) -> None:
    opened = ClassificationModel(exported, args={"dynamic_quantize": True})
    smaller = ClassificationModel("bert", model.source(), num_labels=3, args={**ARGS, "quantized_model": True})
    smaller.model = model.model
    written = smaller.convert_to_onnx(tmp_path / "int8")
    for found in (_logits(opened), _logits(easytx.load(written, args={"dynamic_quantize": True}))):
        assert 0 < np.abs(found - _logits(model)).max() < 0.1
    assert (written / "model.onnx.data").stat().st_size < (exported / "model.onnx.data").stat().st_size


def test_int8_can_be_earned_by_an_exported_model(exported: Path) -> None:
    opened = easytx.load(exported)
    before = _logits(opened)
    result = opened.quantize(pd.DataFrame({"text": TEXTS, "labels": [0, 1, 2]}), bound=0.5)
    assert result.before["eval_loss"] != result.after["eval_loss"]
    assert 0 < np.abs(_logits(opened) - before).max() < 0.1
    with pytest.raises(ScoreDropError):
        opened.quantize(
            pd.DataFrame({"text": TEXTS, "labels": [0, 1, 2]}),
            metric="lost",
            minimize=True,
            lost=lambda *_: float(opened.args.dynamic_quantize),
        )


def test_an_opened_model_can_be_saved_but_not_trained_or_exported(exported: Path, tmp_path: Path) -> None:
    opened = easytx.load(exported)
    again = easytx.load(opened.save_model(tmp_path / "again"))
    np.testing.assert_array_equal(_logits(again), _logits(opened))
    message = (
        f"'{exported}' is an ONNX model, which cannot be trained. Train the model it was exported from, and call its "
        "convert_to_onnx() again."
    )
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        opened.train_model(pd.DataFrame({"text": TEXTS, "labels": [0, 1, 2]}))
    with pytest.raises(ArgumentError, match="is run by ONNX Runtime already"):
        opened.convert_to_onnx(tmp_path / "third")


def test_a_folder_with_other_weights_is_run_by_onnx_runtime_only_where_asked(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    assert not onnx.runs_as_onnx(False, str(tmp_path))
    assert onnx.runs_as_onnx(True, str(tmp_path))
    assert onnx.runs_as_onnx(False, str(exported))
    assert json.loads((exported / "model_args.json").read_text("utf-8"))["onnx"] is True


def test_wrong_folders_and_providers_are_refused(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    message = (
        f"args.onnx is set, but '{checkpoint}' holds no exported model (export.json). Open it without onnx, and write "
        "one with convert_to_onnx()."
    )
    with pytest.raises(CheckpointError, match=rf"^{re.escape(message)}$"):
        ClassificationModel("bert", str(checkpoint), args={"onnx": True})
    with pytest.raises(ArgumentError, match=r"^onnx_execution_provider must be one of \[.*\], but is 'Abacus'\.$"):
        ClassificationModel(exported, onnx_execution_provider="Abacus").predict(TEXTS)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputDirError, match="is not empty"):
        ClassificationModel("bert", str(checkpoint)).convert_to_onnx(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_network_that_cannot_be_exported_is_named(
    model: ClassificationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def depends_on_data(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("Could not guard on data-dependent expression\nand so on")

    exporters: Any = pytest.importorskip("transformers.exporters")
    monkeypatch.setattr(exporters.OnnxExporter, "export", depends_on_data)
    message = (
        "transformers cannot export this bert model to ONNX. The cause was: RuntimeError: Could not guard on "
        "data-dependent expression"
    )
    with pytest.raises(CheckpointError, match=rf"^{message}$"):
        model.convert_to_onnx(tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_without_the_extra_its_command_is_named(
    model: ClassificationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda _: None)
    message = "ONNX needs the package 'onnx'. Install it with: pip install 'easytx[onnx]'"
    with pytest.raises(MissingExtraError, match=rf"^{re.escape(message)}$"):
        model.convert_to_onnx(tmp_path / "onnx")
