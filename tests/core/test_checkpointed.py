"""A model is made from a name: arguments, configuration and tokenizer at once, weights later."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx.classification import ClassificationArgs, ClassificationModel, MultiLabelClassificationModel
from easytx.core import loading
from easytx.errors import ArgumentError, CheckpointError, DeviceError, ModelNotFoundError
from easytx.testing import tiny_checkpoint


def _model(*names: Any, **options: Any) -> ClassificationModel:
    return ClassificationModel(*names, use_cuda=False, **options)


def test_the_type_may_be_left_out(checkpoint: Path) -> None:
    for model in (_model(checkpoint), _model(model_name=checkpoint), _model("auto", checkpoint)):
        assert model.args.model_type == model.config.model_type == "bert"
        assert model.args.model_name == str(checkpoint)
        assert model.args.model_class == "ClassificationModel"


def test_a_name_is_needed() -> None:
    with pytest.raises(ArgumentError) as refused:
        ClassificationModel()
    assert str(refused.value) == 'ClassificationModel needs a model name, such as "starter" or a folder.'


def test_the_checkpoint_wins_over_the_type(checkpoint: Path, warned: Any) -> None:
    model, messages = warned(lambda: _model("roberta", checkpoint))
    assert messages == [f"model_type is 'roberta', but '{checkpoint}' is a bert model and is used as such."]
    assert model.args.model_type == "bert"


def test_a_bad_name_fails_at_once() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^'owner/model' could not be loaded: .* Offline, give"):
        _model("bert", "owner/model")


def test_weights_are_loaded_when_first_used(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("bert", checkpoint)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "load_weights", lambda *_, **__: pytest.fail("weights were loaded"))
        assert model.tokenizer("good film")["input_ids"]
    assert model.model is model.model
    assert "classifier.weight" in model.get_named_parameters()


def test_cuda_is_demanded_or_not(checkpoint: Path) -> None:
    assert _model("bert", checkpoint).device == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match=r"^use_cuda is True, but torch finds no CUDA device\."):
            ClassificationModel("bert", checkpoint, use_cuda=True)


def test_the_sources_of_arguments_in_their_order(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(easytx.global_args, "save_steps", 11)
    assert _model("bert", checkpoint).args.save_steps == 11
    assert _model("bert", checkpoint, args={"save_steps": 12}).args.save_steps == 12
    assert _model("bert", checkpoint, args=ClassificationArgs(stride=0.5)).args.save_steps == 11
    swept = _model("bert", checkpoint, args={"save_steps": 12, "stride": 0.5}, sweep_config={"save_steps": 13})
    assert (swept.args.save_steps, swept.args["stride"]) == (13, 0.5)


def test_a_saved_folder_brings_its_arguments(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _model("bert", checkpoint, args={"save_steps": 12, "stride": 0.5}).save_model(tmp_path)
    monkeypatch.setitem(easytx.global_args, "save_steps", 11)
    assert _model("bert", tmp_path).args.save_steps == 12
    reopened = _model("bert", tmp_path, args=ClassificationArgs(save_steps=13))
    assert (reopened.args.save_steps, reopened.args["stride"]) == (13, 0.5)


@pytest.mark.parametrize(
    "given", [{"config": {"hidden_dropout_prob": 0.2}}, ClassificationArgs(config={"hidden_dropout_prob": 0.2})]
)
def test_what_was_given_stays_as_it_is(given: Any, checkpoint: Path) -> None:
    kept = copy.deepcopy(given)
    first, second = (_model("bert", checkpoint, args=given) for _ in range(2))
    first.args.config["hidden_dropout_prob"] = 0.9
    first.args.save_steps = 5
    assert given == kept
    assert (second.args.save_steps, second.args.config) == (2000, {"hidden_dropout_prob": 0.2})
    assert first.config.hidden_dropout_prob == 0.2


def test_unknown_arguments_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^ClassificationArgs has no argument 'sav_steps'\. Did you mean"):
        _model("bert", checkpoint, args={"sav_steps": 3})


def test_a_folder_of_another_class_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    MultiLabelClassificationModel("bert", checkpoint, use_cuda=False).save_model(tmp_path)
    with pytest.raises(CheckpointError) as refused:
        _model("bert", tmp_path)
    assert str(refused.value) == (
        f"'{tmp_path}' was written by MultiLabelClassificationModel, and this is ClassificationModel. "
        f"Open it with easytx.load('{tmp_path}')."
    )


def test_a_folder_of_the_same_names_by_others_opens_with_one_warning(
    checkpoint: Path, tmp_path: Path, warned: Any
) -> None:
    folder = _model("bert", checkpoint, args={"labels_list": ["no", "yes"]}).save_model(tmp_path)
    (folder / "model_args.json").write_text(
        '{"model_class": "ClassificationModel", "onnx": false, "old_name": false, "older_name": 1, '
        '"manual_seed": null, "max_seq_length": 32, "adafactor_eps": [1e-30, 0.001], "multiprocessing_chunksize": -1}',
        "utf-8",
    )
    model, messages = warned(lambda: _model("bert", folder))
    assert messages == [
        "model_args.json holds arguments that ClassificationArgs does not have: ['old_name', 'older_name']. "
        "They are dropped."
    ]
    assert (model.args.max_seq_length, model.labels.labels) == (32, ["no", "yes"])


def test_another_tokenizer_can_be_named(checkpoint: Path, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path, "distilbert")
    model = _model("bert", checkpoint, tokenizer_name=str(other), tokenizer_type="BertTokenizer")
    assert (model.args.tokenizer_name, model.args.tokenizer_type) == (str(other), "BertTokenizer")
    assert model.tokenizer.name_or_path == str(other)


def test_added_tokens_are_not_split_and_have_weights(checkpoint: Path) -> None:
    model = _model("bert", checkpoint, args={"special_tokens_list": ["<order>"]})
    assert model.tokenizer.tokenize("the <order> is late")[1] == "<order>"
    assert model.model.get_input_embeddings().num_embeddings == len(model.tokenizer)


def test_texts_are_lower_cased_on_demand(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path, "roberta")
    model = _model("roberta", folder, args={"do_lower_case": True})
    assert model.tokenizer("GOOD")["input_ids"] == model.tokenizer("good")["input_ids"]
    assert _model("roberta", folder).tokenizer("GOOD")["input_ids"] != model.tokenizer("good")["input_ids"]


@pytest.mark.parametrize(("architecture", "types"), [("albert", True), ("bert", True), ("roberta", False)])
def test_pairs_have_token_types_where_the_model_has_them(architecture: str, types: bool, tmp_path: Path) -> None:
    model = _model(architecture, tiny_checkpoint(tmp_path, architecture))
    assert ("token_type_ids" in model.tokenizer("good", "bad")) is types


def test_what_another_class_was_trained_with_is_not_taken_over(checkpoint: Path, tmp_path: Path) -> None:
    written = easytx.LanguageModelingModel(
        checkpoint, args={"output_dir": "there", "num_train_epochs": 7}, use_cuda=False
    )
    written.save_model(tmp_path)
    opened = _model("bert", tmp_path)
    assert (opened.args.output_dir, opened.args.num_train_epochs) == ("outputs/", 1)


def test_a_folder_may_hold_a_tokenizer_alone(checkpoint: Path, tmp_path: Path) -> None:
    model = _model("bert", checkpoint)
    model.tokenizer.add_tokens(["<order>"])
    model.tokenizer.save_pretrained(tmp_path / "words")
    assert "<order>" in _model("bert", checkpoint, tokenizer_name=str(tmp_path / "words")).tokenizer.get_vocab()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match="holds no model"):
        _model("bert", checkpoint, tokenizer_name=str(tmp_path / "empty"))


def test_states_of_an_optimiser_are_saved_beside_the_model_that_is_given(checkpoint: Path, tmp_path: Path) -> None:
    model = _model("bert", checkpoint, num_labels=2)
    network = copy.deepcopy(model.model)
    with torch.no_grad():
        network.classifier.bias.fill_(3.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    folder = model.save_model(tmp_path / "there", optimizer, scheduler, network, {"mcc": 0.25})
    assert torch.load(folder / "optimizer.pt", weights_only=True)["param_groups"][0]["initial_lr"] == 0.5
    assert torch.load(folder / "scheduler.pt", weights_only=True)["total_iters"] == 5
    assert "| mcc | 0.2500 |" in (folder / "README.md").read_text("utf-8")
    assert _model(folder).model.classifier.bias.tolist() == [3.0, 3.0]
    assert not list(model.save_model(tmp_path / "plain").glob("*.pt"))


# What the file of arguments holds in a folder that Simple Transformers wrote.
OLD_ARGS = {
    "adafactor_beta1": None,
    "adafactor_clip_threshold": 1.0,
    "adafactor_decay_rate": -0.8,
    "adafactor_eps": [1e-30, 0.001],
    "adafactor_relative_step": True,
    "adafactor_scale_parameter": True,
    "adafactor_warmup_init": True,
    "adam_betas": [0.9, 0.999],
    "adam_epsilon": 1e-8,
    "best_model_dir": "outputs/best_model",
    "cache_dir": "cache_dir/",
    "config": {},
    "cosine_schedule_num_cycles": 0.5,
    "custom_layer_parameters": [],
    "custom_parameter_groups": [],
    "dataloader_num_workers": 0,
    "dataset_cache_dir": None,
    "do_lower_case": False,
    "early_stopping_delta": 0,
    "encoding": None,
    "eval_batch_size": 100,
    "evaluate_each_epoch": True,
    "fp16": True,
    "labels_list": ["no", "yes"],
    "labels_map": {"no": 0, "yes": 1},
    "lazy_delimiter": "\t",
    "lazy_text_a_column": None,
    "loss_args": {},
    "loss_type": None,
    "max_seq_length": 64,
    "model_class": "ClassificationModel",
    "model_name": "bert-base-cased",
    "model_type": "bert",
    "multiprocessing_chunksize": -1,
    "n_gpu": 1,
    "not_saved_args": [],
    "num_train_epochs": 2,
    "optimizer": "AdamW",
    "process_count": 6,
    "scheduler": "linear_schedule_with_warmup",
    "skip_special_tokens": True,
    "special_tokens_list": [],
    "stride": 0.8,
    "tensorboard_dir": None,
    "thread_count": None,
    "tie_value": 1,
    "tokenizer_name": None,
    "use_multiprocessing": False,
    "wandb_kwargs": {},
    "wandb_project": None,
    "warmup_steps": 3,
    "weight_decay": 0.0,
}


def test_a_folder_that_simple_transformers_wrote_opens(checkpoint: Path, tmp_path: Path, warned: Any) -> None:
    model = _model("bert", checkpoint, args={"labels_list": ["no", "yes"], "max_seq_length": 64})
    expected = model.predict(["a good film"])
    folder = model.save_model(tmp_path / "old")
    (folder / "model.safetensors").unlink()
    torch.save(model.model.state_dict(), folder / "pytorch_model.bin")
    torch.save({"any": "thing"}, folder / "training_args.bin")
    (folder / "model_args.json").write_text(json.dumps(OLD_ARGS), encoding="utf-8")
    for made in (lambda: easytx.load(folder), lambda: _model("bert", folder)):
        opened, messages = warned(made)
        assert messages == [
            "model_args.json holds arguments that ClassificationArgs does not have: ['skip_special_tokens']. "
            "They are dropped."
        ]
        assert (opened.args.num_train_epochs, opened.args.warmup_steps) == (2, 3)
        found = opened.predict(["a good film"])
        assert found.predictions == expected.predictions
        np.testing.assert_allclose(found.raw_outputs, expected.raw_outputs, rtol=1e-3, atol=1e-4)


def test_arguments_are_after_a_training_what_they_were_before(checkpoint: Path) -> None:
    given = {"no_save": True, "silent": True, "max_steps": 2, "optimizer": "Adafactor", "manual_seed": 0}
    model = _model("bert", checkpoint, args=given)
    before = {**model.args}
    rows = pd.DataFrame({"text": ["a good film", "a bad one"], "labels": [0, 1]})
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    first = model.train_model(rows)
    assert torch.equal(torch.rand(1), drawn)
    assert {name: value for name, value in model.args.items() if value != before[name]} == {"labels_list": [0, 1]}
    assert first.info["seed"] == 0
    again = _model("bert", checkpoint, args=given).train_model(rows)
    assert again.training_details == first.training_details
