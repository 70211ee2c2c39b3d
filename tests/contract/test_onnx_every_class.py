"""What can be written as ONNX answers from there as it did before; what cannot says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import easytx
from easytx.errors import CheckpointError

from .conftest import Trained, numbers

EXPORTED = {"ClassificationModel", "MultiLabelClassificationModel", "NERModel", "QuestionAnsweringModel"}


@pytest.mark.real
def test_an_exported_model_answers_like_the_one_it_was_made_from(trained: Trained, tmp_path: Path) -> None:
    case, model = trained.case, trained.model
    if case.class_name not in EXPORTED:
        with pytest.raises(CheckpointError, match=r"cannot (be exported|export this text-image model) to ONNX"):
            model.convert_to_onnx(tmp_path / "onnx")
        return
    folder = model.convert_to_onnx(tmp_path / "onnx")
    assert not {path.suffix for path in folder.iterdir()} & {".safetensors", ".bin", ".pkl"}
    opened = easytx.load(folder)
    assert opened.args.onnx
    assert not model.args.onnx
    np.testing.assert_allclose(
        list(numbers(opened.predict(case.inputs).raw_outputs)),
        list(numbers(model.predict(case.inputs).raw_outputs)),
        rtol=1e-3,
        atol=1e-4,
    )
    expected, found = model.eval_model(case.held_out).result, opened.eval_model(case.held_out).result
    assert found == pytest.approx(expected, rel=1e-3, nan_ok=True)
