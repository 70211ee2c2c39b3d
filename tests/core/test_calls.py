"""What comes with a call is sorted out, and nothing of it is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from easytx.core.calls import custom_scores, read_call
from easytx.errors import ArgumentError

COLUMNS = ("text", "text_a", "text_b", "labels")


def _call(method: str, *, data: Any = None, evaluation: Any = None, **kwargs: Any) -> Any:
    return read_call(
        method, kwargs, data=data, evaluation=evaluation, columns=COLUMNS, options=("resume_from_checkpoint",)
    )


@pytest.mark.parametrize("name", ["train_df", "train_data", "train_file"])
@pytest.mark.parametrize("evaluation", ["eval_df", "eval_data", "eval_file"])
def test_data_has_several_names(name: str, evaluation: str) -> None:
    call = _call("train_model", **{name: "rows", evaluation: "more rows"})
    assert (call.data, call.evaluation) == ("rows", "more rows")
    assert _call("eval_model", **{evaluation: "rows"}).data == "rows"


def test_columns_metrics_and_options_are_told_apart() -> None:
    call = _call("train_model", data=[1], text_column="body", acc=max, resume_from_checkpoint=True)
    assert call.renames == {"text": "body"}
    assert call.metrics == {"acc": max}
    assert call.options == {"resume_from_checkpoint": True}


def test_an_unknown_argument_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ArgumentError) as refused:
        _call("train_model", data=[1], eval_dff=[2])
    assert str(refused.value) == (
        "train_model has no argument 'eval_dff', and its value is no function to be a metric. Did you mean 'eval_df'?"
    )
    with pytest.raises(ArgumentError, match=r"Did you mean 'labels_column'\?$"):
        _call("eval_model", data=[1], label_column="x")
    with pytest.raises(ArgumentError, match=r"^eval_model has no argument 'qqq', and its value is no function"):
        _call("eval_model", data=[1], qqq=3)


def test_data_is_needed_and_given_once() -> None:
    with pytest.raises(ArgumentError) as refused:
        _call("eval_model")
    assert str(refused.value) == "eval_model needs data: give it as the first argument."
    for twice in ({"data": [1], "train_df": [2]}, {"data": [1], "evaluation": [2], "eval_df": [3]}):
        name = list(twice)[-1]
        with pytest.raises(ArgumentError) as refused:
            _call("train_model", **twice)
        assert str(refused.value) == (
            f"train_model has its rows twice: '{name}' is another name of what was given already."
        )


def test_an_argument_of_old_scripts_is_taken_with_a_warning(warned: Any) -> None:
    call, messages = warned(lambda: _call("train_model", data=[1], multi_label=False))
    assert messages == ["train_model(multi_label=...) has no effect: the class says whether labels are multi-label."]
    assert (call.metrics, call.options) == ({}, {})


def test_metrics_get_answers_and_those_for_probabilities_the_outputs() -> None:
    got: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda truth, answer: got.update({name: (truth, answer)}) or len(got)

    metrics = {"acc": keep("acc"), "prob_auc": keep("prob_auc")}
    raw = np.array([[0.1, 0.9]])
    assert custom_scores(metrics, ["a"], ["b"], raw, numeric_truth=[1]) == {"acc": 1, "prob_auc": 2}
    assert got == {"acc": (["a"], ["b"]), "prob_auc": ([1], raw)}
    custom_scores(metrics, ["a"], ["b"], raw)
    assert got["prob_auc"] == (["a"], raw)
    custom_scores(metrics, ["a"], ["b"])
    assert got["prob_auc"] == (["a"], ["b"])


def test_what_ranks_passages_elsewhere_may_be_named_where_nothing_is_ranked() -> None:
    given = {"qrels": None, "run_dict": None, "eval_name": None, "eval_set": "dev", "top_k": 10}
    call = read_call("train_model", {**given, "include_titles": False}, data=[1], columns=("text",))
    assert (call.metrics, call.options) == ({}, {})
    with pytest.raises(ArgumentError) as refused:
        read_call("train_model", {"qrels": {"q1": {"d1": 1}}}, data=[1], columns=("text",))
    assert str(refused.value) == (
        "train_model cannot use 'qrels': ClassificationModel and T5Model rank passages, with rerank, and score "
        "rankings, with as_reranker=True in args."
    )
