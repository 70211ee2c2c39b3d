"""Tiny checkpoints open and behave like the architectures whose names they bear."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

import easytx.testing
from easytx.errors import ArgumentError
from easytx.testing import ARCHITECTURES, CORPUS, DECODER_ARCHITECTURES, tiny_checkpoint, tiny_config, tiny_tokenizer

TOKENIZER_CLASSES = {
    "albert": "AlbertTokenizer",
    "bert": "BertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "longformer": "RobertaTokenizer",
    "modernbert": "TokenizersBackend",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
BYTE_LEVEL = {"longformer", "modernbert", "roberta"}
WITH_TOKEN_TYPES = {"bert", "deberta-v2", "distilbert", "electra"}
SPACE_IN_OFFSETS = {"deberta-v2", "modernbert"}
LONG = ("what did the doctor say?", "The doctor gave her a drug against the pain, but it did not help.")
SHORT = ("who?", "The cat sat.")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in a folder that has the architecture's name."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / request.param, request.param)


def _logits(model: Any, inputs: Any) -> torch.Tensor:
    """Return logits of shape (rows, labels) or (rows, tokens, labels); start and end count as two labels."""
    with torch.no_grad():
        outputs = model(**inputs)
    if "start_logits" in outputs:
        return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
    return outputs.logits


def test_public_names_are_sorted() -> None:
    assert list(easytx.testing.__all__) == sorted(easytx.testing.__all__)
    assert all(hasattr(easytx.testing, name) for name in easytx.testing.__all__)


def test_auto_tokenizer_opens_the_class_and_vocabulary_that_were_written(folder: Path) -> None:
    built = tiny_tokenizer(folder.name)
    opened = AutoTokenizer.from_pretrained(folder)
    assert type(opened) is type(built)
    assert type(opened).__name__ == TOKENIZER_CLASSES[folder.name]
    assert opened.get_vocab() == built.get_vocab()
    assert opened.model_max_length == 512
    assert opened.padding_side == "right"
    text = "Mary Smith flew to Zürich on 3 May."
    assert opened(text)["input_ids"] == built(text)["input_ids"]


def test_config_agrees_with_the_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    assert config.model_type == folder.name
    assert config.vocab_size == len(tokenizer)
    assert config.pad_token_id == tokenizer.pad_token_id
    assert getattr(config, "sep_token_id", None) in (None, tokenizer.sep_token_id)
    assert (config.hidden_size, config.num_hidden_layers) == (32, 2)
    assert config.dtype == torch.float32


@pytest.mark.parametrize(
    ("head", "labels"),
    [
        ("AutoModelForSequenceClassification", 3),
        ("AutoModelForTokenClassification", 5),
        ("AutoModelForQuestionAnswering", 2),
    ],
)
def test_padding_does_not_change_the_logits(folder: Path, head: str, labels: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    model = getattr(transformers, head).from_pretrained(folder, num_labels=labels).eval()
    pairs = tokenizer([LONG[0], SHORT[0]], [LONG[1], SHORT[1]], padding=True, return_tensors="pt")
    logits = _logits(model, pairs)
    lengths = pairs["attention_mask"].sum(dim=1).tolist()
    assert lengths[0] > lengths[1] + 5
    per_token = head != "AutoModelForSequenceClassification"
    assert logits.shape == ((2, lengths[0], labels) if per_token else (2, labels))
    assert bool(logits.isfinite().all())
    for row, pair in enumerate((LONG, SHORT)):
        alone = _logits(model, tokenizer(*pair, return_tensors="pt"))[0]
        in_batch = logits[row, : lengths[row]] if per_token else logits[row]
        torch.testing.assert_close(alone, in_batch, atol=1e-4, rtol=0)
    # Were all texts alike to the model, the comparison above would mean nothing.
    first = logits[:, 0] if per_token else logits
    assert float((first[0] - first[1]).abs().max()) > 1e-3


def test_512_tokens_are_not_too_many(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder, num_labels=2).eval()
    inputs = tokenizer(["the cat " * 400], truncation=True, return_tensors="pt")
    logits = _logits(model, inputs)
    assert logits.shape == (1, 512, 2)
    assert bool(logits.isfinite().all())


def test_special_tokens_surround_the_text(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = [getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad", "unk", "mask")]
    assert len(set(special)) == 5
    ids = tokenizer(f"the film was {tokenizer.mask_token}.")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert ids.count(tokenizer.mask_token_id) == 1
    text = "the zebra was in the garden"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_words_of_the_corpus_are_whole_and_foreign_characters_unknown(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = {word for line in CORPUS for word in re.findall(r"(?:^|(?<= ))[A-Za-z]+", line)}
    assert len(words) > 250
    assert [word for word in sorted(words) if len(tokenizer.tokenize(f" {word}")) != 1] == []
    assert len(tokenizer.tokenize("zebra")) > 1
    assert (tokenizer.unk_token_id in tokenizer("中")["input_ids"]) == (folder.name not in BYTE_LEVEL)


def test_pairs_keep_their_sides_apart(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoding = tokenizer("what is it?", "it is red.")
    sides = encoding.sequence_ids(0)
    assert sides[0] is None
    assert sides[-1] is None
    assert [side for side in sides if side is not None] == sorted(side for side in sides if side is not None)
    assert {0, 1} <= set(sides)
    assert ("token_type_ids" in encoding) == (folder.name in WITH_TOKEN_TYPES)
    if folder.name in WITH_TOKEN_TYPES:
        types = [kind for kind, side in zip(encoding["token_type_ids"], sides, strict=True) if side is not None]
        assert types == [side for side in sides if side is not None]


def test_albert_reads_token_types_that_its_tokenizer_returns_only_when_asked(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path, "albert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    assert model.config.type_vocab_size == 2
    unasked = tokenizer(*SHORT, return_tensors="pt")
    asked = tokenizer(*SHORT, return_tensors="pt", return_token_type_ids=True)
    assert asked["token_type_ids"].max() == 1
    with torch.no_grad():
        difference = model(**unasked).pooler_output - model(**asked).pooler_output
    assert float(difference.abs().max()) > 1e-3


def test_offsets_point_into_the_text(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Anna met John in Rome."
    encoding = tokenizer(text, return_offsets_mapping=True)
    start, end = encoding["offset_mapping"][encoding.char_to_token(text.index("John"))]
    assert text[start:end] == (" John" if folder.name in SPACE_IN_OFFSETS else "John")
    assert encoding["offset_mapping"][0] == (0, 0)


def test_word_ids_name_the_words_that_were_given(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    if folder.name == "modernbert":
        # Without a tokenizer class of its own the option is stored, but does not reach the backend.
        assert tokenizer.add_prefix_space is True
        assert len(tokenizer(["John", "lives"], is_split_into_words=True)["input_ids"]) > 4
        tokenizer.backend_tokenizer.pre_tokenizer.add_prefix_space = True
    encoding = tokenizer(["John", "lives", "in", "Zagreb"], is_split_into_words=True)
    words = encoding.word_ids(0)
    assert words[:4] == [None, 0, 1, 2]
    assert set(words[4:-1]) == {3}
    assert words[-1] is None


def test_byte_level_splits_given_words_if_not_told_of_the_space_before_them(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = tokenizer(["John", "lives"], is_split_into_words=True).word_ids(0)
    assert (words.count(1) > 1) == (folder.name in BYTE_LEVEL)


def test_a_cased_tokenizer_is_had_by_the_usual_option(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    assert AutoTokenizer.from_pretrained(folder).tokenize("John lives") == ["john", "lives"]
    assert AutoTokenizer.from_pretrained(folder, do_lower_case=False).tokenize("John lives") == [
        "John",
        "lives",
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_seed_alone_decides_the_weights(architecture: str, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        return (tiny_checkpoint(tmp_path / name, architecture, seed=seed) / "model.safetensors").read_bytes()

    first = weights("first", 1)
    torch.rand(3)
    assert weights("again", 1) == first
    assert weights("other", 2) != first


def test_the_random_state_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    for architecture in ARCHITECTURES:
        tiny_checkpoint(tmp_path / architecture, architecture)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_written_head_comes_back(architecture: str, tmp_path: Path) -> None:
    head = "AutoModelForSequenceClassification"
    folder = tiny_checkpoint(tmp_path / "new" / "folder", architecture, head=head, num_labels=4)
    model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert (report["missing_keys"], report["unexpected_keys"]) == (set(), set())
    assert model.config.num_labels == 4
    assert model.config.architectures == [type(model).__name__]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_overrides_bear_the_usual_names(architecture: str, tmp_path: Path) -> None:
    config = tiny_config(architecture, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (16, 1, 2)
    folder = tiny_checkpoint(tmp_path, architecture, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    assert AutoModel.from_pretrained(folder).config.hidden_size == 16


def test_weights_of_half_precision_stay_so_unless_another_is_asked_for(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path, dtype="bfloat16")
    assert AutoModel.from_pretrained(folder).dtype == torch.bfloat16
    assert AutoModel.from_pretrained(folder, dtype=torch.float32).dtype == torch.float32


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^architecture must be one of \['albert', .*\], but is 'gpt9'\.$"):
        tiny_checkpoint(tmp_path / "none", "gpt9")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("head", ["AutoModelForNothing", "AutoTokenizer", "set_seed"])
def test_an_unknown_head_is_refused(head: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=f"^head must be the name of an Auto class for models, but is '{head}'.$"):
        tiny_checkpoint(tmp_path, head=head)


def test_an_unknown_override_is_refused_with_the_likely_name() -> None:
    with pytest.raises(
        ArgumentError, match=r"^The config of 'bert' has no 'hiden_size'\. Did you mean 'hidden_size'\?$"
    ):
        tiny_config("bert", hiden_size=16)


@pytest.mark.parametrize("architecture", DECODER_ARCHITECTURES)
def test_a_tiny_decoder_predicts_the_next_token(architecture: str, tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path, architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.get_vocab() == tiny_tokenizer(architecture).get_vocab()
    assert (network.config.eos_token_id, network.config.vocab_size) == (tokenizer.eos_token_id, len(tokenizer))
    assert (tokenizer.chat_template is not None) == (architecture == "llama")
    ids = tokenizer(LONG[1], return_tensors="pt")["input_ids"]
    changed = ids.clone()
    changed[0, -1] = ids[0, 0]
    with torch.no_grad():
        torch.testing.assert_close(network(ids).logits[0, :-1], network(changed).logits[0, :-1])
    text = tokenizer.decode(ids[0], skip_special_tokens=True)
    # The first GPT knows neither capitals nor where a full stop follows a word at once.
    assert (LONG[1] if architecture != "openai-gpt" else LONG[1].lower()) == text.replace(" ,", ",").replace(" .", ".")
