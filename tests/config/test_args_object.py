"""An args object: by attribute, by key, merged, saved, explained."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easytx.classification import ClassificationArgs, MultiLabelClassificationArgs
from easytx.config.args_object import read_saved
from easytx.config.fields import fields_of
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

UNKNOWN = "ModelArgs has no argument 'learning_rte'. Did you mean 'learning_rate'? ModelArgs.help() lists all of them."


def _by_attribute(args: Any) -> None:
    args.learning_rte = 1e-3


def _by_key(args: Any) -> None:
    args["learning_rte"] = 1e-3


@pytest.mark.parametrize(
    "give",
    [
        lambda: ModelArgs(learning_rte=1e-3),
        lambda: _by_attribute(ModelArgs()),
        lambda: _by_key(ModelArgs()),
        lambda: ModelArgs().merged({"learning_rte": 1e-3}),
        lambda: ModelArgs().update_from_dict({"learning_rte": 1e-3}),
        lambda: ModelArgs.help("learning_rte"),
    ],
    ids=["constructor", "attribute", "key", "merged", "update_from_dict", "help"],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(give: Callable[[], Any]) -> None:
    with pytest.raises(ArgumentError) as refused:
        give()
    assert str(refused.value) == UNKNOWN


def test_a_name_like_no_other_is_refused_without_a_suggestion() -> None:
    with pytest.raises(ArgumentError) as refused:
        ModelArgs(qqq=1)
    assert str(refused.value) == "ModelArgs has no argument 'qqq'. ModelArgs.help() lists all of them."


def test_an_argument_of_one_task_is_unknown_to_another_class() -> None:
    with pytest.raises(ArgumentError, match=r"^ModelArgs has no argument 'sliding_window'"):
        ModelArgs().merged(ClassificationArgs(sliding_window=True))


def test_reads_and_sets_as_a_mapping() -> None:
    args = ClassificationArgs()
    args["save_steps"] = -1
    assert (args["save_steps"], args.save_steps) == (-1, -1)
    assert "save_steps" in args
    assert "sav_steps" not in args
    assert 3 not in args
    assert list(args) == list(args.keys()) == list(fields_of(ClassificationArgs))
    assert len(args.keys()) == len(fields_of(ClassificationArgs)) == len(dict(args))
    assert dict(args) == dict(args.items()) == args.to_dict()
    assert {**args}["sliding_window"] is False
    assert args.get("stride") == 0.8
    assert args.get("no_such") is None
    assert args.get("no_such", 3) == 3
    with pytest.raises(KeyError, match="sav_steps"):
        args["sav_steps"]


def test_to_dict_is_a_new_dict() -> None:
    args = ModelArgs()
    args.to_dict()["save_steps"] = 1
    assert args.save_steps == 2000


def test_only_what_was_set_counts_as_given() -> None:
    args = ModelArgs(learning_rate=4e-5)
    args.save_steps = 10
    args["silent"] = True
    assert args.given() == {"learning_rate": 4e-5, "save_steps": 10, "silent": True}


def test_merging_changes_neither_side() -> None:
    groups = [{"params": ["classifier.weight"], "lr": 1e-2}]
    change = {"custom_parameter_groups": groups, "save_steps": 5}
    kept = copy.deepcopy(change)
    base = ModelArgs(learning_rate=1e-3)
    merged = base.merged(change)
    merged.custom_parameter_groups.append({})
    merged.learning_rate = 1.0
    assert change == kept
    assert base == ModelArgs(learning_rate=1e-3)
    assert merged.given() == {**change, "learning_rate": 1.0, "custom_parameter_groups": [*groups, {}]}


def test_of_an_object_only_what_was_set_on_it_is_merged() -> None:
    base = ModelArgs(learning_rate=1e-3, save_steps=7)
    other = ModelArgs(save_steps=2000)
    merged = base.merged(other)
    assert (merged.learning_rate, merged.save_steps) == (1e-3, 2000)
    assert base.merged(None) == base
    assert type(ClassificationArgs().merged(other)) is ClassificationArgs


def test_equality_is_by_class_and_values() -> None:
    assert ModelArgs(save_steps=5) == ModelArgs(save_steps=5)
    assert ModelArgs(save_steps=5) != ModelArgs(save_steps=6)
    assert ModelArgs(learning_rate=4e-5) == ModelArgs()
    assert ClassificationArgs() != MultiLabelClassificationArgs()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda args: pickle.loads(pickle.dumps(args))])
def test_copies_are_equal_and_still_checked(duplicate: Callable[[Any], Any]) -> None:
    args = ClassificationArgs(save_steps=5, labels_list=["a", "b"])
    twin = duplicate(args)
    assert twin == args
    assert twin.given() == args.given()
    twin.save_steps = 6
    assert args.save_steps == 5
    with pytest.raises(ArgumentError):
        twin.sav_steps = 6


@pytest.mark.parametrize(
    "args",
    [
        ModelArgs(),
        ModelArgs(adam_betas=(0.8, 0.9), save_total_limit=None, manual_seed=3, output_dir="ü"),
        ClassificationArgs(labels_list=["a", 3, True], stride=4, loss_type="focal", loss_args={"gamma": 1.0}),
        MultiLabelClassificationArgs(threshold=[0.25, 0.5]),
    ],
    ids=["defaults", "shared", "classification", "multi_label"],
)
def test_saved_and_loaded_arguments_are_equal(args: Any, tmp_path: Path) -> None:
    path = args.save(tmp_path)
    assert path == tmp_path / "model_args.json"
    assert type(args).load(tmp_path) == args


def test_secrets_and_what_is_not_to_be_saved_stay_out_of_the_file(tmp_path: Path) -> None:
    args = ModelArgs(
        wandb_kwargs={"settings": "SECRET"},
        trainer_kwargs={"hub_token": "SECRET", "weight_decay": 0.1},
        not_saved_args=["output_dir"],
        output_dir="SECRET",
        config={"object": object()},
    )
    text = args.save(tmp_path).read_text("utf-8")
    assert "SECRET" not in text
    saved = json.loads(text)
    assert {"wandb_kwargs", "output_dir", "config"} & set(saved) == set()
    assert saved["trainer_kwargs"] == {"weight_decay": 0.1}
    assert list(saved) == sorted(saved)
    loaded = ModelArgs.load(tmp_path)
    assert (loaded.output_dir, loaded.wandb_kwargs, loaded.config) == ("outputs/", {}, {})


def test_names_that_a_class_does_not_have_are_dropped_with_one_warning(tmp_path: Path, warned: Any) -> None:
    (tmp_path / "model_args.json").write_text(
        '{"old_name": false, "learning_rate": 0.001, "autoencoder": null}', "utf-8"
    )
    args, messages = warned(lambda: ModelArgs.load(tmp_path))
    assert messages == [
        "model_args.json holds arguments that ModelArgs does not have: ['autoencoder', 'old_name']. They are dropped."
    ]
    assert args == ModelArgs(learning_rate=1e-3)


def test_null_means_not_set_where_none_is_no_value(tmp_path: Path) -> None:
    (tmp_path / "model_args.json").write_text('{"output_dir": null, "save_total_limit": null}', "utf-8")
    assert ModelArgs.load(tmp_path) == ModelArgs(save_total_limit=None)


def test_a_folder_without_the_file_has_no_saved_arguments(tmp_path: Path) -> None:
    assert read_saved(tmp_path) == {}
    assert ModelArgs.load(tmp_path) == ModelArgs()


def test_help_names_type_default_meaning_and_lack_of_effect() -> None:
    assert (
        ModelArgs.help("save_steps") == "save_steps (int, default 2000): Steps between checkpoints; 0 or less for none."
    )
    assert ModelArgs.help("manual_seed") == (
        "manual_seed (int | None, default None): Random seed; None draws one and reports it."
    )
    assert ModelArgs.help("n_gpu") == (
        "n_gpu (int, default 1): Number of GPUs. Without effect: torchrun and accelerate launch set it."
    )
    lines = ClassificationArgs.help().splitlines()
    assert len(lines) == len(fields_of(ClassificationArgs))
    assert ModelArgs.help("save_steps") in lines


def test_describe_has_a_row_per_argument() -> None:
    rows = {row["name"]: row for row in ClassificationArgs.describe()}
    assert list(rows) == list(fields_of(ClassificationArgs))
    assert rows["labels_list"] == {
        "name": "labels_list",
        "type": "list[Any]",
        "default": [],
        "help": "All labels, in the order of the head's outputs; empty learns them.",
        "no_effect": None,
    }


def test_nothing_warns_where_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MultiLabelClassificationArgs(learning_rate=1e-3, threshold=0.4)


def test_what_is_added_to_a_list_or_a_dict_counts_as_given() -> None:
    args = ClassificationArgs()
    args.freeze.append("bert.embeddings")
    args["config"]["hidden_dropout_prob"] = 0.3
    assert args.given() == {"freeze": ["bert.embeddings"], "config": {"hidden_dropout_prob": 0.3}}
    merged = ClassificationArgs(learning_rate=1e-3).merged(args)
    assert (merged.freeze, merged.config) == (["bert.embeddings"], {"hidden_dropout_prob": 0.3})
    merged.freeze.append("bert.pooler")
    assert merged.merged({"max_steps": 1}).freeze == ["bert.embeddings", "bert.pooler"]
    assert args.freeze == ["bert.embeddings"]


def test_an_argument_set_to_its_default_is_set() -> None:
    args = ModelArgs(eval_batch_size=8)
    assert args.is_set("eval_batch_size")
    assert not args.is_set("train_batch_size")
    args.train_batch_size = 8
    args.freeze.append("bert.embeddings")
    assert args.is_set("train_batch_size")
    assert args.is_set("freeze")


def test_a_saved_file_tells_defaults_that_were_set_from_those_that_were_not(tmp_path: Path) -> None:
    ClassificationArgs(eval_batch_size=8, save_steps=5, adam_betas=(0.9, 0.999)).save(tmp_path)
    saved = read_saved(tmp_path)
    assert (saved["eval_batch_size"], saved["train_batch_size"]) == (8, 8)
    assert saved["set_to_default"] == ["adam_betas", "eval_batch_size"]
    loaded = ClassificationArgs.load(tmp_path)
    assert loaded.given() == {"eval_batch_size": 8, "save_steps": 5, "adam_betas": (0.9, 0.999)}
    ModelArgs(save_steps=5).save(tmp_path)
    assert "set_to_default" not in read_saved(tmp_path)
    assert ModelArgs.load(tmp_path).given() == {"save_steps": 5}
