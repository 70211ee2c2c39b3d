"""Calls that would go wrong later are refused at once."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from easytx import ClassificationModel, MultiLabelClassificationModel
from easytx.core.saving import write_results
from easytx.errors import ArgumentError, LabelError
from easytx.testing import tiny_checkpoint

ARGS = {"no_save": True, "silent": True, "max_steps": 1, "manual_seed": 0, "overwrite_output_dir": True}


@pytest.fixture
def checkpoint(tmp_path):
    return tiny_checkpoint(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": 1e-3}, "ClassificationModel takes 'learning_rate' in args: args={'learning_rate': ...}."),
        ({"revison": "main"}, "ClassificationModel has no argument 'revison'. Did you mean 'revision'?"),
        (
            {"onnx_execution_provider": "CPUExecutionProvider"},
            "onnx_execution_provider is 'CPUExecutionProvider', but '{checkpoint}' is run by torch. Give it for a "
            "folder that convert_to_onnx() has written.",
        ),
    ],
)
def test_an_unknown_constructor_argument(checkpoint, given, message):
    with pytest.raises(ArgumentError) as refused:
        ClassificationModel("bert", checkpoint, **given)
    assert str(refused.value) == message.replace("{checkpoint}", str(checkpoint))


def test_none_for_an_argument_of_old_scripts_is_nothing(checkpoint):
    assert ClassificationModel("bert", checkpoint, global_attention_fn=None).config.model_type == "bert"


def test_a_misspelled_field_of_the_configuration(checkpoint):
    with pytest.raises(ArgumentError) as refused:
        ClassificationModel("bert", checkpoint, args={"config": {"hidden_dropout_prop": 0.3}})
    assert str(refused.value) == (
        "args.config sets 'hidden_dropout_prop', which a bert model does not have. Did you mean 'hidden_dropout_prob'?"
    )


def test_a_field_of_the_configuration_is_set(checkpoint):
    model = ClassificationModel("bert", checkpoint, args={"config": {"hidden_dropout_prob": 0.3}})
    assert model.model.config.hidden_dropout_prob == 0.3


def test_a_trained_model_keeps_its_labels(checkpoint):
    model = ClassificationModel("bert", checkpoint, args=ARGS)
    model.train_model(pd.DataFrame({"text": ["a cat", "a dog"], "labels": ["a", "b"]}))
    with pytest.raises(LabelError, match="train_df has 2 rows with labels that an earlier training did not have: 'x'"):
        model.train_model(pd.DataFrame({"text": ["a cat", "a dog"], "labels": ["x", "y"]}))
    assert model.labels.labels == ["a", "b"]


def test_a_trained_multi_label_model_keeps_its_number_of_labels(checkpoint):
    model = MultiLabelClassificationModel("bert", checkpoint, args=ARGS)
    model.train_model(pd.DataFrame({"text": ["a cat", "a dog"], "labels": [[1, 0], [0, 1]]}))
    with pytest.raises(LabelError, match="train_df has 3 labels a row, but the model has 2"):
        model.train_model(pd.DataFrame({"text": ["a cat", "a dog"], "labels": [[1, 0, 0], [0, 1, 0]]}))


def test_multi_label_takes_a_single_name(checkpoint):
    model = MultiLabelClassificationModel("bert", checkpoint, args=ARGS)
    model.train_model(pd.DataFrame({"text": ["a cat", "a dog", "a bird"], "labels": [["pet"], ["pet"], []]}))
    assert set(map(tuple, model.predict(["a cat"]).predictions)) <= {(), ("pet",)}


def test_results_are_valid_json(tmp_path):
    write_results(tmp_path, {"half": np.float32(0.5), "none": math.nan, "count": 3})
    written = json.loads((tmp_path / "eval_results.json").read_text())
    assert written == {"half": 0.5, "none": None, "count": 3}


@pytest.mark.parametrize("method", ["train_model", "eval_model"])
@pytest.mark.parametrize(
    ("second", "kind"), [([0, 1], "a list"), (pd.DataFrame({"a": [1]}), "a DataFrame"), (True, "a bool")]
)
def test_rows_in_the_place_of_the_folder(checkpoint, method, second, kind):
    model = ClassificationModel("bert", checkpoint, args=ARGS)
    with pytest.raises(ArgumentError) as refused:
        getattr(model, method)(["a text", "another"], second)
    assert str(refused.value) == (
        f"The second argument of {method} is output_dir, a text or a path, but is {kind}. Labels stand in the rows, "
        "and rows to evaluate on while training are given as eval_df=..."
    )


def test_arguments_names_and_numbers_of_another_type(checkpoint):
    calls = {
        "args must be a dict or an object of ClassificationArgs, but is ['a'].": lambda: ClassificationModel(
            "bert", checkpoint, args=["a"]
        ),
        "A model's name must be a text or a path, but is 3.": lambda: ClassificationModel("bert", 3),
        "num_labels must be a whole number, but is '2'.": lambda: ClassificationModel(
            "bert", checkpoint, num_labels="2"
        ),
    }
    for message, call in calls.items():
        with pytest.raises(ArgumentError) as refused:
            call()
        assert str(refused.value) == message


def test_a_file_to_predict_that_is_not_there(checkpoint):
    model = ClassificationModel("bert", checkpoint, num_labels=2, args=ARGS)
    with pytest.warns(UserWarning, match=r"^There is no file 'rows\.csv'; it is taken as a text\.$"):
        assert len(model.predict("rows.csv").predictions) == 1
    assert len(model.predict("What is rows.csv").predictions) == 1
