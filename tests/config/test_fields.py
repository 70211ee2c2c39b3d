"""Types, bounds, choices and names of arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from easytx.classification import ClassificationArgs, MultiLabelClassificationArgs
from easytx.config.fields import closest, nearest
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_train_epochs", 0, "num_train_epochs must be greater than 0, but is 0."),
        ("train_batch_size", 0, "train_batch_size must be at least 1, but is 0."),
        ("warmup_ratio", 1.5, "warmup_ratio must be at most 1, but is 1.5."),
        ("learning_rate", float("nan"), "learning_rate must be a number, but is nan."),
        ("learning_rate", -1e-5, "learning_rate must be at least 0, but is -1e-05."),
        ("train_batch_size", 2.5, "train_batch_size must be a whole number, but is 2.5."),
        ("train_batch_size", True, "train_batch_size must be a whole number, but is True."),
        ("train_batch_size", "8", "train_batch_size must be a whole number, but is '8'."),
        ("learning_rate", "high", "learning_rate must be a number, but is 'high'."),
        ("fp16", 1, "fp16 must be True or False, but is 1."),
        ("fp16", None, "fp16 must be True or False, but is None."),
        ("output_dir", None, "output_dir must be a text, but is None."),
        ("manual_seed", "x", "manual_seed must be a whole number or None, but is 'x'."),
        ("num_train_epochs", "x", "num_train_epochs must be a number, but is 'x'."),
        ("freeze", "bert", "freeze must be a list, but is 'bert'."),
        ("config", [], "config must be a dict, but is []."),
        ("adam_betas", 0.9, "adam_betas must be a tuple, but is 0.9."),
        ("adam_betas", (0.9,), "adam_betas must have 2 values, but is (0.9,)."),
        (
            "train_sampling_strategy",
            "randon",
            "train_sampling_strategy must be one of 'group_by_length', 'random', 'sequential', but is 'randon'. "
            "Did you mean 'random'?",
        ),
    ],
)
def test_a_value_of_another_type_or_out_of_bounds_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as at_once:
        ModelArgs(**{name: value})
    assert str(at_once.value) == message
    args = ModelArgs()
    with pytest.raises(ArgumentError) as later:
        setattr(args, name, value)
    assert str(later.value) == message
    assert args == ModelArgs()


def test_a_choice_far_from_all_others_gets_no_suggestion() -> None:
    with pytest.raises(ArgumentError) as refused:
        ClassificationArgs(loss_type="xyz")
    assert str(refused.value) == "loss_type must be one of 'focal', 'dice', 'tversky', but is 'xyz'."


def test_none_is_taken_where_it_is_a_value() -> None:
    args = ClassificationArgs(loss_type=None, manual_seed=None, save_total_limit=None)
    assert (args.loss_type, args.manual_seed, args.save_total_limit) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("train_batch_size", np.int64(16), 16),
        ("learning_rate", np.float64(1e-3), 1e-3),
        ("fp16", np.bool_(False), False),
        ("output_dir", np.str_("there"), "there"),
        ("manual_seed", torch.tensor(7), 7),
        ("learning_rate", np.asarray(0.5), 0.5),
        ("learning_rate", 1, 1.0),
        ("num_train_epochs", 2, 2),
        ("num_train_epochs", 0.5, 0.5),
        ("adam_betas", [0.8, 0.9], (0.8, 0.9)),
        ("output_dir", Path("a") / "b", str(Path("a") / "b")),
        ("tokenizer_name", Path("there"), "there"),
    ],
)
def test_a_value_is_kept_as_the_declared_type(name: str, value: Any, kept: Any) -> None:
    found = ModelArgs(**{name: value})[name]
    assert found == kept
    assert type(found) is type(kept)


def test_numpy_scalars_inside_a_list_become_plain_values() -> None:
    args = MultiLabelClassificationArgs(labels_list=[np.int64(3), np.str_("a")], threshold=[np.float64(0.25), 0.5])
    assert [type(value) for value in (*args.labels_list, *args.threshold)] == [int, str, float, float]
    assert args.labels_list == [3, "a"]
    assert args.threshold == [0.25, 0.5]


@pytest.mark.parametrize(
    "given", [("a", "b"), np.array(["a", "b"]), pd.Series(["a", "b"]), pd.Series(["a", "b"]).unique()]
)
def test_what_is_like_a_list_is_taken_as_one(given: Any) -> None:
    args = MultiLabelClassificationArgs(labels_list=given, threshold=torch.tensor([0.25, 0.5]))
    assert args.labels_list == ["a", "b"]
    assert args.threshold == [0.25, 0.5]


def test_a_threshold_is_a_number_or_a_list() -> None:
    assert MultiLabelClassificationArgs(threshold=0.25).threshold == 0.25
    with pytest.raises(ArgumentError) as refused:
        MultiLabelClassificationArgs(threshold="half")
    assert str(refused.value) == "threshold must be a number or a list, but is 'half'."


def test_lists_and_dicts_are_copied_and_each_object_has_its_own() -> None:
    layers: list[Any] = ["bert.embeddings"]
    args = ModelArgs(freeze=layers)
    args.freeze.append("bert.pooler")
    ModelArgs().config["hidden_dropout_prob"] = 0.3
    assert layers == ["bert.embeddings"]
    assert ModelArgs().config == {}
    assert ModelArgs().freeze == []


def test_only_keywords_are_taken() -> None:
    with pytest.raises(TypeError):
        ModelArgs(8)


@pytest.mark.parametrize(
    ("name", "found"), [("learning_rte", "learning_rate"), ("label's", "label's"), ("zzz", None), ("", None)]
)
def test_the_nearest_name_is_suggested(name: str, found: str | None) -> None:
    accepted = ["learning_rate", "label's"]
    assert nearest(name, accepted) == found
    assert closest(name, accepted) == ("" if found is None else f" Did you mean '{found}'?")
