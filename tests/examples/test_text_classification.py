"""Scripts that classify texts, as users of Simple Transformers write them, with only the import changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from easytx.classification import (
    ClassificationArgs,
    ClassificationModel,
    MultiLabelClassificationArgs,
    MultiLabelClassificationModel,
)

NO_HEADER = "has no column names"


def test_two_classes_with_an_args_object() -> None:
    train_df = pd.DataFrame([["Aragorn became king", 1], ["Frodo became king", 0]])
    train_df.columns = ["text", "labels"]
    eval_df = pd.DataFrame([["Theoden was the king", 1], ["Merry was the king", 0]])
    eval_df.columns = ["text", "labels"]

    model_args = ClassificationArgs(num_train_epochs=1)
    model = ClassificationModel("roberta", "roberta-base", args=model_args)
    model.train_model(train_df)
    result, model_outputs, wrong_predictions = model.eval_model(eval_df)
    predictions, raw_outputs = model.predict(["Sam was a Wizard"])

    assert {"mcc", "tp", "tn", "fp", "fn", "eval_loss"} <= set(result)
    assert model_outputs.shape == (2, 2)
    assert len(wrong_predictions) == result["fp"] + result["fn"]
    assert predictions[0] in (0, 1)
    assert raw_outputs.shape == (1, 2)
    assert Path("outputs", "model.safetensors").is_file()


def test_two_classes_in_frames_without_a_header() -> None:
    train_df = pd.DataFrame([["An example of a friendly row", 1], ["An example of an unfriendly row", 0]])
    eval_df = pd.DataFrame([["A friendly row to evaluate", 1], ["An unfriendly row to evaluate", 0]])

    model = ClassificationModel("roberta", "roberta-base")
    with pytest.warns(UserWarning, match=NO_HEADER):
        model.train_model(train_df)
    with pytest.warns(UserWarning, match=NO_HEADER):
        result, model_outputs, wrong_predictions = model.eval_model(eval_df)

    assert "mcc" in result
    assert len(model_outputs) == 2
    assert len(wrong_predictions) <= 2


def test_three_classes_with_a_dict_of_arguments() -> None:
    train_df = pd.DataFrame([["A row of class 0", 0], ["A row of class 1", 1], ["A row of class 2", 2]])
    eval_df = pd.DataFrame([["Another row of class 1", 1], ["Another row of class 0", 0]])

    args = {"reprocess_input_data": True, "overwrite_output_dir": True}
    model = ClassificationModel("bert", "bert-base-cased", num_labels=3, args=args)
    with pytest.warns(UserWarning, match=NO_HEADER):
        model.train_model(train_df)
    with pytest.warns(UserWarning, match=NO_HEADER):
        result, model_outputs, _ = model.eval_model(eval_df)
    predictions, raw_outputs = model.predict(["Some arbitrary sentence"])

    assert {"mcc", "eval_loss"} <= set(result)
    assert model_outputs.shape == (2, 3)
    assert raw_outputs.shape == (1, 3)
    assert isinstance(predictions, np.ndarray)


def test_regression() -> None:
    train_df = pd.DataFrame([["Aragorn was the king", 1.0], ["Frodo was the king", 0.3]], columns=["text", "labels"])
    eval_df = pd.DataFrame([["Theoden was the king", 1.0], ["Merry was the king", 0.2]], columns=["text", "labels"])

    model_args = ClassificationArgs()
    model_args.num_train_epochs = 1
    model_args.regression = True
    model = ClassificationModel("roberta", "roberta-base", num_labels=1, args=model_args)
    model.train_model(train_df)
    result, _, _ = model.eval_model(eval_df)
    predictions, _ = model.predict(["Sam was a Wizard"])

    assert result["eval_loss"] >= 0
    assert predictions.dtype.kind == "f"


def test_pairs_of_texts() -> None:
    columns = ["text_a", "text_b", "labels"]
    train_df = pd.DataFrame(
        [["Aragorn was the king", "Gondor", 1], ["Frodo was the king", "Gondor", 0]], columns=columns
    )
    eval_df = pd.DataFrame([["Theoden was the king", "Rohan", 1], ["Merry was the king", "Rohan", 0]], columns=columns)

    model = ClassificationModel("roberta", "roberta-base")
    model.train_model(train_df)
    result, _, _ = model.eval_model(eval_df)
    predictions, _ = model.predict([["Gandalf was a Wizard", "Sam was a Wizard"]])

    assert "accuracy" in result
    assert len(predictions) == 1


def test_several_labels_a_text() -> None:
    train_df = pd.DataFrame([["Aragorn", [1, 0, 0]], ["Pippin", [0, 1, 1]]], columns=["text", "labels"])
    eval_df = pd.DataFrame([["Theoden", [1, 0, 0]], ["Merry", [0, 1, 1]]])

    model_args = MultiLabelClassificationArgs(num_train_epochs=1)
    model = MultiLabelClassificationModel("roberta", "roberta-base", num_labels=3, args=model_args)
    model.train_model(train_df)
    with pytest.warns(UserWarning, match=NO_HEADER):
        result, model_outputs, _ = model.eval_model(eval_df)
    predictions, raw_outputs = model.predict(["Sam"])

    assert 0 < result["LRAP"] <= 1
    assert model_outputs.shape == (2, 3)
    assert set(predictions[0]) <= {0, 1}
    assert ((raw_outputs > 0) & (raw_outputs < 1)).all()


def test_labels_that_are_texts() -> None:
    train_df = pd.DataFrame([["Snow is white", "true"], ["Snow is green", "false"]], columns=["text", "labels"])

    model_args = ClassificationArgs()
    model_args.labels_list = ["true", "false"]
    model = ClassificationModel("roberta", "roberta-base", args=model_args)
    model.train_model(train_df)
    predictions, _ = model.predict(["Snow is cold"])

    assert predictions[0] in ("true", "false")
    assert model.config.label2id == {"true": 0, "false": 1}


def test_long_texts_in_windows() -> None:
    train_df = pd.DataFrame([["a long road " * 30, 1], ["a short way " * 20, 0]], columns=["text", "labels"])

    model_args = ClassificationArgs(sliding_window=True, max_seq_length=32)
    model = ClassificationModel("roberta", "roberta-base", args=model_args)
    model.train_model(train_df)
    _, model_outputs, _ = model.eval_model(train_df)

    assert [len(windows) > 1 for windows in model_outputs] == [True, True]


def test_regression_on_files_that_are_read_by_position() -> None:
    rows = pd.DataFrame([["A fairly good row", 0.7], ["A rather bad row", 0.1]], columns=["text", "labels"])
    os.makedirs("data", exist_ok=True)
    rows.to_csv("data/train.tsv", sep="\t", index=False)
    rows.to_csv("data/eval.tsv", sep="\t", index=False)

    model_args = {
        "overwrite_output_dir": True,
        "regression": True,
        "lazy_loading": True,
        "lazy_header_row": True,
        "lazy_text_column": 0,
        "lazy_labels_column": 1,
    }
    with pytest.warns(UserWarning, match="'lazy_header_row' is called 'lazy_loading_start_line' here"):
        model = ClassificationModel("bert", "bert-base-cased", num_labels=1, args=model_args)
    model.train_model("data/train.tsv")
    result, model_outputs, _ = model.eval_model("data/eval.tsv")

    assert "eval_loss" in result
    assert model_outputs.shape == (2,)


def test_arguments_as_keys_and_evaluation_under_either_name() -> None:
    train_df = pd.DataFrame([["Aragorn became king", 1], ["Frodo became king", 0]], columns=["text", "labels"])
    model_args = ClassificationArgs()
    model_args["save_steps"] = -1
    model_args.evaluate_during_training = True
    model_args.use_early_stopping = True
    model_args.early_stopping_delta = 0.01
    model_args.early_stopping_metric = "mcc"
    model_args.early_stopping_metric_minimize = False
    model_args.early_stopping_patience = 5
    model_args.evaluate_during_training_steps = 1
    model_args.overwrite_output_dir = True
    eval_df = train_df.assign(text=["Theoden was king", "Merry was king"])
    for given in ({"eval_df": eval_df}, {"eval_data": eval_df}):
        model = ClassificationModel("roberta", "roberta-base", args=model_args)
        global_step, training_details = model.train_model(train_df, **given)
        assert training_details["global_step"] == [global_step]
        assert {"train_loss", "mcc", "eval_loss"} <= set(training_details)


def test_a_metric_of_ones_own() -> None:
    train_df = pd.DataFrame([["Aragorn became king", 1], ["Frodo became king", 0]], columns=["text", "labels"])
    model = ClassificationModel("roberta", "roberta-base", args={"overwrite_output_dir": True})
    model.train_model(train_df, acc=sklearn.metrics.accuracy_score)
    result, _, _ = model.eval_model(train_df, acc=sklearn.metrics.accuracy_score)
    assert result["acc"] == result["accuracy"]


def test_learning_rates_of_layers_and_parameters() -> None:
    train_df = pd.DataFrame([["Aragorn became king", 1], ["Frodo became king", 0]], columns=["text", "labels"])
    model_args = ClassificationArgs()
    model_args.train_custom_parameters_only = True
    model_args.custom_layer_parameters = [{"layer": 1, "lr": 1e-3}]
    model_args.custom_parameter_groups = [
        {"params": ["classifier.weight"], "lr": 1e-3},
        {"params": ["classifier.bias"], "lr": 1e-3, "weight_decay": 0.0},
    ]
    model = ClassificationModel("bert", "bert-base-cased", num_labels=2, args=model_args)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    model.train_model(train_df)
    after = model.model.state_dict()
    changed = {name for name, value in before.items() if not value.equal(after[name])}
    assert {"classifier.weight", "classifier.bias"} <= changed
    assert {name.split(".")[3] for name in changed if ".layer." in name} == {"1"}
    assert not any("embeddings" in name for name in changed)


def test_a_tracker_and_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_df = pd.DataFrame([["Aragorn became king", 1], ["Frodo became king", 0]], columns=["text", "labels"])
    model = ClassificationModel(
        "roberta",
        "roberta-base",
        args={"wandb_project": "project-name", "silent": True},
        proxies={"http": "foo.bar:3128", "http://hostname": "foo.bar:4012"},
    )
    model.train_model(train_df)
    assert model.wandb_run_id


def test_onnx() -> None:
    model = ClassificationModel("roberta", "roberta-base", num_labels=2, args={"fp16": False})
    model.convert_to_onnx("onnx_outputs")

    model_args = ClassificationArgs()
    model_args.dynamic_quantize = True
    opened = ClassificationModel(
        "roberta", "onnx_outputs", args=model_args, onnx_execution_provider="CPUExecutionProvider"
    )
    _, raw_outputs = opened.predict(["Sam was a Wizard"])
    np.testing.assert_allclose(raw_outputs, model.predict(["Sam was a Wizard"]).raw_outputs, atol=0.05)
