"""Tokenizers of two kinds: pieces of words without accents and case, and bytes."""

from __future__ import annotations

import string

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = (
    "who wrote the what is where when how far capital of moon series novel elin berg stands in museum oslo "
    "was painted between and year there no one knows a river flows through city it has two bridges green red"
)


def _word_pieces() -> PreTrainedTokenizerFast:
    characters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [*characters, *(f"##{character}" for character in characters), *WORDS.split()]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(pieces)]
    vocab = {token: place for place, token in enumerate(names)}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _bytes() -> PreTrainedTokenizerFast:
    names = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocab = {token: place for place, token in enumerate(names)}
    backend = Tokenizer(models.BPE(vocab, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="$A <end>", pair="$A <end> $B <end>", special_tokens=[("<end>", vocab["<end>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<end>",
        pad_token="<pad>",
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """One that pads on the right and has CLS and token types."""
    return _word_pieces()


@pytest.fixture
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One that pads on the left, has no CLS and makes several tokens of one character."""
    return _bytes()


@pytest.fixture(params=["words", "bytes"])
def any_tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return _word_pieces() if request.param == "words" else _bytes()
