"""Blocks hold every token of a document once, and none of another document."""

from __future__ import annotations

from typing import Any

import pytest

from easytx.language_modeling.blocks import GIVEN, Cutting, blocks, truncated
from easytx.testing import CORPUS, tiny_tokenizer

TEXTS = [" ".join(CORPUS[:3]), CORPUS[5], " ".join(CORPUS[6:12])]


def _asked(dataset: Any, row: int) -> list[int]:
    """Return the tokens of a document that are to be predicted, over all its blocks."""
    found = []
    for one in dataset:
        if one["row"] == row:
            found += [id_ for id_, unit in zip(one["input_ids"], one["units"], strict=True) if unit != GIVEN]
    return found


@pytest.mark.parametrize("overlap", [0, 3, 9])
@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_every_token_is_asked_for_once(architecture: str, overlap: int) -> None:
    tokenizer = tiny_tokenizer(architecture)
    dataset = blocks(tokenizer, TEXTS, Cutting(16, overlap))
    assert max(dataset["length"]) == 16
    for row, text in enumerate(TEXTS):
        assert _asked(dataset, row) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert truncated(dataset) == 0


@pytest.mark.parametrize("overlap", [1, 5])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_causal_document_has_its_ends_and_each_token_is_next_once(architecture: str, overlap: int) -> None:
    tokenizer = tiny_tokenizer(architecture)
    dataset = blocks(tokenizer, TEXTS, Cutting(16, overlap, causal=True))
    begin = [] if architecture == "gpt2" else [tokenizer.bos_token_id]
    for row, text in enumerate(TEXTS):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert _asked(dataset, row) == [*begin, *ids, tokenizer.eos_token_id]
        for one in dataset:
            # The first token of a block is the next one of none.
            assert one["row"] != row or one["units"][0] in (0, GIVEN)


def test_blocks_hold_text_of_one_document() -> None:
    tokenizer = tiny_tokenizer("bert")
    dataset = blocks(tokenizer, ["John lives in London", "the film"], Cutting(128, 0))
    assert [tokenizer.decode(ids) for ids in dataset["input_ids"]] == [
        "[CLS] john lives in london [SEP]",
        "[CLS] the film [SEP]",
    ]


def test_long_documents_are_cut_where_that_is_wanted() -> None:
    dataset = blocks(tiny_tokenizer("bert"), [*TEXTS, "film"], Cutting(8, None))
    assert dataset["row"][:] == [0, 1, 2, 3]
    assert dataset["cut"][:] == [True, True, True, False]
    assert truncated(dataset) == 3


def test_the_pieces_of_a_word_are_one_unit() -> None:
    tokenizer = tiny_tokenizer("bert")
    (one,) = blocks(tokenizer, ["the filmography was good"], Cutting(32, 0, whole_words=True))
    tokens = tokenizer.convert_ids_to_tokens(one["input_ids"])
    assert sum(token.startswith("##") for token in tokens) > 1
    for token, before, unit, unit_before in zip(
        tokens[2:-1], tokens[1:-2], one["units"][2:-1], one["units"][1:-2], strict=True
    ):
        assert (unit == unit_before) == token.startswith("##"), (before, token)
    assert (one["units"][0], one["units"][-1]) == (GIVEN, GIVEN)


def test_documents_with_nothing_to_predict_are_left_out() -> None:
    assert len(blocks(tiny_tokenizer("gpt2"), ["", ""], Cutting(16, 1, causal=True))) == 0
    assert blocks(tiny_tokenizer("bert"), ["", "film"], Cutting(16, 0))["row"][:] == [1]
