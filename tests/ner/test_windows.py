from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, pre_tokenizers

from easytx.data.tokenise import read_by_word
from easytx.errors import CheckpointError
from easytx.ner import NERModel
from easytx.ner.windows import encode_words
from easytx.testing import ARCHITECTURES, tiny_tokenizer

BYTE_LEVEL = ("roberta", "modernbert", "longformer")
# How the byte-level models cut a text into words, for tokenizers that do so in a step of its own.
_SPLIT = Regex(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
# London's: 3 tokens; the invisible space and the empty word: none.
WORDS = ["John", "\u200b", "London's", "", "Rome"]


def _tokens(tokenizer: Any, words: list[str]) -> list[str]:
    ids = tokenizer([words], is_split_into_words=True, add_special_tokens=False)["input_ids"][0]
    return list(tokenizer.convert_ids_to_tokens(ids))


def _rows(dataset: Any, *names: str) -> list[Any]:
    return [dataset[name][:] for name in names]


def test_words_are_tokens_between_special_ones_and_first_tokens_carry_labels() -> None:
    tokenizer = tiny_tokenizer("bert")
    dataset = encode_words(tokenizer, [WORDS, ["Paris"]], np.array([5, 6, 7, 8, 9, 4]), max_length=16, overlap=3)
    words, position, labels, row, length = _rows(dataset, "word_ids", "position", "labels", "row", "length")
    tokens = [tokenizer.convert_ids_to_tokens(ids) for ids in dataset["input_ids"]]
    assert tokens == [["[CLS]", "john", "london", "'", "s", "rome", "[SEP]"], ["[CLS]", "paris", "[SEP]"]]
    assert words == [[-1, 0, 2, 2, 2, 4, -1], [-1, 0, -1]]
    assert position == [[-1, 0, 1, 2, 3, 4, -1], [-1, 0, -1]]
    assert labels == [[-100, 5, 7, -100, -100, 9, -100], [-100, 4, -100]]
    assert (row, length) == ([0, 1], [7, 3])
    assert dataset["attention_mask"][:] == [[1] * 7, [1] * 3]
    assert dataset["token_type_ids"][:] == [[0] * 7, [0] * 3]


def test_windows_overlap_and_the_last_one_is_full() -> None:
    words = ["one", "two", "three", "London's", "four", "five", "six"]
    dataset = encode_words(tiny_tokenizer("bert"), [words], np.arange(7), max_length=6, overlap=1)
    position, labels = _rows(dataset, "position", "labels")
    assert position == [[-1, 0, 1, 2, 3, -1], [-1, 3, 4, 5, 6, -1], [-1, 5, 6, 7, 8, -1]]
    assert labels == [[-100, 0, 1, 2, 3, -100], [-100, 3, -100, -100, 4, -100], [-100, -100, 4, 5, 6, -100]]
    assert dataset["row"][:] == [0, 0, 0]


def test_a_sentence_of_which_nothing_is_left_is_one_unknown_token() -> None:
    tokenizer = tiny_tokenizer("bert")
    dataset = encode_words(tokenizer, [["\u200b"], [], ["Rome"]], np.array([1, 2]), max_length=8, overlap=0)
    assert tokenizer.convert_ids_to_tokens(dataset["input_ids"][0]) == ["[CLS]", "[UNK]", "[SEP]"]
    assert dataset["word_ids"][:] == [[-1, -1, -1], [-1, -1, -1], [-1, 0, -1]]
    assert dataset["labels"][:] == [[-100] * 3, [-100] * 3, [-100, 2, -100]]


def test_without_tags_there_are_no_labels() -> None:
    dataset = encode_words(tiny_tokenizer("roberta"), [["Rome"]], None, max_length=8, overlap=0)
    assert dataset.column_names == ["input_ids", "attention_mask", "word_ids", "position", "row", "length"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_windows_together_hold_what_the_tokenizer_gives(architecture: str) -> None:
    tokenizer = read_by_word(tiny_tokenizer(architecture))
    whole = tokenizer([WORDS * 9], is_split_into_words=True)
    expected = whole["input_ids"][0]
    single = encode_words(tokenizer, [WORDS * 9], None, max_length=512, overlap=0)
    assert single["input_ids"][0] == expected
    if "token_type_ids" in whole:
        assert single["token_type_ids"][0] == whole["token_type_ids"][0]
    windows = encode_words(tokenizer, [WORDS * 9], None, max_length=16, overlap=4)
    found = {}
    for ids, position in zip(windows["input_ids"], windows["position"], strict=True):
        assert len(ids) == 16
        found |= {place: token for token, place in zip(ids, position, strict=True) if place >= 0}
    assert [found[place] for place in range(len(found))] == expected[1:-1]


@pytest.mark.parametrize("architecture", BYTE_LEVEL)
def test_byte_level_words_are_read_as_within_a_sentence(architecture: str, tagger: Callable[..., NERModel]) -> None:
    tokens = _tokens(tagger(architecture).tokenizer, ["John", "lives", "don't"])
    assert tokens[:2] == ["ĠJohn", "Ġlives"]
    assert not any(token.startswith("Ġ") for token in tokens[3:])


@pytest.mark.parametrize("architecture", BYTE_LEVEL)
def test_a_saved_tokenizer_still_reads_words_so(architecture: str, tagger: Callable[..., NERModel]) -> None:
    from transformers import AutoTokenizer

    model = tagger(architecture)
    model.tokenizer.save_pretrained("saved")
    words = ["John", "lives", "in", "Rome."]
    plain = AutoTokenizer.from_pretrained("saved")
    assert _tokens(plain, words) == _tokens(model.tokenizer, words)
    assert _tokens(read_by_word(plain), words) == _tokens(model.tokenizer, words)


def test_a_word_that_an_earlier_step_splits_gets_one_space_only() -> None:
    tokenizer = tiny_tokenizer("modernbert")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_SPLIT, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    words = ["John", "lives", "don't", "."]
    expected = _tokens(read_by_word(tiny_tokenizer("modernbert")), words)
    assert _tokens(read_by_word(tokenizer), words) == expected
    assert _tokens(read_by_word(tokenizer), words) == expected


def test_other_tokenizers_stay_as_they_are() -> None:
    tokenizer = tiny_tokenizer("bert")
    before = tokenizer.backend_tokenizer.to_str()
    assert read_by_word(tokenizer).backend_tokenizer.to_str() == before


def test_a_tokenizer_that_does_not_know_its_words_is_refused() -> None:
    message = (
        r"^A model that reads word by word needs a tokenizer that knows the word of each token; SimpleNamespace "
        r"does not\. Use a checkpoint with a tokenizer\.json\.$"
    )
    with pytest.raises(CheckpointError, match=message):
        read_by_word(SimpleNamespace(is_fast=False))
