"""A saved folder opens as the class that wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

import easytx
from easytx.classification import ClassificationModel, MultiLabelClassificationModel
from easytx.core.registry import MODEL_CLASSES, model_class
from easytx.errors import CheckpointError, ModelNotFoundError


@pytest.mark.parametrize("kind", [ClassificationModel, MultiLabelClassificationModel])
def test_a_folder_opens_as_its_class(kind: type, checkpoint: Path, tmp_path: Path) -> None:
    kind("bert", checkpoint, use_cuda=False, num_labels=3, args={"max_seq_length": 8}).save_model(tmp_path)
    model = easytx.load(tmp_path, use_cuda=False, args={"eval_batch_size": 4})
    assert type(model) is kind
    assert model_class(kind.__name__) is kind
    assert (model.num_labels, model.args.max_seq_length, model.args.eval_batch_size) == (3, 8, 4)


def test_what_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    absent = tmp_path / "none"
    messages = {tmp_path: f"The folder '{tmp_path}' holds no model: it has no config.json."}
    for folder, message in {**messages, absent: f"There is no folder '{absent}'."}.items():
        with pytest.raises(ModelNotFoundError) as refused:
            easytx.load(folder)
        assert str(refused.value) == message


def test_a_folder_that_does_not_say_its_class_is_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError) as refused:
        easytx.load(checkpoint)
    assert str(refused.value) == (
        f"'{checkpoint}' does not say which class wrote it (model_args.json has no model_class). "
        "Open it with the class itself, for example ClassificationModel('auto', folder)."
    )


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(CheckpointError) as refused:
        model_class("ConvModel")
    assert str(refused.value) == f"There is no model class 'ConvModel'. Known are {sorted(MODEL_CLASSES)}."
