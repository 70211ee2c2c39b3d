"""ELECTRA: two networks trained together, saved apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer

import easytx
from easytx.errors import ArgumentError
from easytx.language_modeling.masking import IGNORED
from easytx.testing import tiny_checkpoint

from .conftest import TINY, model

PART = {**TINY["bert"], "embedding_size": 8}


def _new(train_file: str, **args: Any) -> Any:
    configs = {"generator_config": PART, "discriminator_config": {**PART, "num_hidden_layers": 2}}
    return model("electra", None, given={"train_files": train_file}, vocab_size=400, **configs | args)


def test_the_two_share_their_embeddings_unless_told_otherwise(train_file: str) -> None:
    tied, apart = (_new(train_file, tie_generator_and_discriminator_embeddings=tie).model for tie in (True, False))
    tables = [
        [part.electra.embeddings.word_embeddings.weight for part in (net.generator_model, net.discriminator_model)]
        for net in (tied, apart)
    ]
    assert tables[0][0] is tables[0][1]
    assert tables[1][0] is not tables[1][1]
    assert tied.generator_model.generator_lm_head.weight is tables[0][0]
    with pytest.raises(ArgumentError, match="cannot share their word_embeddings"):
        _ = _new(train_file, discriminator_config={**PART, "embedding_size": 16}).model


def test_the_loss_is_the_generators_and_the_weighted_one_of_the_discriminator(train_file: str) -> None:
    made = _new(train_file, discriminator_loss_weight=0.0)
    network = made.model.eval()
    ids = torch.tensor([[2, 20, 21, 22, 3], [2, 23, 24, 3, 0]])
    mask = (ids != 0).long()
    labels = torch.full_like(ids, IGNORED)
    labels[0, 2], labels[1, 1] = 40, 41
    with torch.no_grad():
        found = network(input_ids=ids, attention_mask=mask, labels=labels)
        again = network(input_ids=ids[:1], attention_mask=mask[:1], labels=labels[:1])
        network.weight = 50.0
        weighted = network(input_ids=ids, attention_mask=mask, labels=labels)
    expected = torch.nn.functional.cross_entropy(found.logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(found.loss, expected)
    told = torch.nn.functional.binary_cross_entropy_with_logits(
        weighted.replaced_logits[mask.bool()], weighted.replaced[mask.bool()].float()
    )
    torch.testing.assert_close(weighted.loss, expected + 50 * told)
    # Only what was masked can have been replaced, and in evaluation a row's draws are its own.
    assert not found.replaced[labels == IGNORED].any()
    assert torch.equal(again.replaced, found.replaced[:1])


def test_the_generator_learns_nothing_from_the_discriminator(train_file: str) -> None:
    network = _new(train_file, tie_generator_and_discriminator_embeddings=False).model.train()
    ids = torch.tensor([[2, 20, 21, 22, 3]])
    labels = torch.tensor([[IGNORED, 30, IGNORED, IGNORED, IGNORED]])
    outputs = network(input_ids=ids, labels=labels)
    torch.nn.functional.binary_cross_entropy_with_logits(outputs.replaced_logits, outputs.replaced.float()).backward()
    assert all(parameter.grad is None for parameter in network.generator_model.parameters())
    assert any(parameter.grad is not None for parameter in network.discriminator_model.parameters())


def test_the_parts_are_saved_apart_and_open_everywhere(train_file: str) -> None:
    made = _new(train_file, output_dir="out")
    made.train_model(train_file)
    expected = made.eval_model(train_file)
    assert {"perplexity", "generator_loss", "discriminator_loss", "discriminator_accuracy"} <= expected.keys()
    assert expected["eval_loss"] == pytest.approx(
        expected["generator_loss"] + 50 * expected["discriminator_loss"], rel=0.02
    )
    opened = easytx.load("out", args={"silent": True})
    assert dict(opened.eval_model(train_file)) == pytest.approx(dict(expected), rel=1e-5)
    state = made.model.state_dict()
    generator = AutoModelForMaskedLM.from_pretrained("out/generator_model")
    discriminator = AutoModelForPreTraining.from_pretrained("out/discriminator_model")
    for name, part in (("generator_model", generator), ("discriminator_model", discriminator)):
        assert all(torch.equal(value, state[f"{name}.{key}"]) for key, value in part.state_dict().items())
        assert len(AutoTokenizer.from_pretrained(f"out/{name}")) == len(made.tokenizer)


def test_a_discriminator_becomes_a_classifier(train_file: str, tmp_path: Path) -> None:
    made = _new(train_file)
    made.save_discriminator("there")
    made.save_generator("there")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"discriminator_model", "generator_model"}
    classifier = easytx.ClassificationModel("electra", "there/discriminator_model", args={"silent": True})
    classifier.train_model(pd.DataFrame({"text": ["good film", "bad film", "a film", "b"], "labels": list("abab")}))
    assert set(classifier.predict(["good film"]).predictions) <= {"a", "b"}
    assert classifier.model.electra.embeddings.word_embeddings.weight.shape == (len(made.tokenizer), 8)


def test_an_interrupted_training_goes_on(train_file: str) -> None:
    args = {"num_train_epochs": 2, "save_model_every_epoch": True, "save_total_limit": None}
    whole = _new(train_file, output_dir="whole", **args)
    whole.train_model(train_file)
    steps = sorted(Path("whole").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    again = _new(train_file, output_dir="again", **args)
    again.train_model(train_file, resume_from_checkpoint=str(steps[0]))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value)


def test_pretrained_parts_are_named(folder: Path, train_file: str, eval_file: str) -> None:
    generator = tiny_checkpoint(folder / "g", "electra", head="AutoModelForMaskedLM")
    discriminator = tiny_checkpoint(folder / "d", "electra", head="AutoModelForPreTraining", seed=1)
    given = {"generator_name": str(generator), "discriminator_name": str(discriminator)}
    made = model("electra", "electra", given=given, evaluate_during_training=True, num_train_epochs=2)
    made.train_model(train_file, eval_file=eval_file)
    with pytest.raises(ArgumentError, match="label_smoothing_factor is not for ELECTRA"):
        made.objective.loss(0.1)
    with pytest.raises(ArgumentError, match="but discriminator_name is missing"):
        model("electra", "electra", given={"generator_name": str(generator)})
    single = model("electra", str(generator))
    assert type(single.model).__name__ == "ElectraForMaskedLM"
    with pytest.raises(ArgumentError, match=r"An? electra model has no generator_model"):
        single.save_generator("there")
