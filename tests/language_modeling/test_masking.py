"""Masks: a share of the tokens, new ones in training, the same ones in evaluation."""

from __future__ import annotations

import numpy as np
import torch

from easytx.language_modeling.blocks import Cutting, blocks
from easytx.language_modeling.masking import IGNORED, MaskedTokens, NextTokens, masked_once
from easytx.testing import CORPUS, tiny_tokenizer

BERT = tiny_tokenizer("bert")
WORDS = "the filmography of unbelievable readings was disappointing"


def _batch(texts: list[str], probability: float, *, whole_words: bool = False) -> dict[str, torch.Tensor]:
    dataset = blocks(BERT, texts, Cutting(64, 0, whole_words=whole_words))
    return MaskedTokens(BERT, probability)([dataset[i] for i in range(len(dataset))])


def test_the_wanted_share_is_masked_and_replaced_as_in_bert() -> None:
    torch.manual_seed(0)
    texts = list(CORPUS) * 40
    batch = _batch(texts, 0.15)
    special = torch.isin(batch["input_ids"], torch.tensor([BERT.cls_token_id, BERT.sep_token_id, BERT.pad_token_id]))
    asked = batch["labels"] != IGNORED
    tokens = int(batch["attention_mask"].sum()) - 2 * len(texts)
    assert 0.14 < int(asked.sum()) / tokens < 0.16
    by_mask = (batch["input_ids"] == BERT.mask_token_id) & asked
    same = (batch["input_ids"] == batch["labels"]) & asked
    assert 0.78 < int(by_mask.sum()) / int(asked.sum()) < 0.82
    assert 0.08 < int(same.sum()) / int(asked.sum()) < 0.12
    # A token that is drawn by chance may be a special one.
    assert int((asked & special).sum()) < int(asked.sum()) * 0.01


def test_special_tokens_and_padding_are_never_asked_for() -> None:
    batch = _batch(["film", WORDS], 0.999)
    found = batch["labels"][batch["labels"] != IGNORED].tolist()
    assert not set(found) & {BERT.cls_token_id, BERT.sep_token_id, BERT.pad_token_id}
    assert len(found) > 20


def test_whole_words_are_masked_together() -> None:
    torch.manual_seed(0)
    batch = _batch([WORDS] * 50, 0.3, whole_words=True)
    tokens = BERT.convert_ids_to_tokens(BERT(WORDS)["input_ids"])
    asked = (batch["labels"] != IGNORED).numpy()
    continued = [i for i, token in enumerate(tokens) if token.startswith("##")]
    assert len(continued) > 5
    assert asked[:, 1].any()
    assert not asked[:, 1].all()
    for place in continued:
        assert (asked[:, place] == asked[:, place - 1]).all()


def test_masks_follow_torchs_random_state() -> None:
    torch.manual_seed(3)
    first, other = _batch([WORDS], 0.5), _batch([WORDS], 0.5)
    torch.manual_seed(3)
    again = _batch([WORDS], 0.5)
    assert torch.equal(first["labels"], again["labels"])
    assert not torch.equal(first["labels"], other["labels"])


def test_the_masks_of_an_evaluation_are_the_same_each_time() -> None:
    dataset = blocks(BERT, list(CORPUS), Cutting(16, 0))
    state = torch.get_rng_state()
    first, second = masked_once(BERT, dataset, 0.15), masked_once(BERT, dataset, 0.15)
    assert torch.equal(torch.get_rng_state(), state)
    assert first["labels"][:] == second["labels"][:]
    assert first["input_ids"][:] == second["input_ids"][:]
    assert [len(row) for row in first["input_ids"]] == dataset["length"][:]
    collated = MaskedTokens(BERT, 0.15)([first[i] for i in range(3)])
    assert collated["labels"][0, : first["length"][0]].tolist() == first["labels"][0]
    restored = [
        np.where(np.array(labels) == IGNORED, ids, labels).tolist()
        for ids, labels in zip(first["input_ids"], first["labels"], strict=True)
    ]
    assert restored == dataset["input_ids"][:]


def test_an_evaluation_masks_one_token_at_least() -> None:
    dataset = blocks(BERT, ["film"], Cutting(16, 0))
    assert (np.array(masked_once(BERT, dataset, 0.01)["labels"][0]) != IGNORED).sum() == 1


def test_next_tokens_are_all_but_padding_and_what_a_block_repeats() -> None:
    tokenizer = tiny_tokenizer("llama")
    tokenizer.pad_token = tokenizer.eos_token
    dataset = blocks(tokenizer, [" ".join(CORPUS[:2]), "film"], Cutting(16, 4, causal=True))
    batch = NextTokens(tokenizer)([dataset[i] for i in range(len(dataset))])
    assert (batch["labels"][1, :4] == IGNORED).all()
    assert torch.equal(batch["labels"][1, 4:], batch["input_ids"][1, 4:])
    last = int(batch["attention_mask"][-1].sum())
    # The end of the text is asked for, although it looks like the padding.
    assert batch["labels"][-1, last - 1] == tokenizer.eos_token_id
    assert (batch["labels"][-1, last:] == IGNORED).all()
