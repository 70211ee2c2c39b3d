"""A conversation becomes tokens as the tokenizer's template has it, or else as the documentation says."""

from __future__ import annotations

from typing import Any

import pytest

from easytx.conv_ai.rendering import ChatFormat, Turn
from easytx.testing import tiny_config, tiny_tokenizer

TURN = Turn(("I love cats.", "I live in Rome."), ("Hi.", "Hello.", "What is new?"))
EVEN = Turn(("I love cats.",), ("Hello.", "What is new?"))

STRICT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user first') }}{% endif %}"
    "[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)
LONG_TAIL = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def _format(architecture: str, template: str | None = None) -> ChatFormat:
    tokenizer = tiny_tokenizer(architecture)
    if template is not None:
        tokenizer.chat_template = template
    return ChatFormat(tokenizer, tiny_config(architecture))


def test_without_a_template_a_decoder_goes_on_with_what_you_say() -> None:
    chat = _format("gpt2")
    assert chat.text(TURN) == (
        "Persona: I love cats. I live in Rome.\nThem: Hi.\nYou: Hello.\nThem: What is new?\nYou:"
    )
    assert chat.text(Turn((), ("Hi.",))) == "Them: Hi.\nYou:"
    ids, reply = chat.prompts([TURN])[0], chat.replies(["A red house."])[0]
    assert chat.tokenizer.decode([*ids, *reply]) == f"{chat.text(TURN)} A red house.<|endoftext|>"


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        ("blenderbot", "your persona: I love cats.  your persona: I live in Rome.  Hi.  Hello.  What is new?"),
        ("blenderbot-small", "your persona: I love cats.\nyour persona: I live in Rome.\nHi.\nHello.\nWhat is new?"),
    ],
)
def test_blenderbots_read_lines(architecture: str, text: str) -> None:
    chat = _format(architecture)
    assert chat.text(TURN) == text
    (reply,) = chat.replies(["a red house"])
    assert reply[-1] == chat.tokenizer.eos_token_id
    assert reply.count(chat.tokenizer.eos_token_id) == 1
    assert chat.prompts([TURN])[0] == chat.tokenizer(text)["input_ids"]


def test_a_template_is_used_where_there_is_one() -> None:
    chat = _format("llama")
    end = "<|end_of_text|>"
    assert chat.text(TURN) == (
        f"<|begin_of_text|>system: Your persona: I love cats. I live in Rome.{end}user: Hi.{end}assistant: Hello.{end}"
        f"user: What is new?{end}assistant:"
    )
    (ids,) = chat.prompts([TURN])
    assert ids.count(chat.tokenizer.bos_token_id) == 1
    assert chat.end == [chat.tokenizer.eos_token_id]


def test_a_decoder_with_a_first_token_gets_it_without_a_template() -> None:
    chat = _format("llama", "")
    (ids,) = chat.prompts([TURN])
    assert ids[0] == chat.tokenizer.bos_token_id
    assert chat.replies(["Hi."])[0][0] != chat.tokenizer.bos_token_id


def test_a_template_that_wants_the_user_first_and_no_system_gets_both() -> None:
    chat = _format("gpt2", STRICT)
    assert (chat.takes_system, chat.takes_own_start) == (False, False)
    assert chat.text(TURN) == (
        "[user] Your persona: I love cats. I live in Rome.\n\nHi.\n"
        "[assistant] Hello.\n[user] What is new?\n[assistant] "
    )
    assert chat.text(EVEN) == (
        "[user] Your persona: I love cats.\n[assistant] Hello.\n[user] What is new?\n[assistant] "
    )


def test_a_reply_ends_with_the_first_special_token_that_the_template_puts_behind_it() -> None:
    chat = _format("llama", LONG_TAIL)
    assert chat.end == [chat.tokenizer.eos_token_id]
    # A template without one leaves it to the tokenizer's own.
    assert _format("gpt2", STRICT).end == [tiny_tokenizer("gpt2").eos_token_id]


@pytest.mark.parametrize(
    ("architecture", "written", "reply"),
    [
        ("gpt2", " Fine.\nThem: And?\nYou: No.", "Fine."),
        ("gpt2", " Fine. Them: yes", "Fine. Them: yes"),
        ("blenderbot", " Fine.\nThem: And?", "Fine.\nThem: And?"),
    ],
)
def test_a_reply_leaves_out_what_the_other_says_next(architecture: str, written: str, reply: str) -> None:
    assert _format(architecture).reply(written) == reply


def test_nothing_becomes_nothing() -> None:
    chat: Any = _format("gpt2")
    assert (chat.prompts([]), chat.replies([])) == ([], [])
