"""Two models put together, and models made from scratch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, EncoderDecoderModel

import easytx
from easytx import Seq2SeqModel
from easytx.errors import ArgumentError, CheckpointError
from easytx.testing import tiny_checkpoint, tiny_tokenizer

from .conftest import ARGS, rows

Maker = Callable[..., Seq2SeqModel]


@pytest.fixture(params=[("bert", "bert"), ("bert", "roberta"), ("roberta", "bert")], ids="-".join)
def pair(request: pytest.FixtureRequest, model: Maker) -> Seq2SeqModel:
    return model(*request.param)


def _batch(model: Seq2SeqModel, number: int = 3) -> Any:
    data = model.prepared(rows(number), name="train_df", split="train", renames={})
    names = ("input_ids", "attention_mask", "labels")
    return model.collator()([{name: row[name] for name in names} for row in data.dataset])


def test_the_decoder_reads_the_labels_one_to_the_right(pair: Seq2SeqModel) -> None:
    batch = _batch(pair)
    start, pad = pair.config.decoder_start_token_id, pair.config.pad_token_id
    labels = batch["labels"]
    assert start == pair.target_tokenizer.cls_token_id
    assert batch["decoder_input_ids"][:, 0].tolist() == [start] * len(labels)
    assert (
        batch["decoder_input_ids"][:, 1:].tolist() == labels[:, :-1].masked_fill(labels[:, :-1] == -100, pad).tolist()
    )
    assert (labels == -100).any()


def test_a_word_to_be_written_is_never_seen_before(pair: Seq2SeqModel) -> None:
    batch = _batch(pair, 1)
    network = pair.model.eval()

    def logits(**changes: Any) -> torch.Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"} | changes
        with torch.no_grad():
            found: torch.Tensor = network(**inputs).logits
        return found

    before = logits()
    changed = batch["decoder_input_ids"].clone()
    changed[0, 3] = (changed[0, 3] + 1) % pair.config.decoder.vocab_size
    after = logits(decoder_input_ids=changed)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3:], before[:, 3:])
    # What is read counts for every word that is written.
    other = batch["input_ids"].clone()
    other[0, 1] = (other[0, 1] + 1) % pair.config.encoder.vocab_size
    assert ((logits(input_ids=other) - before).abs().amax(dim=-1) > 1e-6).all()


def test_start_end_and_padding_are_set_everywhere(pair: Seq2SeqModel) -> None:
    tokenizer = pair.target_tokenizer
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    expected = (tokenizer.cls_token_id, end, tokenizer.pad_token_id)
    for config in (pair.config, pair.model.config, pair.model.generation_config):
        assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == expected
    assert pair.config.decoder.is_decoder
    assert pair.config.decoder.add_cross_attention
    pair.train_model(rows(4))
    assert (pair.config.decoder_start_token_id, pair.config.eos_token_id, pair.config.pad_token_id) == expected


def test_a_pair_learns_what_it_is_shown(pair: Seq2SeqModel) -> None:
    frame = rows(4)
    pair.train_model(frame, args={"num_train_epochs": 60, "train_batch_size": 4})
    assert pair.predict(frame["input_text"].tolist()) == frame["target_text"].tolist()
    assert pair.eval_model(frame)["eval_loss"] < 1


def test_a_saved_pair_opens_in_every_way_with_the_same_answers(pair: Seq2SeqModel) -> None:
    frame = rows(6)
    pair.train_model(frame, args={"num_train_epochs": 3, "no_save": False})
    texts = frame["input_text"].tolist()
    expected, loss = pair.predict(texts), pair.eval_model(frame)["eval_loss"]
    args = {"silent": True}
    for again in (
        easytx.load("outputs", args=args),
        Seq2SeqModel(pair.config.encoder.model_type, encoder_decoder_name="outputs", args=args),
        Seq2SeqModel("outputs", args=args),
    ):
        assert again.predict(texts) == expected
        assert again.eval_model(frame)["eval_loss"] == pytest.approx(loss, rel=1e-5)
    network = AutoModelForSeq2SeqLM.from_pretrained("outputs").eval()
    assert isinstance(network, EncoderDecoderModel)
    inputs = AutoTokenizer.from_pretrained("outputs")(texts[:1], return_tensors="pt").to("cpu")
    ids = network.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=12)
    assert pair.target_tokenizer.batch_decode(ids, skip_special_tokens=True) == expected[:1]


def test_a_folder_with_its_tokenizers_in_two_folders_opens(model: Maker, tmp_path: Path) -> None:
    made = model("bert", "roberta")
    made.save_model("theirs")
    theirs = tmp_path / "theirs"
    (theirs / "encoder").mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(theirs / file, theirs / "encoder" / file)
    (theirs / "model_args.json").write_text('{"model_class": "Seq2SeqModel", "max_length": 5}', "utf-8")
    again = Seq2SeqModel("bert", encoder_decoder_name=theirs, args={"silent": True, "fp16": False})
    assert again.args["max_length"] == 5
    assert again.predict(["The film"]) == model("bert", "roberta", max_length=5).predict(["The film"])


def test_the_best_weights_of_a_pair_come_back(model: Maker) -> None:
    made = model("bert", "roberta", evaluate_during_training=True, learning_rate=3e-2, num_train_epochs=4)
    details = made.train_model(rows(8), eval_data=rows(12).iloc[8:], args={"no_save": False})
    best = min(details.training_details["eval_loss"])
    assert made.eval_model(rows(12).iloc[8:])["eval_loss"] == pytest.approx(best, rel=1e-4)


def test_an_encoder_that_cannot_attend_is_refused_as_a_decoder(checkpoint: Callable[[str], Path]) -> None:
    decoder = checkpoint("modernbert")
    message = (
        f"'{decoder}' is a modernbert model, which cannot attend to an encoder. "
        "Give a decoder_name of another type, such as a bert or roberta model."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        Seq2SeqModel("bert", checkpoint("bert"), decoder)


def test_models_of_different_widths_are_put_together(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    wide = tiny_checkpoint(tmp_path / "wide", "bert", hidden_size=64)
    model = Seq2SeqModel("bert", wide, checkpoint("bert"), args=ARGS)
    frame = rows(4)
    model.train_model(frame, args={"no_save": False})
    assert easytx.load("outputs", args={"silent": True}).predict(frame["input_text"]) == model.predict(
        frame["input_text"]
    )


def test_the_seed_draws_what_is_new(model: Maker) -> None:
    name = "decoder.bert.encoder.layer.0.crossattention.self.query.weight"
    states = [model("bert", "bert", manual_seed=seed).model.state_dict()[name] for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("architecture", ["bart", "t5", "marian"])
def test_a_model_from_scratch_has_the_size_that_is_asked_for(architecture: str) -> None:
    tokenizer = tiny_tokenizer(architecture)
    layers = {"encoder_layers": 1, "decoder_layers": 1}
    size = {"d_model": 16, **({"num_layers": 1, "d_kv": 4, "d_ff": 8} if architecture == "t5" else layers)}
    model = Seq2SeqModel(architecture, tokenizer=tokenizer, args={**ARGS, "config": size})
    assert model.config.vocab_size == len(tokenizer)
    assert model.model.get_input_embeddings().weight.shape == (len(tokenizer), 16)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    frame = rows(4)
    model.train_model(frame, args={"no_save": False})
    assert easytx.load("outputs", args={"silent": True}).predict(frame["input_text"]) == model.predict(
        frame["input_text"]
    )


def test_the_tokenizer_of_the_caller_stays_as_it_is() -> None:
    tokenizer = tiny_tokenizer("t5")
    before = len(tokenizer)
    model = Seq2SeqModel("t5", tokenizer=tokenizer, additional_special_tokens_encoder=["<new>"], args=ARGS)
    assert len(model.tokenizer) == before + 1
    assert len(tokenizer) == before


def test_a_new_model_of_an_unknown_kind_is_refused() -> None:
    tokenizer = tiny_tokenizer("t5")
    with pytest.raises(CheckpointError, match=r"^transformers has no architecture 't6'\.$"):
        Seq2SeqModel("t6", tokenizer=tokenizer)
    with pytest.raises(ArgumentError, match=r"^args\.config sets 'num_layer', which a t5 model does not have\."):
        Seq2SeqModel("t5", tokenizer=tokenizer, args={"config": {"num_layer": 2}})
