"""Calls that would go wrong later are refused at once."""

from __future__ import annotations

import datetime
import json
import math

import numpy as np
import pandas as pd
import pytest

from easytx import ClassificationModel, MultiLabelClassificationModel, NERModel, QuestionAnsweringModel
from easytx.core.saving import write_results
from easytx.errors import ArgumentError, DataError, LabelError, ModelNotFoundError
from easytx.testing import tiny_checkpoint

ARGS = {"no_save": True, "silent": True, "max_steps": 1, "manual_seed": 0, "overwrite_output_dir": True}


@pytest.fixture
def checkpoint(tmp_path):
    return tiny_checkpoint(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": 1e-3}, "ClassificationModel takes 'learning_rate' in args: args={'learning_rate': ...}."),
        ({"num_label": 2}, "ClassificationModel has no argument 'num_label'. Did you mean 'num_labels'?"),
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


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("train_model", "train_model(..., args={'num_train_epochs': ...})"),
        ("eval_model", "model.args.num_train_epochs = ..."),
        ("predict", "model.args.num_train_epochs = ..."),
    ],
)
def test_an_argument_of_args_in_a_call(checkpoint, method, hint):
    model = ClassificationModel("bert", checkpoint, num_labels=2)
    with pytest.raises(ArgumentError) as refused:
        getattr(model, method)(["a text"], num_train_epochs=3)
    assert str(refused.value) == f"{method} takes no 'num_train_epochs': it belongs into args, as in {hint}."


@pytest.mark.parametrize("name", ["./outputs/checkpoint-4", "/nowhere/model", "outputs/", "~/model", "a/b/c"])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(ModelNotFoundError) as refused:
        ClassificationModel("bert", name)
    assert str(refused.value) == f"There is no folder '{name}'."


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
    ("second", "kind"), [([0, 1], "a list"), (pd.DataFrame({"a": [1]}), "a DataFrame"), (3, "an int")]
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


def test_halves_of_characters(checkpoint):
    model = ClassificationModel("bert", checkpoint, num_labels=2, args=ARGS)
    broken = "half a \ud83d"
    for rows, text in ((["fine", broken], "text"), ([["fine", "fine"], ["fine", broken]], "text_b")):
        with pytest.raises(DataError) as refused:
            model.predict(rows)
        assert str(refused.value) == (
            f"to_predict has halves of characters (surrogates) in 1 row of the column '{text}': row 1. Replace them, "
            "for example with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        )
        assert model._model is None
    tagger = NERModel("bert", checkpoint, labels=["O", "B-PER"], args=ARGS)
    with pytest.raises(DataError, match=r"^to_predict has halves .* in 1 row of the column 'words': row 1\. Replace"):
        tagger.predict([["a"], ["b", "c", broken]])
    asked = QuestionAnsweringModel("bert", checkpoint, args=ARGS)
    with pytest.raises(DataError, match=r"^to_predict has halves .* in 1 row of the column 'context': row 0\. Replace"):
        asked.predict([{"context": broken, "qas": [{"id": "1", "question": "?"}]}])


def test_bytes_are_no_texts(checkpoint):
    model = ClassificationModel("bert", checkpoint, num_labels=2, args=ARGS)
    with pytest.raises(DataError) as refused:
        model.predict(b"a text")
    assert str(refused.value) == (
        "to_predict must be a DataFrame, a path, a list of rows or a datasets.Dataset, but is a bytes."
    )


def test_several_labels_and_one_number_a_row(checkpoint):
    with pytest.raises(LabelError) as refused:
        ClassificationModel("bert", checkpoint, num_labels=2, args={**ARGS, "regression": True})
    assert str(refused.value) == "num_labels is 2, but with regression=True there is one number per row: give 1."


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"threshold": [0.5]}, None),
        ({"threshold": [0.5, 0.5, 0.5]}, "threshold must be one number or one per label (2), but has the shape (3,)."),
        ({"threshold": 2}, "threshold must be a probability, from 0 to 1, but is 2.0."),
        ({"threshold": ["a", "b"]}, "threshold must be a probability, from 0 to 1, but is ['a', 'b']."),
        (
            {"loss_type": "focal"},
            "loss_type is for labels that exclude each other, but this model is multi_label. Leave it out.",
        ),
    ],
)
def test_what_the_labels_do_not_go_with_is_said_before_weights_are_loaded(checkpoint, args, message):
    model = MultiLabelClassificationModel("bert", checkpoint, args={**ARGS, **args})
    rows = pd.DataFrame({"text": ["a cat", "a dog"], "labels": [[1, 0], [0, 1]]})
    if message is None:
        assert model.train_model(rows).global_step == 1
        return
    with pytest.raises(ArgumentError) as refused:
        model.train_model(rows)
    assert str(refused.value) == message
    assert model._model is None


def test_labels_that_cannot_be_saved(checkpoint, tmp_path, warned):
    days = [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)]
    model = ClassificationModel("bert", checkpoint, args={**ARGS, "no_save": False, "output_dir": str(tmp_path / "a")})
    _, messages = warned(lambda: model.train_model(pd.DataFrame({"text": ["a cat", "a dog"], "labels": days})))
    assert messages == [
        "Labels such as datetime.date(2020, 1, 1) cannot be saved as they are: a model that is opened again answers "
        "with their texts, here '2020-01-01'."
    ]
    assert model.predict(["a cat"]).predictions[0] in days
    again = ClassificationModel(tmp_path / "a")
    assert again.predict(["a cat"]).predictions[0] in ["2020-01-01", "2021-01-01"]


def test_tuples_are_labels_that_come_back(checkpoint, tmp_path, warned):
    labels = [("a", 1), ("b", 2)]
    model = ClassificationModel("bert", checkpoint, args={**ARGS, "no_save": False, "output_dir": str(tmp_path / "a")})
    _, messages = warned(lambda: model.train_model(pd.DataFrame({"text": ["a cat", "a dog"], "labels": labels})))
    assert messages == []
    assert ClassificationModel(tmp_path / "a").labels.labels == labels


def test_tags_as_an_array_and_words_as_an_array(checkpoint):
    model = NERModel("bert", checkpoint, labels=np.array(["O", "B-PER"]), args=ARGS)
    assert model.labels.labels == ["O", "B-PER"]
    assert [len(words) for words in model.predict(np.array(["Anna moved", "Bo"])).predictions] == [2, 1]
