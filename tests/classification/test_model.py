"""One class, or one number, per text: train, evaluate, predict, save, open."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score

import easytx
from easytx.classification import ClassificationArgs, ClassificationModel
from easytx.core import loading
from easytx.data import tables, tokenise
from easytx.errors import ArgumentError, DataError, LabelError

TEXTS = ["good film", "bad film", "a great joy", "an awful waste", "I love it", "I hate it", "very fine", "very sad"]
LONG = "The film was a joy from the first scene to the last and I would watch it again with the team in London"
BINARY = {"mcc", "accuracy", "f1_score", "tp", "tn", "fp", "fn", "auroc", "auprc", "eval_loss"}


def _frame(labels: list[Any], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS, "labels": labels, **columns}, index=[f"r{i}" for i in range(len(TEXTS))])


def _reopened(folder: str | Path = "outputs") -> Any:
    return easytx.load(folder, use_cuda=False)


@pytest.mark.parametrize(
    "labels",
    [["b", "a"] * 4, [3, 7] * 4, [True, False] * 4, [2, "a"] * 4, ["x", "z", "y", "x"] * 2],
    ids=["texts", "gaps", "bools", "mixed", "three"],
)
def test_labels_of_any_kind_come_back(labels: list[Any], make: Any) -> None:
    model = make(ClassificationModel)
    model.train_model(_frame(labels))
    predictions, raw_outputs = model.predict(TEXTS)
    assert isinstance(predictions, list)
    assert {(type(label), label) for label in predictions} <= {(type(label), label) for label in labels}
    again = _reopened()
    assert again.labels == model.labels
    assert [*map(repr, again.predict(TEXTS).predictions)] == [*map(repr, predictions)]
    assert np.array_equal(again.predict(TEXTS).raw_outputs, raw_outputs)
    assert list(again.predict_proba(TEXTS).columns) == model.labels.labels


@pytest.mark.parametrize("labels", [[0, 1] * 4, [2, 0, 1, 0] * 2, [1.0, 0.0] * 4], ids=["two", "three", "floats"])
def test_numbers_from_zero_are_answered_by_an_array(labels: list[Any], make: Any) -> None:
    model = make(ClassificationModel)
    model.train_model(_frame(labels))
    predictions, raw_outputs = model.predict(TEXTS)
    assert isinstance(predictions, np.ndarray)
    assert predictions.dtype == np.int64
    assert raw_outputs.shape == (8, len(set(labels)))
    assert predictions.tolist() == raw_outputs.argmax(axis=1).tolist()
    assert np.array_equal(_reopened().predict(TEXTS).predictions, predictions)


def test_what_the_methods_return(make: Any) -> None:
    model = make(ClassificationModel)
    frame = _frame(["no", "yes"] * 4)
    global_step, training_details = model.train_model(frame)
    assert (global_step, type(training_details)) == (2, float)
    evaluation = model.eval_model(frame)
    result, model_outputs, wrong_predictions = evaluation
    assert set(result) >= BINARY
    assert model.results == result
    assert model_outputs.shape == (8, 2)
    assert result["tp"] + result["tn"] + result["fp"] + result["fn"] == 8
    assert len(wrong_predictions) == result["fp"] + result["fn"]
    for example in wrong_predictions:
        assert frame["text"].iloc[example.guid] == example.text_a
        assert frame["labels"].iloc[example.guid] == example.label != example.prediction
    rows = evaluation.to_frame()
    assert list(rows.index) == list(frame.index)
    assert list(rows.columns) == ["text", "labels", "prediction", "probability"]
    assert list(evaluation.table.index) == ["no", "yes"]
    assert Path("outputs/eval_results.txt").is_file()


def test_it_learns(make: Any) -> None:
    model = make(ClassificationModel, args={"learning_rate": 1e-2, "num_train_epochs": 15, "fp16": False})
    frame = _frame(["good", "bad"] * 4)
    model.train_model(frame)
    assert model.predict(TEXTS).predictions == frame["labels"].tolist()
    assert _reopened().eval_model(frame).result["accuracy"] == 1.0


def test_answers_are_in_the_order_and_under_the_index_of_the_rows(make: Any) -> None:
    model = make(ClassificationModel, labels=["a", "b"], args={"max_seq_length": 32, "fp16": False})
    frame = pd.DataFrame({"text": [LONG, "good", "bad film", "", "good"]}, index=[9, 3, 3, "x", 1])
    prediction = model.predict(frame)
    singly = [model.predict([text]).raw_outputs[0] for text in frame["text"]]
    assert prediction.raw_outputs == pytest.approx(np.stack(singly), abs=1e-5)
    assert list(prediction.to_frame().index) == [9, 3, 3, "x", 1]
    assert prediction.to_frame()["prediction"].tolist() == prediction.predictions
    probabilities = model.predict_proba(frame)
    assert list(probabilities.index) == [9, 3, 3, "x", 1]
    assert list(probabilities.columns) == ["a", "b"]
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(np.ones(5))
    assert probabilities.idxmax(axis=1).tolist() == prediction.predictions
    assert model.predict("good").predictions == prediction.predictions[1:2]


def test_pairs(make: Any) -> None:
    model = make(ClassificationModel)
    frame = pd.DataFrame({"text_a": TEXTS, "text_b": TEXTS[::-1], "labels": ["same", "other"] * 4})
    model.train_model(frame)
    evaluation = model.eval_model(frame)
    assert {example.text_b for example in evaluation.wrong_predictions} <= set(TEXTS)
    predictions = model.predict(frame[["text_a", "text_b"]].to_numpy().tolist())
    assert predictions.predictions == model.predict(frame.drop(columns="labels")).predictions
    assert predictions.predictions == evaluation.to_frame()["prediction"].tolist()


def test_column_names_can_be_given(make: Any) -> None:
    model = make(ClassificationModel)
    frame = _frame(["a", "b"] * 4).rename(columns={"text": "body", "labels": "stars"})
    kept = frame.copy(deep=True)
    model.train_model(frame, text_column="body", labels_column="stars")
    model.eval_model(eval_df=frame, text_column="body", labels_column="stars")
    assert len(model.predict(frame, text_column="body").predictions) == 8
    pd.testing.assert_frame_equal(frame, kept)


def test_regression(make: Any) -> None:
    model = make(ClassificationModel, num_labels=1, args={"regression": True})
    frame = _frame([0.5, 1, 2, 3.5, 4, 5, 6.5, -1])
    model.train_model(frame, kept=lambda truth, predicted: float(np.abs(truth - predicted).mean()))
    evaluation = model.eval_model(frame, mean_error=lambda truth, predicted: float(np.abs(truth - predicted).mean()))
    assert set(evaluation.result) >= {"mse", "rmse", "mae", "r2", "pearson", "spearman", "eval_loss", "mean_error"}
    assert evaluation.result["mean_error"] == pytest.approx(evaluation.result["mae"])
    assert evaluation.wrong_predictions == []
    predictions, raw_outputs = model.predict(TEXTS)
    assert predictions.dtype == np.float32
    assert predictions.shape == raw_outputs.shape == (8,)
    assert evaluation.to_frame()["prediction"].tolist() == predictions.tolist()
    again = _reopened()
    assert again.num_labels == 1
    assert np.array_equal(again.predict(TEXTS).predictions, predictions)
    with pytest.raises(ArgumentError) as refused:
        model.predict_proba(TEXTS)
    assert str(refused.value) == "predict_proba needs classes, but regression is set: use predict."


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        (
            {},
            [0.5, 1, 2, 3, 4, 5, 6, 7],
            "train_df has numbers such as 0.5 where classes are expected (row 0). "
            "To predict numbers, set regression=True in args and num_labels=1.",
        ),
        (
            {"args": {"regression": True}},
            ["low"] + [1.0] * 7,
            "train_df has 'low' where a number is expected (row 0). To predict classes, leave regression=False.",
        ),
        (
            {},
            ["a"] * 8,
            "train_df has one class only: 'a' in all 8 rows. A classifier needs rows of two classes or more.",
        ),
        (
            {},
            ["a", None] + ["b"] * 6,
            "train_df has no label in 1 row of the column 'labels': row 1. "
            "Fill or drop them, for example train_df.dropna(subset=['labels']).",
        ),
        (
            {"num_labels": 2},
            ["a", "b", "c", "d"] * 2,
            "num_labels is 2, but train_df has 4 labels: ['a', 'b', 'c', 'd']. "
            "Leave num_labels out, or list all labels in args.labels_list.",
        ),
        (
            {"args": {"labels_list": ["a", "b"]}},
            ["a", "c"] * 4,
            "train_df has 4 rows with labels that labels_list did not have: 'c' (rows 1, 3, 5, 7). "
            "Known labels are ['a', 'b'].",
        ),
        (
            {},
            [["a"]] * 8,
            "train_df has a list where one class a row is expected (rows 0, 1, 2, 3, 4, ...). "
            "For several labels a row use MultiLabelClassificationModel.",
        ),
    ],
)
def test_wrong_labels_are_refused_before_weights_are_loaded(
    options: dict[str, Any], labels: list[Any], message: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_weights", lambda *_, **__: pytest.fail("weights were loaded"))
    frame = _frame(pd.array(labels, dtype=object))
    with pytest.raises(LabelError) as refused:
        make(ClassificationModel, **options).train_model(frame)
    assert str(refused.value) == message
    assert not Path("outputs").exists()


def test_an_unknown_label_at_evaluation_is_refused(make: Any) -> None:
    model = make(ClassificationModel, labels=["a", "b"])
    with pytest.raises(LabelError) as refused:
        model.eval_model(_frame(["a", "c"] * 4))
    assert str(refused.value) == (
        "eval_df has 4 rows with labels that training did not have: 'c' (rows 1, 3, 5, 7). Known labels are ['a', 'b']."
    )


def test_missing_texts_and_longer_rows_than_the_model_reads_are_refused(make: Any) -> None:
    model = make(ClassificationModel, labels=["a", "b"])
    with pytest.raises(DataError, match=r"^to_predict has no text in 1 row of the column 'text': row 1\."):
        model.predict(["good", None])
    with pytest.raises(ArgumentError, match=r"^max_seq_length is 600, but '.*' reads at most 512 tokens\."):
        make(ClassificationModel, args={"max_seq_length": 600}).predict(["good"])


def test_what_is_likely_a_mistake_is_said_once(make: Any, warned: Any) -> None:
    model = make(ClassificationModel, args={"evaluate_during_training": True, "num_train_epochs": 2})
    train = pd.DataFrame({"text": [LONG, "good film", *TEXTS], "labels": ["a", "b"] * 5})
    _, messages = warned(lambda: model.train_model(train, eval_df=train.iloc[1:3]))
    assert messages == [
        "train_df has 1 row with the same text as an earlier row.",
        "1 of 10 rows of train_df are longer than max_seq_length=16 tokens and were cut. "
        "Set sliding_window=True to read all of them, or a higher max_seq_length.",
        "2 rows of eval_df are in train_df too; the scores will look better than they are.",
    ]


def test_a_class_that_is_much_rarer_is_said(make: Any, warned: Any) -> None:
    model = make(ClassificationModel)
    _, messages = warned(lambda: model.label_ids(["a"] * 41 + ["b"] * 2, "train", "train_df"))
    assert messages == [
        "train_df has 41 rows of 'a' but 2 of 'b'. "
        'Consider weight="balanced", and judge by f1_macro or mcc rather than accuracy.'
    ]


@pytest.mark.parametrize("weight", [[1.0, 3.0], np.array([1.0, 3.0]), {"b": 3}, "balanced"])
def test_weights_change_the_loss(weight: Any, make: Any) -> None:
    frame = _frame(["a", "b", "b", "b"] * 2)
    plain = make(ClassificationModel, labels=["a", "b"])
    weighted = make(ClassificationModel, labels=["a", "b"], weight=weight)
    weighted.label_ids(frame["labels"].tolist(), "train", "train_df")
    losses = [model.eval_model(frame).result["eval_loss"] for model in (plain, weighted)]
    assert losses[0] != losses[1]
    assert weighted.weight is weight
    weighted.train_model(frame)


@pytest.mark.parametrize("loss_type", ["focal", "dice", "tversky"])
def test_other_losses(loss_type: str, make: Any) -> None:
    frame = _frame(["a", "b"] * 4)
    model = make(ClassificationModel, args={"loss_type": loss_type})
    _, loss = model.train_model(frame)
    assert np.isfinite(loss)
    entropy = make(ClassificationModel, labels=["a", "b"]).eval_model(frame).result["eval_loss"]
    assert make(ClassificationModel, labels=["a", "b"], args={"loss_type": loss_type}).eval_model(frame).result[
        "eval_loss"
    ] != pytest.approx(entropy)


@pytest.mark.parametrize("pairs", [False, True])
def test_sliding_windows(pairs: bool, make: Any) -> None:
    args = {"sliding_window": True, "max_seq_length": 10, "stride": 0.5}
    model = make(ClassificationModel, args=args)
    frame = pd.DataFrame({"text": [*TEXTS[:7], LONG], "labels": ["a", "b"] * 4}, index=[*"hgfedcba"])
    if pairs:
        frame = frame.rename(columns={"text": "text_a"}).assign(text_b="a good film")
    model.train_model(frame)
    predictions, raw_outputs = model.predict(frame.drop(columns="labels"))
    assert len(predictions) == len(raw_outputs) == 8
    assert all(windows.shape[1] == 2 for windows in raw_outputs)
    assert [len(windows) > 1 for windows in raw_outputs[:2]] == [False, False]
    assert len(raw_outputs[-1]) > 3
    probabilities = model.predict_proba(frame)
    assert list(probabilities.index) == [*"hgfedcba"]
    assert model.eval_model(frame).result["tp"] >= 0
    again = _reopened()
    assert again.predict(frame).predictions == predictions


def test_sliding_windows_of_a_regression_are_averaged(make: Any) -> None:
    args = {"regression": True, "sliding_window": True, "max_seq_length": 10}
    predictions, raw_outputs = make(ClassificationModel, args=args).predict(["good", LONG])
    assert predictions.tolist() == pytest.approx([windows.mean() for windows in raw_outputs])
    assert raw_outputs[1].shape[1] == 1


def test_custom_metrics(make: Any) -> None:
    seen: dict[str, Any] = {}

    def prob_shape(truth: Any, outputs: Any) -> int:
        seen.update(truth=truth, outputs=outputs)
        return len(outputs)

    frame = _frame(["b", "a"] * 4)
    model = make(ClassificationModel, labels=["a", "b"])
    result, model_outputs, _ = model.eval_model(frame, acc=accuracy_score, prob_shape=prob_shape)
    assert result["acc"] == result["accuracy"]
    assert result["prob_shape"] == 8
    assert seen["truth"].tolist() == [1, 0] * 4
    assert np.array_equal(seen["outputs"], model_outputs)


def test_evaluation_while_training_knows_custom_metrics(make: Any) -> None:
    frame, held_out = _frame(["b", "a"] * 4), pd.DataFrame({"text": ["so good", "so bad"], "labels": ["b", "a"]})
    model = make(ClassificationModel, args={"evaluate_during_training": True, "num_train_epochs": 2})
    _, details = model.train_model(frame, eval_df=held_out, acc=accuracy_score)
    assert details["global_step"] == [2, 4]
    assert len(details["acc"]) == len(details["mcc"]) == len(details["train_loss"]) == 2


def test_arguments_given_to_training_stay_and_change_nothing_of_the_caller(make: Any) -> None:
    model = make(ClassificationModel)
    given = {"num_train_epochs": 2, "loss_args": {}}
    kept = copy.deepcopy(given)
    first, _ = model.train_model(_frame(["b", "a"] * 4), args=given)
    second, _ = model.train_model(_frame(["b", "a"] * 4), args=ClassificationArgs(train_batch_size=8))
    assert (first, second) == (4, 2)
    assert given == kept


def test_nothing_is_written_outside_the_output_dir(make: Any, tmp_path: Path) -> None:
    model = make(ClassificationModel)
    model.train_model(_frame(["b", "a"] * 4), output_dir="here")
    model.eval_model(_frame(["b", "a"] * 4), output_dir="there")
    model.predict(TEXTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]
    assert not [path for path in Path("here").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_large_data_is_learnt_from_as_small_data_is_and_leaves_nothing(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame(
        [(f"{text} {i}", "ab"[i % 2]) for i in range(10) for text in TEXTS], columns=["text", "labels"]
    )
    small = make(ClassificationModel)
    small.train_model(frame, output_dir="small")
    monkeypatch.setattr(tokenise, "_CHUNK", 50)
    monkeypatch.setattr(tables, "_IN_MEMORY", 1000)
    opened: list[Path] = []
    open_file = tables._nameless_file
    monkeypatch.setattr(tables, "_nameless_file", lambda folder: opened.append(folder) or open_file(folder))
    large = make(ClassificationModel)
    large.train_model(frame, output_dir="large")
    assert opened == [Path("cache_dir")]
    assert large.eval_model(frame, output_dir="large").result == small.eval_model(frame, output_dir="small").result
    assert opened == [Path("cache_dir")] * 3
    assert np.array_equal(large.predict(TEXTS * 40).raw_outputs, small.predict(TEXTS * 40).raw_outputs)
    assert opened == [Path("cache_dir")] * 3
    with pytest.raises(DataError):
        large.train_model(frame, output_dir="other", args={"evaluate_during_training": True}, eval_df=frame.iloc[:0])
    assert len(opened) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "small"]


def test_features_are_kept_where_that_is_asked_for(make: Any, tmp_path: Path) -> None:
    frame = _frame(["b", "a"] * 4)
    args = {"reprocess_input_data": False, "cache_dir": "kept"}
    first = make(ClassificationModel, labels=["a", "b"], args=args).eval_model(frame)
    names = sorted(path.name for path in Path("kept").iterdir())
    assert len(names) == 1
    model = make(ClassificationModel, labels=["a", "b"], args=args)
    for _ in range(2):
        assert np.array_equal(model.eval_model(frame).model_outputs, first.model_outputs)
    assert sorted(path.name for path in Path("kept").iterdir()) == names
    other = frame.assign(text=TEXTS[::-1])
    assert not np.array_equal(model.eval_model(other).model_outputs, first.model_outputs)
    assert len([*Path("kept").iterdir()]) == 2
    make(ClassificationModel, labels=["a", "b"], args={**args, "no_cache": True}).eval_model(frame.iloc[:2])
    assert len([*Path("kept").iterdir()]) == 2


def test_cut_texts_are_said_for_kept_features_too(make: Any, warned: Any) -> None:
    frame = pd.DataFrame({"text": [LONG, "good"], "labels": ["a", "b"]})
    model = make(ClassificationModel, labels=["a", "b"], args={"use_cached_eval_features": True})
    for _ in range(2):
        _, messages = warned(lambda: model.eval_model(frame))
        assert messages == [
            "1 of 2 rows of eval_df are longer than max_seq_length=16 tokens and were cut. "
            "Set sliding_window=True to read all of them, or a higher max_seq_length."
        ]


@pytest.mark.parametrize("windows", [False, True], ids=["rows", "windows"])
def test_hidden_states_come_without_what_padding_gave(make: Any, windows: bool) -> None:
    args = {"config": {"output_hidden_states": True}, "fp16": False, "sliding_window": windows, "max_seq_length": 16}
    model = make(ClassificationModel, num_labels=3, args=args)
    texts = ["fine", "a good film", LONG if windows else "an awful waste of it"]
    found = model.predict(texts)
    predictions, raw_outputs, embeddings, layers = found
    plain = make(ClassificationModel, num_labels=3, args={**args, "config": {}}).predict(texts)
    assert (predictions == plain.predictions).all()
    pd.testing.assert_frame_equal(found.to_frame(), plain.to_frame())
    assert len(raw_outputs) == 3
    for row, text in enumerate(texts[:2]):
        with torch.no_grad():
            alone = model.model(**model.tokenizer(text, return_tensors="pt")).hidden_states
        tokens = alone[0].shape[1]
        np.testing.assert_allclose(embeddings[row, :tokens], alone[0][0], atol=1e-5)
        np.testing.assert_allclose(layers[:, row, :tokens], torch.cat(alone[1:]), atol=1e-5)
        assert tokens < embeddings.shape[1]
        assert not embeddings[row, tokens:].any()
        assert not layers[:, row, tokens:].any()
    assert layers.shape == (2, *embeddings.shape)
    assert (len(embeddings) > 3) is windows
    assert copy.deepcopy(found).to_frame().equals(found.to_frame())
