"""Tokenizers: languages, added tokens, and two of them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from transformers import AutoTokenizer

from easytx import Seq2SeqModel
from easytx.errors import ArgumentError
from easytx.seq2seq.tokenizers import add_tokens, identity, language_start, marks_languages, set_languages
from easytx.testing import tiny_tokenizer

from .conftest import rows

Maker = Callable[..., Seq2SeqModel]


def test_texts_are_marked_with_their_languages(model: Maker) -> None:
    made = model("mbart", src_lang="de_DE", tgt_lang="fr_XX")
    data = made.prepared(rows(2), name="train_df", split="train", renames={})
    read, written = (made.tokenizer.convert_tokens_to_ids(code) for code in ("de_DE", "fr_XX"))
    assert {ids[-1] for ids in data.dataset["input_ids"]} == {read}
    assert {ids[-1] for ids in data.dataset["labels"]} == {written}
    assert made.generation_options(labelled=False)["decoder_start_token_id"] == written
    # The mark of the target is rotated to where the decoder starts.
    batch = made.collator()([{name: data.dataset[0][name] for name in ("input_ids", "attention_mask", "labels")}])
    assert batch["decoder_input_ids"][0, 0] == written


def test_the_defaults_are_those_of_the_peer(model: Maker) -> None:
    made = model("mbart")
    assert (made.tokenizer.src_lang, made.tokenizer.tgt_lang) == ("en_XX", "ro_RO")


def test_a_mark_at_the_beginning_is_forced_there() -> None:
    tokenizer = tiny_tokenizer("mbart")
    tokenizer.tgt_lang = "fr_XX"
    mark = tokenizer.convert_tokens_to_ids("fr_XX")
    assert language_start(tokenizer) == {"decoder_start_token_id": mark}

    class Marked:
        src_lang, tgt_lang, set_tgt_lang_special_tokens = "en_XX", "fr_XX", None
        convert_tokens_to_ids = tokenizer.convert_tokens_to_ids

        def __call__(self, text_target: str) -> dict[str, list[int]]:
            return {"input_ids": [mark, 5, 2]}

    assert language_start(Marked()) == {"forced_bos_token_id": mark}
    assert language_start(tiny_tokenizer("t5")) == {}


def test_an_unknown_language_is_named(model: Maker) -> None:
    message = "tgt_lang is 'de-DE', which the tokenizer does not know. Did you mean 'de_DE'?"
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        model("mbart", tgt_lang="de-DE")


def test_defaults_that_a_tokenizer_does_not_know_are_left_out() -> None:
    class Codes:
        unk_token_id, src_lang, tgt_lang, set_tgt_lang_special_tokens = 3, "eng_Latn", None, None

        def convert_tokens_to_ids(self, code: str) -> int:
            return 7 if code == "deu_Latn" else 3

    tokenizer = Codes()
    args = Seq2SeqModel.args_class(tgt_lang="deu_Latn")
    set_languages(tokenizer, args)
    assert (tokenizer.src_lang, tokenizer.tgt_lang) == ("eng_Latn", "deu_Latn")


@pytest.mark.parametrize("tokens", [["<sep>", "<end>"], {"additional_special_tokens": ["<sep>", "<end>"]}])
def test_added_tokens_are_never_split(tokens: object) -> None:
    tokenizer = tiny_tokenizer("bert")
    before = len(tokenizer)
    add_tokens(tokenizer, tokens)
    assert len(tokenizer) == before + 2
    assert tokenizer.tokenize("a<sep>film <end>") == ["a", "<sep>", "film", "<end>"]
    assert tokenizer.decode(tokenizer("a <end>")["input_ids"], skip_special_tokens=True) == "a"


def test_a_token_may_be_added_by_its_role() -> None:
    tokenizer = tiny_tokenizer("bert")
    add_tokens(tokenizer, {"eos_token": "<end>", "additional_special_tokens": ["<sep>"]})
    assert tokenizer.eos_token == "<end>"
    assert tokenizer.tokenize("a<sep>") == ["a", "<sep>"]


def test_added_tokens_have_embeddings_on_their_side(model: Maker) -> None:
    given = {"additional_special_tokens_encoder": ["<in>"], "additional_special_tokens_decoder": ["<x>", "<y>"]}
    made = model("bert", "roberta", given=given)
    sizes = [len(tiny_tokenizer("bert")) + 1, len(tiny_tokenizer("roberta")) + 2]
    parts = (made.model.encoder, made.model.decoder)
    assert [part.get_input_embeddings().num_embeddings for part in parts] == sizes
    assert [made.config.encoder.vocab_size, made.config.decoder.vocab_size] == sizes
    made.train_model(rows(4).assign(input_text="a <in> b", target_text="<y>"), args={"no_save": False})
    again = Seq2SeqModel("bert", encoder_decoder_name="outputs", args={"silent": True})
    assert again.tokenizer.tokenize("<in>") == ["<in>"]
    assert again.target_tokenizer.tokenize("<y>") == ["<y>"]
    assert again.predict(["a <in> b"]) == made.predict(["a <in> b"])


def test_two_tokenizers_are_saved_and_found_again(model: Maker) -> None:
    made = model("bert", "roberta")
    assert type(made.tokenizer).__name__ != type(made.target_tokenizer).__name__
    made.save_model("there")
    for folder, expected in (("there", made.tokenizer), ("there/decoder", made.target_tokenizer)):
        found = AutoTokenizer.from_pretrained(folder)
        assert found("The film was a joy")["input_ids"] == expected("The film was a joy")["input_ids"]


def test_one_tokenizer_serves_two_models_of_one_name(model: Maker) -> None:
    made = model("bert", "bert")
    assert made.tokenizer is made.target_tokenizer


def test_other_targets_are_told_apart_by_the_second_tokenizer() -> None:
    bert, roberta, mbart = (tiny_tokenizer(name) for name in ("bert", "roberta", "mbart"))
    assert identity((bert, bert)) != identity((bert, roberta))
    first = identity((mbart, mbart))
    mbart.tgt_lang = "fr_XX"
    assert identity((mbart, mbart)) != first
    assert marks_languages(mbart)
