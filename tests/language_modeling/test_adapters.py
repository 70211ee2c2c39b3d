"""LoRA adapters: trained alone, saved alone, opened over their model, merged into it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import easytx
from easytx.errors import ArgumentError, DeviceError, MissingExtraError, ModelNotFoundError
from easytx.language_modeling import LanguageModelingModel, adapters, four_bits

from .conftest import model

pytest.importorskip("peft")

LORA = {"peft": True, "lora_config": {"r": 4}, "learning_rate": 0.05}


# The first evaluation is the best then, as the loss falls.
BACKWARDS = {"evaluate_during_training": True, "num_train_epochs": 3, "early_stopping_metric_minimize": False}


def _trained(base: str, train_file: str, **args: Any) -> Any:
    made = model("causal", base, output_dir="lora", **LORA | args)
    evaluation = {"eval_file": train_file.replace("train.txt", "eval.txt")}
    made.train_model(train_file, **(evaluation if args.get("evaluate_during_training") else {}))
    return made


def test_the_adapter_alone_is_trained_and_saved(gpt2: str, train_file: str) -> None:
    before = AutoModelForCausalLM.from_pretrained(gpt2).state_dict()
    made = _trained(gpt2, train_file)
    after = made.model.state_dict()
    assert all(torch.equal(before[name], after[name.replace("c_attn.", "c_attn.base_layer.")
               if name.replace("c_attn.", "c_attn.base_layer.") in after else name]) for name in before)  # fmt: skip
    assert any(after[name].any() for name in after if "lora_B" in name)
    names = {path.name for path in Path("lora").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "model_args.json"} <= names
    assert not names & {"config.json", "model.safetensors"}


def test_an_adapter_opens_over_its_model(gpt2: str, train_file: str) -> None:
    made = _trained(gpt2, train_file)
    expected = dict(made.eval_model(train_file))
    plain = dict(model("causal", gpt2).eval_model(train_file))
    assert expected["perplexity"] != pytest.approx(plain["perplexity"], rel=1e-3)
    by_name = model("causal", gpt2, given={"adapter_name": "lora"})
    for opened in (easytx.load("lora", args={"silent": True}), by_name):
        assert dict(opened.eval_model(train_file)) == pytest.approx(expected, rel=1e-5)
    network = AutoModelForCausalLM.from_pretrained("lora")
    inputs = made.tokenizer(["John lives in"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(network(**inputs).logits, made.model(**inputs).logits)
    writer = easytx.LanguageGenerationModel("causal", "lora", args={"do_sample": False, "fp16": False, "silent": True})
    text = made.predict("John lives in", generation_args={"max_length": 5}).predictions[0]
    assert writer.generate("John lives in", args={"max_length": 5}) == [f"John lives in{text}"]


def test_the_best_adapter_is_restored(gpt2: str, train_file: str, eval_file: str) -> None:
    def best(**args: Any) -> Any:
        shutil.rmtree("lora", ignore_errors=True)
        made = model("causal", gpt2, output_dir="lora", **LORA | args | BACKWARDS)
        return made, made.train_model(train_file, eval_file=eval_file)

    for args in ({}, {"no_save": True}):
        made, trained = best(**args)
        assert trained.info["best_step"] < trained.global_step
        found = dict(made.eval_model(eval_file, output_dir="scores"))
        assert found["eval_loss"] == pytest.approx(max(trained.training_details["eval_loss"]), rel=1e-5)
    made, _ = best()
    opened = easytx.load("lora/best_model", args={"silent": True})
    assert dict(opened.eval_model(eval_file)) == pytest.approx(dict(made.eval_model(eval_file)), rel=1e-5)


def test_an_interrupted_training_of_an_adapter_goes_on(gpt2: str, train_file: str) -> None:
    args = {"num_train_epochs": 2, "save_model_every_epoch": True, "save_total_limit": None}
    whole = _trained(gpt2, train_file, **args)
    first = min(Path("lora").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    again = model("causal", gpt2, output_dir="again", **LORA | args)
    again.train_model(train_file, resume_from_checkpoint=str(first))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value)


def test_a_merged_model_is_one_without_an_adapter(gpt2: str, train_file: str) -> None:
    made = _trained(gpt2, train_file)
    expected = dict(made.eval_model(train_file))
    made.merge_adapter()
    assert type(made.model).__name__ == "GPT2LMHeadModel"
    assert not any("lora" in name for name in made.model.state_dict())
    assert dict(made.eval_model(train_file)) == pytest.approx(expected, rel=1e-4)
    made.save_model("whole")
    assert (Path("whole") / "model.safetensors").is_file()
    opened = easytx.load("whole", args={"silent": True})
    assert not opened.args["peft"]
    assert dict(opened.eval_model(train_file)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ArgumentError, match="needs an adapter"):
        opened.merge_adapter()


def test_masked_models_take_adapters_too(bert: str, train_file: str) -> None:
    made = model("bert", bert, output_dir="lora", **LORA)
    made.train_model(train_file)
    expected = dict(made.eval_model(train_file))
    assert dict(easytx.load("lora", args={"silent": True}).eval_model(train_file)) == pytest.approx(expected, rel=1e-5)


def test_an_adapter_may_be_asked_for_late(gpt2: str, train_file: str) -> None:
    made = model("causal", gpt2, output_dir="lora")
    made.eval_model(train_file)
    made.train_model(train_file, args={"peft": True, "overwrite_output_dir": True})
    assert (Path("lora") / "adapter_model.safetensors").is_file()


def test_a_folder_whose_model_is_gone_says_so(gpt2: str, train_file: str, tmp_path: Path) -> None:
    shutil.copytree(gpt2, tmp_path / "base")
    _trained(str(tmp_path / "base"), train_file)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(ModelNotFoundError, match=r"holds an adapter for the model at .* where there is none now"):
        easytx.load("lora")


def test_what_cannot_be_had_is_said_before_anything_is_loaded(gpt2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanguageModelingModel, "load_tokenizer", lambda _: pytest.fail("the tokenizer was loaded"))
    message = "qlora holds the weights in 4 bits, on CUDA or a CPU, but the device is mps. Pass use_cuda=False, or use "
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}"):
        four_bits.check(LanguageModelingModel.args_class(qlora=True), torch.device("mps"))
    with pytest.raises(ArgumentError, match=r"^loftq_config has an adapter .* in 4 bits\. Set qlora=True in args"):
        model("causal", gpt2, peft=True, loftq_config={"loftq_iter": 1})
    message = "loftq_bits is 8, but the weights under the adapter are those of the model in 4 bits, rounded once. Set "
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}loftq_bits=4"):
        model("causal", gpt2, qlora=True, loftq_bits=8, loftq_config={"loftq_iter": 1})
    with pytest.raises(ArgumentError, match=r"^loftq_iter is 2, but .* Set loftq_iter=1\.$"):
        model("causal", gpt2, qlora=True, loftq_config={"loftq_iter": 2})
    with pytest.raises(ArgumentError, match=r"^lora_config asks for LoftQ, which has arguments of its own\. Set qlora"):
        model("causal", gpt2, peft=True, lora_config={"init_lora_weights": "loftq"})
    with pytest.raises(ArgumentError, match="lora_config is for adapters"):
        model("causal", gpt2, lora_config={"r": 4})
    with pytest.raises(ArgumentError, match=r"lora_config sets 'rr', which peft.LoraConfig does not have\."):
        model("causal", gpt2, peft=True, lora_config={"rr": 4})
    missing = adapters.importlib.util.find_spec
    find = adapters.importlib.util
    monkeypatch.setattr(find, "find_spec", lambda name: None if name == "bitsandbytes" else missing(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'easytx\[qlora\]'"):
        model("causal", gpt2, qlora=True)
    monkeypatch.setattr(find, "find_spec", lambda name: None if name == "peft" else missing(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'easytx\[peft\]'"):
        model("causal", gpt2, peft=True)


def test_an_adapter_needs_a_model_that_was_saved(gpt2: str, train_file: str) -> None:
    message = (
        "An adapter lies over one model that was saved, but the weights of this model are new. Leave peft and qlora"
    )
    new = {"train_files": train_file}
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        model("gpt2", None, given=new, peft=True, mlm=False, vocab_size=300)
    with pytest.raises(ArgumentError, match=r", but this model is a generator and a discriminator\. Leave peft"):
        adapters.check_base(LanguageModelingModel.args_class(peft=True), is_new=False, has_parts=True)
    made = model("causal", gpt2, output_dir="whole")
    made.train_model(train_file)
    with pytest.raises(ArgumentError, match=r"^An adapter is saved without the weights under it, and those of this"):
        made.train_model(train_file, args={"peft": True, "overwrite_output_dir": True})
