"""Which of the constructor's names means which model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easytx import Seq2SeqModel
from easytx.errors import ArgumentError, CheckpointError
from easytx.seq2seq.names import named

WHOLE: list[tuple[tuple[Any, Any, Any], tuple[Any, Any], tuple[Any, Any, Any]]] = [
    ((None, None, None), ("bart", "b"), ("bart", "b", None)),
    (("roberta", None, None), (None, "outputs"), ("roberta", "outputs", None)),
    (("auto", "b", None), (None, None), ("auto", "b", None)),
    (("b", None, None), (None, None), (None, "b", None)),
    ((None, None, None), ("b", None), (None, "b", None)),
    (("roberta", "r", "bert"), (None, None), ("roberta", "r", "bert")),
]


@pytest.mark.parametrize(("separate", "whole", "expected"), WHOLE)
def test_names_mean_one_model_or_two(separate: Any, whole: Any, expected: Any) -> None:
    assert named("Seq2SeqModel", separate, whole, {}, is_new=False) == expected


def test_with_a_tokenizer_a_type_alone_means_a_new_model() -> None:
    assert named("T5Model", ("t5", None, None), (None, None), {}, is_new=True) == ("t5", None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"encoder_name": "a", "encoder_decoder_name": "b"},
            "Seq2SeqModel was given encoder_decoder_name='b', and encoder_name or decoder_name too. "
            "Give one model, or an encoder and a decoder.",
        ),
        (
            {"decoder_name": "b"},
            "Seq2SeqModel was given decoder_name='b', but no encoder_name. Give both.",
        ),
        ({}, "Seq2SeqModel needs a model name, such as a folder, or a tokenizer to start from."),
        (
            {"encoder_decoder_name": "b", "index_name": "hf"},
            "Seq2SeqModel uses 'index_name' in models that look up passages only. Set encoder_decoder_type to "
            "'rag-token' or 'rag-sequence'.",
        ),
        (
            {"encoder_decoder_name": "b", "config": "b.json"},
            "Seq2SeqModel takes config as a dict of the fields to change, but it is a str.",
        ),
    ],
)
def test_contradictions_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        Seq2SeqModel(**given)


def test_an_encoder_alone_is_refused_at_once(tmp_path: Path) -> None:
    from easytx.testing import tiny_checkpoint

    folder = tiny_checkpoint(tmp_path / "bert")
    message = (
        f"'{folder}' is a bert model, which is an encoder or a decoder alone. "
        "Give encoder_name and decoder_name, or a model that is both."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        Seq2SeqModel("bert", folder)


def test_arguments_of_retrieval_may_be_none(checkpoint: Callable[[str], Path]) -> None:
    none = dict.fromkeys(("index_name", "knowledge_dataset", "index_path", "dpr_ctx_encoder_model_name"))
    assert Seq2SeqModel(encoder_decoder_name=checkpoint("bart"), **none).config.model_type == "bart"


def test_config_is_another_way_to_change_fields(checkpoint: Callable[[str], Path]) -> None:
    model = Seq2SeqModel(
        encoder_decoder_name=checkpoint("bart"), config={"dropout": 0.3}, args={"config": {"activation_dropout": 0.2}}
    )
    assert (model.config.dropout, model.config.activation_dropout) == (0.3, 0.2)
