"""Prompts as ids: plain ones, chats, and those too long to be read whole."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from easytx.core.prompting import chat_prompts, prompt_rows, text_prompts
from easytx.errors import ArgumentError
from easytx.testing import tiny_config, tiny_tokenizer

ROLES = {"user_role": "user", "system_role": "system"}


def _model(architecture: str) -> Any:
    args = SimpleNamespace(model_name=architecture)
    return SimpleNamespace(config=tiny_config(architecture), tokenizer=tiny_tokenizer(architecture), args=args)


def test_an_empty_prompt_begins_with_what_begins_a_text() -> None:
    gpt2, llama = tiny_tokenizer("gpt2"), tiny_tokenizer("llama")
    assert text_prompts(gpt2, ["", "John"]) == [[gpt2.eos_token_id], gpt2("John")["input_ids"]]
    assert text_prompts(llama, [""]) == [[llama.bos_token_id]]


def test_chats_have_the_special_tokens_of_the_template_once() -> None:
    tokenizer = tiny_tokenizer("llama")
    (plain,), (told,) = (chat_prompts(tokenizer, ["hi"], **ROLES, system_prompt=prompt) for prompt in ("", "be kind"))
    assert tokenizer.decode(plain) == "<|begin_of_text|>user: hi<|end_of_text|>assistant:"
    assert tokenizer.decode(told).startswith("<|begin_of_text|>system: be kind<|end_of_text|>user")
    assert plain.count(tokenizer.bos_token_id) == 1
    with pytest.raises(ArgumentError, match="the tokenizer has no chat template"):
        chat_prompts(tiny_tokenizer("gpt2"), ["hi"], **ROLES, system_prompt="")


def test_of_a_long_prompt_the_end_is_kept(warned: Callable[..., Any]) -> None:
    ids = [list(range(600)), [1, 2, 3]]
    rows, messages = warned(lambda: prompt_rows(_model("gpt2"), ids, new_tokens=12, name="to_predict"))
    assert rows["input_ids"][:] == [list(range(100, 600)), [1, 2, 3]]
    assert [sum(mask) for mask in rows["attention_mask"]] == rows["length"][:] == [500, 3]
    assert messages == ["1 of 2 prompts of to_predict are too long, and only their ends are read."]
    with pytest.raises(ArgumentError, match=r"^512 new tokens are wanted, but 'gpt2' reads at most 512"):
        prompt_rows(_model("gpt2"), ids, new_tokens=512, name="to_predict")
