"""Turns and replies become features: cut from the oldest on, with labels for replies only."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest

from easytx.conv_ai.data import Collator, Cutting, features, permuted, rows_cut, true_features, turns_of
from easytx.conv_ai.rendering import ChatFormat, Turn
from easytx.errors import ArgumentError
from easytx.testing import tiny_config, tiny_tokenizer

TURN = Turn(("I love cats.",), ("The film was good.", "It is cold.", "What is the price of the house?"))


def _chat(architecture: str = "gpt2") -> ChatFormat:
    return ChatFormat(tiny_tokenizer(architecture), tiny_config(architecture))


def _read(chat: ChatFormat, ids: list[int]) -> str:
    return str(chat.tokenizer.decode(ids))


def _one(max_length: int, turn: Turn = TURN, reply: str = "It is red.", reserved: int = 6) -> tuple[Any, ChatFormat]:
    chat = _chat()
    data = features(chat, [(0, turn)], [[reply]], Cutting(max_length, reserved, 2), together=True)
    return data[0], chat


def test_the_newest_utterances_are_kept() -> None:
    frame = pd.DataFrame({"personality": [["a"]], "history": [list("1234567")]})
    assert turns_of(frame, 2) == [Turn(("a",), tuple("34567"))]
    assert turns_of(frame, 0) == [Turn(("a",), ("7",))]


def test_the_lines_of_a_personality_turn_on() -> None:
    turns = [Turn(("a", "b", "c"), ("x",)), Turn((), ("y",)), Turn(("d",), ("z",))]
    found = [(row, turn.personality) for row, turn in permuted(turns, 2)]
    assert found == [(0, ("a", "b", "c")), (0, ("b", "c", "a")), (1, ()), (2, ("d",))]


def test_the_oldest_utterances_give_way_and_the_personality_stays() -> None:
    whole, chat = _one(200)
    length = len(whole["input_ids"])
    assert not whole["cut"]
    assert _read(chat, whole["input_ids"]) == chat.text(TURN)
    shorter, _ = _one(length + 5)
    assert shorter["cut"]
    assert _read(chat, shorter["input_ids"]) == chat.text(Turn(TURN.personality, TURN.history[1:]))


def test_then_the_newest_loses_its_beginning() -> None:
    newest, chat = _one(30, turn=Turn(TURN.personality, TURN.history[-1:]))
    text = _read(chat, newest["input_ids"])
    assert newest["cut"]
    assert len(newest["input_ids"]) <= 24
    assert re.fullmatch(r"Persona: I love cats\.\nThem: (.+)\nYou:", text)
    assert TURN.history[-1].endswith(text.split("Them: ")[1].removesuffix("\nYou:"))


def test_a_reply_fills_what_is_left_and_keeps_its_end() -> None:
    long, chat = _one(60, turn=Turn((), ("Hi",)), reply="red " * 100)
    assert len(long["input_ids"]) + len(long["replies"][0]) == 60
    assert long["replies"][0][-1] == chat.tokenizer.eos_token_id
    assert long["cut"]
    assert long["length"] == 60


def test_too_little_room_is_an_error() -> None:
    message = (
        "max_seq_length is 24, of which max_length=20 tokens are kept for the reply: too little is left for what it "
        "replies to. Set a higher max_seq_length or a lower max_length."
    )
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        _one(24, reserved=20)


def test_candidates_are_together_in_training_and_apart_elsewhere() -> None:
    turns, replies = [(0, TURN), (1, Turn((), ("Hi",)))], [["No.", "It is red."], ["Hello"]]
    chat, cutting = _chat(), Cutting(100, 6, 2)
    together = features(chat, turns, replies, cutting, together=True)
    apart = features(chat, turns, replies, cutting, together=False)
    assert [len(own) for own in together["replies"]] == [2, 1]
    assert apart["row"][:] == [0, 0, 1]
    assert true_features(apart).tolist() == [1, 2]
    assert [_read(chat, apart["replies"][place][0]) for place in (1, 2)] == [
        " It is red.<|endoftext|>",
        " Hello<|endoftext|>",
    ]
    assert together["length"][0] == 2 * max(apart["length"][:2])
    assert rows_cut(apart) == 0


def test_only_replies_are_labelled() -> None:
    chat = _chat()
    data = features(chat, [(0, TURN)], [["No.", "It is red."]], Cutting(100, 6, 2), together=True)
    batch = Collator(7, reads_apart=False, weights=(2.0, 1.0))([data[0]])
    prompt = len(data[0]["input_ids"])
    assert batch["candidates"].tolist() == [2]
    assert batch["loss_weights"].tolist() == [2.0, 1.0]
    for row, reply in enumerate(data[0]["replies"]):
        labels, ids = batch["labels"][row].tolist(), batch["input_ids"][row].tolist()
        assert labels[:prompt] == [-100] * prompt
        assert labels[prompt : prompt + len(reply)] == reply == ids[prompt : prompt + len(reply)]
        assert set(labels[prompt + len(reply) :]) <= {-100}
        assert set(ids[prompt + len(reply) :]) <= {7}
        assert int(batch["attention_mask"][row].sum()) == prompt + len(reply)


def test_an_encoder_reads_the_turn_and_the_reply_is_the_label() -> None:
    chat = _chat("blenderbot")
    data = features(chat, [(0, TURN)], [["It is red."]], Cutting(100, 0, 2), together=True)
    batch = Collator(1, reads_apart=True)([data[0]])
    assert batch["input_ids"][0].tolist() == data[0]["input_ids"]
    assert batch["labels"][0].tolist() == data[0]["replies"][0]
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
