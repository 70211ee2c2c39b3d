"""The loop that writes texts: order, padding, prompts, chance, and a network left as it was."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as hf_logging

from easytx.config.generation import GenerationArgs, generation_kwargs
from easytx.data.tokenise import encode
from easytx.testing import CORPUS, tiny_checkpoint, tiny_tokenizer
from easytx.training.generation import generate, prompt_collator, row_losses, settings

CPU = torch.device("cpu")
TEXTS = ["he", *CORPUS[:6], "a dull story"]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tiny_checkpoint(tmp_path_factory.mktemp("generation") / "t5", "t5", initializer_factor=3.0)
    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def gpt2() -> tuple[Any, Any]:
    tokenizer = tiny_tokenizer("roberta")
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=2, initializer_range=0.5
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(config).eval(), tokenizer


@pytest.fixture(params=["t5", "gpt2"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    found: tuple[Any, Any] = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What transformers logs; warnings are errors anyway."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    hf_logging.add_handler(handler)
    yield messages
    hf_logging.remove_handler(handler)


def _rows(tokenizer: Any, texts: list[str] = TEXTS) -> Dataset:
    return encode(tokenizer, texts, max_length=64)


def _write(pair: tuple[Any, Any], dataset: Dataset, *, budget: int = 300, **given: Any) -> list[list[list[int]]]:
    network, tokenizer = pair
    seed = given.pop("seed", 5)
    options = {**generation_kwargs(GenerationArgs(**given)), "pad_token_id": tokenizer.pad_token_id}
    collator = prompt_collator(tokenizer, left=not network.config.is_encoder_decoder)
    made = generate(network, dataset, collator, options=options, device=CPU, dtype=None, token_budget=budget, seed=seed)
    return [[text.tolist() for text in row] for row in made]


def _by_hand(network: Any, ids: list[int], number: int) -> list[int]:
    """Return the likeliest next tokens, one forward pass each."""
    new: list[int] = []
    for _ in range(number):
        with torch.no_grad():
            if network.config.is_encoder_decoder:
                start = [[network.config.decoder_start_token_id, *new]]
                logits = network(torch.tensor([ids]), decoder_input_ids=torch.tensor(start)).logits
            else:
                logits = network(torch.tensor([[*ids, *new]])).logits
        new.append(int(logits[0, -1].argmax()))
        if new[-1] == network.config.eos_token_id:
            break
    return new


def test_new_tokens_are_the_likeliest_ones_in_the_order_of_the_rows(pair: tuple[Any, Any]) -> None:
    dataset = _rows(pair[1])
    expected = [[_by_hand(pair[0], ids, 8)] for ids in dataset["input_ids"]]
    assert len({str(text) for text in expected}) > 3
    for budget in (1, 150, 10_000):
        assert _write(pair, dataset, budget=budget, max_length=8) == expected


def test_a_text_ends_with_its_last_token(t5: tuple[Any, Any]) -> None:
    network, tokenizer = t5
    first = _by_hand(network, tokenizer(TEXTS[0])["input_ids"], 1)[0]
    options = {**generation_kwargs(GenerationArgs()), "pad_token_id": 0, "eos_token_id": [first, 1]}
    made = generate(
        network, _rows(tokenizer), prompt_collator(tokenizer, left=False), options=options, device=CPU, dtype=None,
        token_budget=10_000,
    )  # fmt: skip
    assert made[0][0].tolist() == [first]
    assert max(len(row[0]) for row in made) == 20
    assert all(first not in row[0][:-1] for row in made)


def test_several_texts_a_row_stay_with_their_row(pair: tuple[Any, Any]) -> None:
    dataset = _rows(pair[1])
    together = _write(pair, dataset, num_beams=3, num_return_sequences=3, max_length=6)
    assert {len(row) for row in together} == {3}
    assert all(len({str(text) for text in row}) == 3 for row in together)
    alone = [_write(pair, dataset.select([i]), num_beams=3, num_return_sequences=3, max_length=6)[0] for i in range(3)]
    assert together[:3] == alone


def test_a_batch_holds_what_is_read_and_written_of_all_beams(t5: tuple[Any, Any]) -> None:
    network, tokenizer = t5
    shapes: list[tuple[int, ...]] = []
    collate = prompt_collator(tokenizer, left=False)

    def collator(features: list[dict[str, Any]]) -> Any:
        batch = collate(features)
        shapes.append(tuple(batch["input_ids"].shape))
        return batch

    options = generation_kwargs(GenerationArgs(num_beams=4, max_length=6))
    generate(network, _rows(tokenizer), collator, options=options, device=CPU, dtype=None, token_budget=300)
    assert sum(rows for rows, _ in shapes) == len(TEXTS)
    assert all(rows * (width + 6) * 4 <= 300 or rows == 1 for rows, width in shapes)
    assert any(rows > 1 for rows, _ in shapes)


def test_a_seed_decides_what_is_drawn_and_no_seed_draws_anew(pair: tuple[Any, Any]) -> None:
    dataset = _rows(pair[1])
    given = {"do_sample": True, "max_length": 12}
    drawn = _write(pair, dataset, seed=1, **given)
    torch.manual_seed(99)
    assert _write(pair, dataset, seed=1, **given) == drawn
    assert _write(pair, dataset, seed=2, **given) != drawn
    assert _write(pair, dataset, seed=None, **given) != _write(pair, dataset, seed=None, **given)


def test_the_network_and_the_random_state_are_as_before(pair: tuple[Any, Any]) -> None:
    network, tokenizer = pair
    network.train()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    own, before = network.generation_config, network.generation_config.to_dict()
    _write(pair, _rows(tokenizer), do_sample=True)
    assert network.training
    network.eval()
    assert network.generation_config is own
    assert own.to_dict() == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


def test_a_failure_leaves_the_network_as_it_was(t5: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    network, tokenizer = t5
    own = network.generation_config

    def broken(**_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(network, "generate", broken)
    with pytest.raises(RuntimeError, match=r"^broken$"):
        _write(t5, _rows(tokenizer))
    assert network.generation_config is own


@pytest.mark.parametrize(
    "given", [{}, {"num_beams": 2}, {"do_sample": True}, {"min_length": 3}, {"max_new_tokens": 5, "max_length": 40}]
)
def test_transformers_has_nothing_to_say(pair: tuple[Any, Any], given: dict[str, Any], said: list[str]) -> None:
    network, tokenizer = pair
    own = network.generation_config
    network.generation_config = copy.deepcopy(own)
    for name, value in {"max_length": 40, "temperature": 0.5, "top_p": 0.5, "early_stopping": True}.items():
        setattr(network.generation_config, name, value)
    try:
        _write(pair, _rows(tokenizer), **given)
    finally:
        network.generation_config = own
    assert said == []


def test_what_the_network_says_beyond_our_arguments_counts(t5: tuple[Any, Any]) -> None:
    network, tokenizer = t5
    own = network.generation_config
    network.generation_config = settings(own, {"forced_bos_token_id": 7, "no_repeat_ngram_size": 1})
    try:
        made = _write(t5, _rows(tokenizer))
    finally:
        network.generation_config = own
    assert all(row[0][0] == 7 and len(set(row[0])) == len(row[0]) for row in made)


def test_row_losses_add_up_labelled_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, generator=generator)
    labels = torch.tensor([[1, 2, -100, -100], [0, 4, 3, 2]])
    chances = logits.log_softmax(-1)
    plain = row_losses(logits, labels)
    assert plain[0, 0] == pytest.approx(-(chances[0, 0, 1] + chances[0, 1, 2]).item(), rel=1e-5)
    assert plain[:, 1].tolist() == [2, 4]
    shifted = row_losses(logits, labels, shifts_labels=True)
    assert shifted[0].tolist() == pytest.approx([-chances[0, 0, 2].item(), 1], rel=1e-5)
    expected = -(chances[1, 0, 4] + chances[1, 1, 3] + chances[1, 2, 2]).item()
    assert shifted[1].tolist() == pytest.approx([expected, 3], rel=1e-5)


def test_ranks_share_the_rows(t5: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _rows(t5[1])
    expected = _write(t5, dataset, budget=1, max_length=4)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    shares: list[Any] = []

    def gather(gathered: list[Any], own: Any) -> None:
        shares.append(own)
        gathered[:] = (shares + shares)[:2] if len(shares) == 1 else shares[-2:]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    options = generation_kwargs(GenerationArgs(max_length=4))
    for rank, missing in ((0, len(TEXTS) // 2), (1, 0)):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        made = generate(
            t5[0], dataset, prompt_collator(t5[1], left=False), options=options, device=CPU, dtype=None, token_budget=1
        )
        assert sum(row is None for row in made) == missing
    assert [[text.tolist() for text in row] for row in made] == expected
