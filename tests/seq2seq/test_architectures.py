"""Models for long texts and of many languages, and GPT-2 as a decoder: trained, saved, opened again."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    LEDConfig,
    M2M100Config,
    M2M100Tokenizer,
    MBart50Tokenizer,
    MBartConfig,
    NllbTokenizer,
)

import easytx
from easytx import Seq2SeqModel
from easytx.errors import ArgumentError
from easytx.testing import CORPUS, tiny_tokenizer

from .conftest import ARGS, rows

SIZE: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "init_std": 0.1,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz▁"


def _nllb(folder: Path) -> Any:
    vocabulary = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    return NllbTokenizer(vocab=vocabulary, model_max_length=128)


def _mbart50(folder: Path) -> Any:
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *LETTERS]
    return MBart50Tokenizer(vocab=[(token, -1.0) for token in tokens], model_max_length=128)


def _m2m100(folder: Path) -> Any:
    sentencepiece: Any = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=300, hard_vocab_limit=False, minloglevel=2
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    tokens = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *names])
    folder.mkdir()
    spm, vocabulary = folder / "spm.model", folder / "vocabulary.json"
    spm.write_bytes(model.getvalue())
    vocabulary.write_text(json.dumps({token: place for place, token in enumerate(tokens)}), "utf-8")
    kind: Any = M2M100Tokenizer
    return kind(str(vocabulary), str(spm), model_max_length=128)


MODELS: dict[str, tuple[Callable[[Path], Any], Callable[..., Any], dict[str, Any]]] = {
    "led": (lambda _: tiny_tokenizer("bart"), LEDConfig, {"attention_window": 8, "decoder_start_token_id": 2}),
    "m2m100": (_m2m100, M2M100Config, {"decoder_start_token_id": 2}),
    "mbart50": (_mbart50, MBartConfig, {"decoder_start_token_id": 2}),
    "nllb": (_nllb, M2M100Config, {"decoder_start_token_id": 2}),
}


def _checkpoint(folder: Path, name: str, **changes: Any) -> Path:
    make, kind, more = MODELS[name]
    tokenizer = make(folder.with_name("tokenizer"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # M2M100's marks are beyond what its tokenizer counts.
        size = len(tokenizer) + 110 * (name == "m2m100")
        network = AutoModelForSeq2SeqLM.from_config(kind(vocab_size=size, **{**SIZE, **more, **changes}))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("led", {}),
        ("m2m100", {"src_lang": "de", "tgt_lang": "fr"}),
        ("mbart50", {"src_lang": "de_DE", "tgt_lang": "fr_XX"}),
        ("nllb", {"src_lang": "deu_Latn", "tgt_lang": "fra_Latn"}),
    ],
)
def test_it_is_trained_saved_and_opened_again(name: str, languages: dict[str, str], tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / name, name)
    args = {
        **ARGS,
        **languages,
        "no_save": False,
        "overwrite_output_dir": True,
        "num_train_epochs": 2,
        "max_seq_length": 120,
    }
    model = Seq2SeqModel(encoder_decoder_type=name, encoder_decoder_name=folder, args=args)
    before = model.eval_model(rows(8))["eval_loss"]
    model.train_model(rows(8))
    assert model.eval_model(rows(8))["eval_loss"] < before
    texts = [*rows(3)["input_text"], "a"]
    written = model.predict(texts)
    for again in (easytx.load("outputs"), Seq2SeqModel(encoder_decoder_type=name, encoder_decoder_name="outputs")):
        assert again.predict(texts) == written
    if languages:
        code = languages["tgt_lang"]
        mark = model.tokenizer.convert_tokens_to_ids(f"__{code}__" if name == "m2m100" else code)
        assert mark != model.tokenizer.unk_token_id
        assert mark in model.generation_options(labelled=False).values()
        data = model.prepared(rows(2), name="train_df", split="train", renames={})
        assert all(mark in labels for labels in data.dataset["labels"])
        assert AutoTokenizer.from_pretrained("outputs").src_lang == languages["src_lang"]


@pytest.mark.parametrize(
    ("name", "some"), [("nllb", "'ace_Arab', 'ace_Latn', 'acm_Arab'"), ("m2m100", "'af', 'am', 'ar'")]
)
def test_the_language_to_write_has_to_be_named(name: str, some: str, tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / name, name)
    with pytest.raises(ArgumentError) as refused:
        Seq2SeqModel(encoder_decoder_type=name, encoder_decoder_name=folder)
    assert str(refused.value) == (
        f"The tokenizer marks texts with their language. Set tgt_lang in args, such as {some}."
    )


def test_the_language_to_read_stays_unnamed_in_a_saved_folder(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "nllb", "nllb")
    args = {**ARGS, "tgt_lang": "fra_Latn"}
    Seq2SeqModel(encoder_decoder_type="nllb", encoder_decoder_name=folder, args=args).save_model("outputs")
    again = easytx.load("outputs")
    assert (again.tokenizer.src_lang, again.tokenizer.tgt_lang) == ("eng_Latn", "fra_Latn")


@pytest.mark.parametrize("architecture", ["blenderbot", "blenderbot-small"])
def test_a_model_of_conversations_is_one_of_texts_too(architecture: str, model: Callable[..., Seq2SeqModel]) -> None:
    made = model(architecture, num_train_epochs=2)
    frame = rows(6)
    data = made.prepared(frame, name="train_df", split="train", renames={})
    batch = made.collator()([{name: data.dataset[0][name] for name in ("input_ids", "attention_mask", "labels")}])
    with torch.no_grad():
        expected = made.model(**{name: value for name, value in batch.items() if name != "decoder_input_ids"}).logits
        torch.testing.assert_close(made.model(**{**batch, "labels": None}).logits, expected)
    before = made.eval_model(frame, output_dir="scores")["eval_loss"]
    made.train_model(frame)
    assert made.eval_model(frame, output_dir="scores")["eval_loss"] < before


def test_gpt2_writes_what_an_encoder_has_read(model: Callable[..., Seq2SeqModel]) -> None:
    pair = model("bert", "gpt2", no_save=False, overwrite_output_dir=True, num_train_epochs=6, max_seq_length=64)
    before = pair.eval_model(rows(6))["eval_loss"]
    pair.train_model(rows(6))
    assert pair.eval_model(rows(6))["eval_loss"] < before - 0.5
    again = Seq2SeqModel("bert", encoder_decoder_name="outputs", args={"silent": True})
    assert again.predict(list(rows(6)["input_text"])) == pair.predict(list(rows(6)["input_text"]))


def test_an_led_reads_more_than_it_writes(tmp_path: Path) -> None:
    sizes = {"max_encoder_position_embeddings": 96, "max_decoder_position_embeddings": 16}
    folder = _checkpoint(tmp_path / "led", "led", **sizes)
    long = rows(4).assign(target_text=" ".join(["the long story"] * 20))
    args = {**ARGS, "max_seq_length": 96}
    model = Seq2SeqModel(encoder_decoder_type="led", encoder_decoder_name=folder, args=args)
    with pytest.warns(UserWarning, match=r"^4 of 4 rows of train_df are longer than max_target_length=16 tokens"):
        model.train_model(long)
    for what, value, message in (
        ("max_seq_length", 97, f"max_seq_length is 97, but '{folder}' reads at most 96 tokens."),
        ("max_target_length", 17, f"max_target_length is 17, but '{folder}' writes at most 16 tokens."),
    ):
        with pytest.raises(ArgumentError, match=f"^{re.escape(message)} Set {what}={value - 1} or less"):
            model.train_model(long, args={**args, what: value})


@pytest.mark.parametrize("architectures", [["bart"], ["bert", "bert"]], ids="-".join)
def test_no_more_is_written_than_there_are_places_for(
    architectures: list[str], model: Callable[..., Seq2SeqModel]
) -> None:
    made = model(*architectures, max_length=513)
    for method, data in ((made.predict, ["a film"]), (made.train_model, rows(2))):
        with pytest.raises(ArgumentError) as refused:
            method(data)
        assert str(refused.value) == (
            f"max_length is 513, but '{made.args.model_name}' writes at most 512 tokens. Set max_length=512 or less."
        )
    made.args.max_length = 512
    made.args.min_length = 512
    assert made.predict(
        ["a film"],
    )[0]
