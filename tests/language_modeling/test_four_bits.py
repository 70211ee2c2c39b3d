"""Adapters over weights of 4 bits: held so, left as they are, trained over, saved, opened, merged."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

import easytx
from easytx.errors import ArgumentError, NonFiniteLossError, UnsupportedError
from easytx.language_modeling import four_bits
from easytx.testing import tiny_checkpoint

from .conftest import model

peft = pytest.importorskip("peft", reason="adapters are of the package peft")
bnb = pytest.importorskip("bitsandbytes", reason="weights of 4 bits are of the package bitsandbytes")

# The smallest of which a row is a block of weights with one scale.
WIDTH = 64

QLORA = {"qlora": True, "nf4": True, "lora_config": {"r": 4}, "learning_rate": 0.05, "output_dir": "lora"}


@pytest.fixture(scope="module")
def gpt2(folder: Path) -> str:
    return str(tiny_checkpoint(folder / "gpt2 of 64", "gpt2", hidden_size=WIDTH))


@pytest.fixture(scope="module")
def llama(folder: Path) -> str:
    return str(tiny_checkpoint(folder / "llama of 64", "llama", hidden_size=WIDTH, intermediate_size=128))


@pytest.fixture(scope="module")
def bert(folder: Path) -> str:
    size = {"hidden_size": WIDTH, "intermediate_size": 128}
    return str(tiny_checkpoint(folder / "bert of 64", "bert", head="AutoModelForMaskedLM", **size))


def _made(base: str, **args: Any) -> Any:
    return model("causal", base, **QLORA | args)


def _loss(made: Any, file: str) -> float:
    return float(made.eval_model(file, output_dir="scores").result["eval_loss"])


def _frozen(made: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.model.state_dict().items() if "lora_" not in name}


def _same(before: dict[str, torch.Tensor], made: Any) -> bool:
    after = made.model.state_dict()
    return all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(("nf4", "kind"), [(True, "nf4"), (False, "fp4")])
def test_all_weights_but_embeddings_and_head_are_held_in_4_bits(llama: str, nf4: bool, kind: str) -> None:
    network = _made(llama, nf4=nf4).model
    layers = dict(four_bits._layers(network))
    assert len(layers) == 7 * network.config.num_hidden_layers
    whole = AutoModelForCausalLM.from_pretrained(llama)
    for name, layer in layers.items():
        weight = whole.get_submodule(name.removesuffix(".base_layer")).weight
        assert layer.weight.dtype is torch.uint8
        assert layer.weight.quant_state.quant_type == kind
        assert layer.weight.nbytes == weight.nbytes / 8
        # Dettmers et al. 2023, "QLoRA", appendix E: between the 16 numbers of NF4 the gaps are at most 0.31 of the
        # largest weight of a block, and those of FP4 0.33; half of that is lost at most, and a little by the scale.
        lost = (four_bits._dequantised(layer) - weight).detach().view(-1, 64).abs().amax(dim=1)
        assert (lost <= 0.18 * weight.detach().view(-1, 64).abs().amax(dim=1)).all()
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in network.state_dict() if "lora_" in name}


@pytest.mark.parametrize("base", ["gpt2", "llama"])
@pytest.mark.parametrize("mixed", [True, False])
def test_the_adapter_alone_is_trained_saved_and_opened(
    base: str, mixed: bool, train_file: str, eval_file: str, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(base)
    made = _made(place, evaluate_during_training=True, num_train_epochs=3, fp16=mixed)
    # Whatever the layers compute in, steps of bf16 would be too coarse for what is trained.
    assert {p.dtype for p in made.model.parameters() if p.requires_grad} == {torch.float32}
    before, start = _frozen(made), _loss(made, eval_file)
    trained = made.train_model(train_file, eval_file=eval_file)
    assert _same(before, made)
    end = _loss(made, eval_file)
    assert end < start - 0.1
    assert end == pytest.approx(min(trained.training_details["eval_loss"]), rel=1e-6)
    names = {path.name for path in Path("lora").iterdir()}
    assert "adapter_model.safetensors" in names
    assert not names & {"config.json", "model.safetensors"}
    opened = easytx.load("lora", args={"silent": True}, use_cuda=False)
    assert len(list(four_bits._layers(opened.model))) == len(list(four_bits._layers(made.model)))
    assert _loss(opened, eval_file) == pytest.approx(end, rel=1e-6)
    assert opened.predict(["John lives in"]).predictions == made.predict(["John lives in"]).predictions


# peft asks for an attribute of transformers by its old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_peft_alone_opens_the_adapter(llama: str, train_file: str) -> None:
    made = _made(llama)
    made.train_model(train_file)
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    base = AutoModelForCausalLM.from_pretrained(llama, quantization_config=settings, dtype=torch.float32)
    network = peft.PeftModel.from_pretrained(base, "lora")
    for _, layer in four_bits._layers(network):
        # Left on, bitsandbytes rounds the scales to bf16 on CPUs that have it, and cannot compute tiny layers there.
        layer.support_avx512bf16_for_cpu = False
    inputs = made.tokenizer(["John lives in"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(network(**inputs).logits, made.model(**inputs).logits)


def test_predictions_leave_the_weights_as_they_are(llama: str, train_file: str, eval_file: str) -> None:
    # On CPUs with bf16, bitsandbytes has a kernel for them which reorders the weights.
    first, second = _made(llama, output_dir="first"), _made(llama, output_dir="second")
    before = _frozen(second)
    _loss(second, eval_file)
    second.predict(["John lives in"])
    assert not any(
        getattr(x.weight.quant_state, "packing_format_for_cpu", False) for _, x in four_bits._layers(second.model)
    )
    assert _same(before, second)
    for made in (first, second):
        made.train_model(train_file)
    expected = first.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in second.model.state_dict().items())


def test_the_best_adapter_is_restored_and_an_interrupted_training_goes_on(
    gpt2: str, train_file: str, eval_file: str
) -> None:
    args = {"num_train_epochs": 2, "save_model_every_epoch": True, "save_total_limit": None}
    # The first evaluation is the best then, as the loss falls.
    backwards = {"evaluate_during_training": True, "early_stopping_metric_minimize": False}
    for more in ({}, {"no_save": True}):
        made = _made(gpt2, output_dir="best", overwrite_output_dir=True, **args | backwards | more)
        trained = made.train_model(train_file, eval_file=eval_file)
        assert trained.info["best_step"] < trained.global_step
        assert _loss(made, eval_file) == pytest.approx(max(trained.training_details["eval_loss"]), rel=1e-6)
    whole = _made(gpt2, **args)
    whole.train_model(train_file)
    first = min(Path("lora").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    again = _made(gpt2, output_dir="again", **args)
    again.train_model(train_file, resume_from_checkpoint=str(first))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value)


def test_a_training_that_diverges_gives_the_adapter_back(gpt2: str, train_file: str, eval_file: str) -> None:
    made = _made(gpt2)
    start = _loss(made, eval_file)
    for expected in (start, None):
        if expected is None:
            made.train_model(train_file)
            expected = _loss(made, eval_file)
        with pytest.raises(NonFiniteLossError):
            made.train_model(train_file, args={"learning_rate": 1e30, "overwrite_output_dir": True})
        made.args = made.args.merged({"learning_rate": 0.05})
        assert _loss(made, eval_file) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("base", ["gpt2", "llama"])
def test_a_merged_model_is_in_full_precision(
    base: str, train_file: str, eval_file: str, request: pytest.FixtureRequest
) -> None:
    made = _made(request.getfixturevalue(base))
    made.train_model(train_file)
    expected = _loss(made, eval_file)
    kind = type(made.model)
    made.merge_adapter()
    assert type(made.model) is kind
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}
    assert not made.args["qlora"]
    assert _loss(made, eval_file) == pytest.approx(expected, rel=1e-5)
    made.save_model("whole")
    shutil.rmtree("lora")
    assert _loss(easytx.load("whole", args={"silent": True}, use_cuda=False), eval_file) == pytest.approx(
        expected, rel=1e-5
    )
    network = AutoModelForCausalLM.from_pretrained("whole")
    assert not hasattr(network.config, "quantization_config")


def test_masked_models_are_held_in_4_bits_too(bert: str, train_file: str) -> None:
    made = model("bert", bert, **QLORA)
    made.train_model(train_file)
    expected = _loss(made, train_file)
    opened = easytx.load("lora", args={"silent": True}, use_cuda=False)
    assert _loss(opened, train_file) == pytest.approx(expected, rel=1e-6)
    opened.merge_adapter()
    assert _loss(opened, train_file) == pytest.approx(expected, rel=1e-5)


def test_a_checkpoint_of_4_bits_is_trained_over_as_it_is(llama: str, train_file: str, eval_file: str) -> None:
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    network = AutoModelForCausalLM.from_pretrained(llama, quantization_config=settings, dtype=torch.float32)
    network.save_pretrained("four")
    AutoTokenizer.from_pretrained(llama).save_pretrained("four")
    found = []
    for way in ({"qlora": True, "nf4": False}, {"qlora": False, "peft": True}):
        made = _made("four", overwrite_output_dir=True, **way)
        assert {layer.weight.quant_state.quant_type for _, layer in four_bits._layers(made.model)} == {"nf4"}
        made.train_model(train_file)
        opened = easytx.load("lora", args={"silent": True}, use_cuda=False)
        found += [_loss(made, eval_file), _loss(opened, eval_file)]
        made.merge_adapter()
        found.append(_loss(made, eval_file))
    assert found == pytest.approx([found[0]] * 6, rel=1e-5)


@pytest.mark.parametrize("base", ["gpt2", "llama"])
def test_loftq_starts_as_near_to_the_weights_as_the_rank_allows(
    base: str, train_file: str, eval_file: str, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(base)
    lora = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear"}
    made = _made(place, lora_config=lora, loftq_config={"loftq_iter": 1})
    whole = AutoModelForCausalLM.from_pretrained(place)
    for name, layer in four_bits._layers(made.model):
        adapted = made.model.get_submodule(name.removesuffix(".base_layer"))
        weight = four_bits._upright(whole.get_submodule(name.removesuffix(".base_layer"))).detach()
        held = four_bits._dequantised(layer)
        left = weight - held - adapted.get_delta_weight("default").detach()
        # Eckart and Young 1936: nothing of this rank is nearer than the largest singular values.
        sizes = torch.linalg.svdvals(weight - held)
        assert float(left.norm()) == pytest.approx(float(sizes[4:].norm()), rel=1e-3)
    before = _frozen(made)
    made.train_model(train_file)
    assert _same(before, made)
    opened = easytx.load("lora", args={"silent": True}, use_cuda=False)
    assert _loss(opened, eval_file) == pytest.approx(_loss(made, eval_file), rel=1e-6)


def test_4_bits_may_be_asked_for_late_but_not_after_a_training(gpt2: str, train_file: str) -> None:
    late = {"qlora": True, "overwrite_output_dir": True}
    made = _made(gpt2, qlora=False, lora_config={})
    made.eval_model(train_file, output_dir="scores")
    made.train_model(train_file, args=late)
    assert list(four_bits._layers(made.model))
    assert (Path("lora") / "adapter_model.safetensors").is_file()
    trained = _made(gpt2, qlora=False, lora_config={}, output_dir="whole")
    trained.train_model(train_file)
    message = (
        "An adapter is saved without the weights under it, and those of this model have been trained since they were "
        "loaded. Save it with save_model, and open that folder with the same arguments."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        trained.train_model(train_file, args=late)


def test_rows_that_end_within_a_block_are_refused_on_a_cpu(tmp_path: Path) -> None:
    base = str(tiny_checkpoint(tmp_path / "llama", "llama", hidden_size=96, num_attention_heads=2))
    message = (
        "On a CPU, bitsandbytes reads weights of 4 bits aright only where a layer has a multiple of 64 inputs, but "
        "'model.layers.0.self_attn.q_proj' has 96. Train on CUDA, or use peft=True alone, which trains an adapter over "
        "weights of full precision."
    )
    with pytest.raises(UnsupportedError, match=f"^{re.escape(message)}$"):
        _ = _made(base).model


def test_states_of_8_bits_are_trained_with_and_resumed_from(llama: str, train_file: str) -> None:
    # bitsandbytes holds states of fewer than 4096 numbers in float32.
    args = {"optimizer": "Adam8bit", "num_train_epochs": 2, "save_model_every_epoch": True, "save_total_limit": None}
    made = model("causal", llama, output_dir="whole", **args)
    start = _loss(made, train_file)
    made.train_model(train_file)
    assert _loss(made, train_file) < start - 0.1
    first = min(Path("whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    saved = torch.load(first / "optimizer.pt", weights_only=False)
    assert "torch.uint8" in str([str(v.dtype) for s in saved["state"].values() for v in _tensors(s)])
    again = model("causal", llama, output_dir="again", **args)
    again.train_model(train_file, resume_from_checkpoint=str(first))
    for name, value in made.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value)


def _tensors(state: Any) -> list[torch.Tensor]:
    nested = [_tensors(value) if isinstance(value, dict) else [value] for value in state.values()]
    return [value for values in nested for value in values if isinstance(value, torch.Tensor)]
