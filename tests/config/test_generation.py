"""Generation arguments: what becomes of them, and what cannot be asked for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from easytx.config.generation import GenerationArgs, GenerationOptions, GenerativeArgs, generation_kwargs
from easytx.errors import ArgumentError

GREEDY = {
    "do_sample": False,
    "max_new_tokens": 20,
    "num_beams": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "use_cache": True,
}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"max_length": 7}, {"max_new_tokens": 7}),
    ({"max_length": 7, "max_new_tokens": 9}, {"max_new_tokens": 9}),
    ({"min_length": 3}, {"min_new_tokens": 3}),
    ({"min_length": 30}, {"min_new_tokens": 20}),
    # What only sampling or beams would read is left out without them.
    ({"temperature": 0.5, "top_k": 3, "top_p": 0.5, "length_penalty": 2.0, "early_stopping": True}, {}),
    # As scripts of old say that there are none.
    ({"num_beams": None}, {}),
    ({"do_sample": True}, {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}),
    (
        {"do_sample": True, "temperature": 0.5, "top_k": 3, "top_p": 0.5},
        {"do_sample": True, "temperature": 0.5, "top_k": 3, "top_p": 0.5},
    ),
    (
        {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "num_return_sequences": 4},
        {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "num_return_sequences": 4},
    ),
    ({"no_repeat_ngram_size": 3}, {"no_repeat_ngram_size": 3}),
    ({"no_repeat_ngram_size": 0}, {"no_repeat_ngram_size": 0}),
    ({"repetition_penalty": 1.2}, {"repetition_penalty": 1.2}),
]


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_only_what_has_an_effect_is_handed_on(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert generation_kwargs(GenerationOptions(**given)) == {**GREEDY, **expected}
    assert generation_kwargs(GenerativeArgs(**given)) == {**GREEDY, **expected}


def test_one_generation_has_further_arguments() -> None:
    args = GenerationArgs(min_new_tokens=2, min_length=5, max_time=1.5, use_cache=False)
    more = {"min_new_tokens": 2, "max_time": 1.5, "use_cache": False}
    assert generation_kwargs(args) == {**GREEDY, **more}


def test_the_dict_of_one_generation_has_no_none() -> None:
    values = GenerationArgs(max_length=50).get_dict()
    assert values["max_length"] == 50
    assert values["top_k"] == 50
    assert None not in values.values()
    assert not {"max_new_tokens", "min_new_tokens", "max_time", "penalty_alpha"} & set(values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"num_return_sequences": 3},
            "num_return_sequences is 3, but without sampling and beams there is one likeliest text. "
            "Set do_sample=True, or num_beams=3.",
        ),
        (
            {"num_return_sequences": 3, "num_beams": 2},
            "num_return_sequences is 3, but 2 beams end in 2 texts. Set num_beams=3.",
        ),
    ],
)
def test_more_texts_than_the_search_gives_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        generation_kwargs(GenerationOptions(**given))


@pytest.mark.parametrize("given", [{"num_beam_groups": 2}, {"diversity_penalty": 0.5}, {"penalty_alpha": 0.6}])
def test_searches_that_are_gone_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"must be at most [01](\.0)?, but is "):
        GenerationArgs(**given)


def test_max_length_is_that_of_the_text_where_texts_are_written() -> None:
    args = GenerativeArgs(max_length=5)
    assert (args.max_length, args.max_seq_length) == (5, 128)
