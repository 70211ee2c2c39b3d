"""New models: a vocabulary learnt from files, a configuration that fits it, and weights of the training's seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import easytx
from easytx.errors import ArgumentError, DataError
from easytx.language_modeling import LanguageModelingArgs, LanguageModelingModel
from easytx.language_modeling.scratch import new_tokenizer

from .conftest import TINY, model

CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "gpt2": "GPT2Tokenizer",
    "llama": "TokenizersBackend",
    "roberta": "RobertaTokenizer",
}


def _new(architecture: str, train_file: str, **args: Any) -> Any:
    settings = {"mlm": architecture not in ("gpt2", "llama"), "vocab_size": 400, "config": TINY[architecture]}
    return model(architecture, None, given={"train_files": train_file}, **settings | args)


@pytest.mark.parametrize("architecture", TINY)
def test_a_new_model_is_trained_saved_and_opened(architecture: str, train_file: str, tmp_path: Path) -> None:
    made = _new(architecture, train_file, output_dir="out")
    assert type(made.tokenizer).__name__ == CLASSES[architecture]
    assert made.config.vocab_size == len(made.tokenizer) <= 400
    assert made.config.pad_token_id == made.tokenizer.pad_token_id
    made.train_model(train_file)
    text = "Who wrote it? Élan, in London."
    assert made.model.config.vocab_size == made.model.get_input_embeddings().num_embeddings
    opened = easytx.load("out", args={"silent": True})
    assert type(opened.tokenizer) is type(AutoTokenizer.from_pretrained("out")) is type(made.tokenizer)
    for tokenizer in (opened.tokenizer, AutoTokenizer.from_pretrained("out")):
        assert tokenizer(text)["input_ids"] == made.tokenizer(text)["input_ids"]
    expected, found = made.eval_model(train_file), opened.eval_model(train_file)
    assert dict(found) == pytest.approx(dict(expected), rel=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_vocabulary_is_the_same_each_time(architecture: str, train_file: str) -> None:
    args = LanguageModelingArgs(vocab_size=400)
    learnt = [
        new_tokenizer(train_file, model_type=architecture, args=args, masked=architecture == "bert") for _ in range(4)
    ]
    assert all(tokenizer.get_vocab() == learnt[0].get_vocab() for tokenizer in learnt)


def test_the_seed_of_the_training_draws_the_weights(train_file: str) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        made = _new("gpt2", train_file, manual_seed=seed, no_save=True)
        made.train_model(train_file)
        return dict(made.model.state_dict())

    first, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])


def test_special_tokens_are_where_they_belong(train_file: str) -> None:
    bytes_ = _new("roberta", train_file, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<order>"])
    assert bytes_.tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = _new("bert", train_file, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<order>"])
    assert pieces.tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for made in (bytes_, pieces):
        assert "<order>" in made.tokenizer.tokenize("an <order> came")
    with pytest.raises(ArgumentError, match="must begin with five tokens"):
        _new("roberta", train_file, special_tokens=["<s>"])


def test_the_texts_of_word_pieces_are_normalised_as_the_arguments_say(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("Élan élan Élan élan 漢字 漢字\n", "utf-8")

    def vocabulary(**args: Any) -> set[str]:
        made = new_tokenizer(
            str(path), model_type="bert", args=LanguageModelingArgs(vocab_size=200, **args), masked=True
        )
        return set(made.get_vocab())

    assert {"Elan", "elan", "漢", "字"} <= vocabulary()
    assert {"Élan", "élan"} <= vocabulary(strip_accents=False)
    assert "Elan" not in vocabulary(do_lower_case=True)
    assert "漢字" in vocabulary(handle_chinese_chars=False)
    assert "Elan" not in vocabulary(min_frequency=3)


def test_a_vocabulary_can_be_learnt_apart(train_file: str, bert: str, tmp_path: Path) -> None:
    made = model("bert", bert, vocab_size=300)
    with pytest.raises(ArgumentError, match=r"belong to its own vocabulary\. Give use_trained_tokenizer=False"):
        made.train_tokenizer(train_file)
    learnt = made.train_tokenizer(train_file, output_dir=tmp_path / "words", use_trained_tokenizer=False)
    assert made.tokenizer.get_vocab() != learnt.get_vocab()
    new = model("bert", None, given={"tokenizer_name": str(tmp_path / "words")}, config=TINY["bert"])
    assert new.tokenizer.get_vocab() == learnt.get_vocab()
    new.train_model(train_file)
    again = _new("gpt2", train_file)
    again.train_tokenizer(train_file, tokenizer_name=str(tmp_path / "more"))
    assert (tmp_path / "more" / "tokenizer.json").is_file()
    assert again.model.get_input_embeddings().num_embeddings == len(again.tokenizer)


def test_what_a_new_model_lacks_is_said(train_file: str) -> None:
    with pytest.raises(ArgumentError, match="Set vocab_size in args"):
        LanguageModelingModel("bert", None, train_files=train_file)
    with pytest.raises(ArgumentError, match=r"Give train_files, .* called 'bert', name it as the second argument"):
        LanguageModelingModel("bert", None, args={"vocab_size": 100})
    with pytest.raises(DataError, match="where there is no file"):
        LanguageModelingModel("bert", None, train_files="no.txt", args={"vocab_size": 100})
    with pytest.raises(ArgumentError, match="needs an architecture of transformers as model_type"):
        LanguageModelingModel("causal", None, train_files=train_file, args={"vocab_size": 100})
    with pytest.raises(ArgumentError, match=r"args.config sets 'hiden_size'"):
        LanguageModelingModel("bert", None, train_files=train_file, args={"config": {"hiden_size": 3}})
