"""`global_args`, and the order in which the sources of a model's arguments win."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest

import easytx
from easytx.classification import ClassificationArgs
from easytx.config.fields import arg, arguments
from easytx.config.global_args import global_args, resolve
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

PUBLISHED: dict[str, Any] = {
    "adam_epsilon": 1e-8,
    "best_model_dir": "outputs/best_model",
    "cache_dir": "cache_dir/",
    "config": {},
    "do_lower_case": False,
    "early_stopping_consider_epochs": False,
    "early_stopping_delta": 0,
    "early_stopping_metric": "eval_loss",
    "early_stopping_metric_minimize": True,
    "early_stopping_patience": 3,
    "encoding": None,
    "eval_batch_size": 8,
    "evaluate_during_training": False,
    "evaluate_during_training_silent": True,
    "evaluate_during_training_steps": 2000,
    "evaluate_during_training_verbose": False,
    "fp16": True,
    "fp16_opt_level": "O1",
    "gradient_accumulation_steps": 1,
    "learning_rate": 4e-5,
    "local_rank": -1,
    "logging_steps": 50,
    "manual_seed": None,
    "max_grad_norm": 1.0,
    "max_seq_length": 128,
    "multiprocessing_chunksize": 500,
    "n_gpu": 1,
    "no_cache": False,
    "no_save": False,
    "num_train_epochs": 1,
    "output_dir": "outputs/",
    "overwrite_output_dir": False,
    "process_count": max(1, (os.cpu_count() or 1) - 2),
    "reprocess_input_data": True,
    "save_best_model": True,
    "save_eval_checkpoints": True,
    "save_model_every_epoch": True,
    "save_optimizer_and_scheduler": True,
    "save_steps": 2000,
    "silent": False,
    "tensorboard_dir": None,
    "train_batch_size": 8,
    "use_cached_eval_features": False,
    "use_early_stopping": False,
    "use_multiprocessing": True,
    "wandb_kwargs": {},
    "wandb_project": None,
    "warmup_ratio": 0.06,
    "warmup_steps": 0,
    "weight_decay": 0,
}


@arguments
class Careful(ModelArgs):
    """A task that states one of the shared defaults again."""

    learning_rate: float = arg(default=2e-3, help="Highest learning rate.", low=0)
    extra: int = arg(default=1, help="One of its own.")


@arguments
class MoreCareful(Careful):
    """A task on top of it."""

    weight_decay: float = arg(default=0.5, help="Weight decay.", low=0)


def test_holds_exactly_the_published_arguments_with_their_defaults() -> None:
    assert global_args == PUBLISHED
    assert easytx.global_args is global_args
    assert {name: value for name, value in ModelArgs().items() if name in PUBLISHED} == PUBLISHED


def test_an_edited_default_reaches_new_models_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve(ClassificationArgs)
    monkeypatch.setitem(easytx.global_args, "learning_rate", 2e-5)
    assert resolve(ClassificationArgs).learning_rate == 2e-5
    assert before.learning_rate == 4e-5
    assert ClassificationArgs().learning_rate == 4e-5


def test_an_edited_list_or_dict_is_not_shared_with_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(global_args, "config", {"hidden_dropout_prob": 0.2})
    resolve(ModelArgs).config["hidden_dropout_prob"] = 0.3
    assert global_args["config"] == {"hidden_dropout_prob": 0.2}


def test_a_wrong_key_or_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(global_args, "learning_rte", 2e-5)
        with pytest.raises(ArgumentError) as refused:
            resolve(ClassificationArgs)
    assert str(refused.value) == (
        "ModelArgs has no argument 'learning_rte'. Did you mean 'learning_rate'? ModelArgs.help() lists all of them."
    )
    monkeypatch.setitem(global_args, "learning_rate", "high")
    with pytest.raises(ArgumentError, match=r"^learning_rate must be a number, but is 'high'\.$"):
        resolve(ClassificationArgs)


def test_an_argument_that_not_everyone_knows_may_be_set_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(global_args, "optimizer", "Adafactor")
    assert resolve(Careful).optimizer == "Adafactor"


def test_a_class_knows_which_defaults_it_states_again() -> None:
    assert ModelArgs.redeclared() == frozenset()
    assert ClassificationArgs.redeclared() == frozenset()
    assert Careful.redeclared() == {"learning_rate"}
    assert MoreCareful.redeclared() == {"learning_rate", "weight_decay"}


def test_the_more_specific_source_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(**sources: Any) -> float:
        return resolve(Careful, **sources).learning_rate

    monkeypatch.setitem(global_args, "learning_rate", 1e-3)
    assert resolve(ModelArgs).learning_rate == 1e-3
    saved, given, sweep = {"learning_rate": 3e-3}, {"learning_rate": 4e-3}, {"learning_rate": 5e-3}
    assert rate() == 2e-3
    assert rate(saved=saved) == 3e-3
    assert rate(saved=saved, given=given) == 4e-3
    assert rate(given=Careful(learning_rate=4e-3), saved=saved) == 4e-3
    assert rate(saved=saved, given=given, sweep=sweep) == 5e-3
    assert resolve(Careful, given=given).merged({"learning_rate": 6e-3}).learning_rate == 6e-3


def test_of_an_object_only_what_was_set_on_it_wins() -> None:
    saved = {"learning_rate": 3e-3, "save_steps": 7}
    args = resolve(ModelArgs, saved=saved, given=ModelArgs(save_steps=2000))
    assert (args.learning_rate, args.save_steps) == (3e-3, 2000)


def test_no_source_is_changed() -> None:
    saved: dict[str, Any] = {"config": {"a": 1}, "save_steps": 1}
    given: dict[str, Any] = {"custom_parameter_groups": [{"params": ["x"]}]}
    item = ModelArgs(freeze=["a"])
    kept = copy.deepcopy((saved, given, item, global_args))
    for source in (given, item):
        args = resolve(ModelArgs, saved=saved, given=source, sweep={"save_steps": 3})
        args.config["b"] = 2
        args.freeze.append("b")
        args.custom_parameter_groups.append({})
        args.save_steps = 9
    assert (saved, given, item, global_args) == kept


def test_unknown_names_of_a_saved_file_are_dropped_with_one_warning(warned: Any) -> None:
    saved = {"old_name": False, "older_name": 1, "save_steps": 3}
    args, messages = warned(lambda: resolve(ModelArgs, saved=saved))
    assert messages == [
        "model_args.json holds arguments that ModelArgs does not have: ['old_name', 'older_name']. They are dropped."
    ]
    assert args.save_steps == 3


def test_unknown_names_of_a_caller_are_refused() -> None:
    for source in ({"given": {"extr": 2}}, {"sweep": {"extr": 2}}):
        with pytest.raises(ArgumentError, match=r"^Careful has no argument 'extr'\. Did you mean 'extra'\?"):
            resolve(Careful, **source)


def test_what_nobody_set_is_not_set_after_the_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(Careful).given() == {}
    # An older file, or one of Simple Transformers, holds all values and does not say which were set.
    saved = {"eval_batch_size": 8, "save_steps": 7, "learning_rate": 2e-3}
    assert resolve(Careful, saved=saved).given() == {"save_steps": 7}
    set_before = {**saved, "set_to_default": ["eval_batch_size"]}
    assert resolve(Careful, saved=set_before).given() == {"eval_batch_size": 8, "save_steps": 7}
    assert resolve(Careful, given={"eval_batch_size": 8}).is_set("eval_batch_size")
    assert resolve(Careful, given=Careful(eval_batch_size=8)).is_set("eval_batch_size")
    assert resolve(Careful, sweep={"eval_batch_size": 8}).is_set("eval_batch_size")
    monkeypatch.setitem(global_args, "eval_batch_size", 16)
    assert resolve(Careful).given() == {"eval_batch_size": 16}


def test_a_default_in_a_folder_wins_over_an_edited_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(global_args, "eval_batch_size", 16)
    args = resolve(Careful, saved={"eval_batch_size": 8})
    assert args.eval_batch_size == 8
    assert not args.is_set("eval_batch_size")
