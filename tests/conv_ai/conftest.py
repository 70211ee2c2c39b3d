"""Tiny checkpoints, made once, and two conversations in the form of persona-chat."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easytx.conv_ai import ConvAIModel
from easytx.testing import tiny_checkpoint

_CHATS = [
    {
        "personality": ["I love cats.", "I live in Rome."],
        "utterances": [
            {"history": ["Hi, how are you?"], "candidates": ["The train left.", "It is cold.", "Fine, and you?"]},
            {
                "history": ["Hi, how are you?", "Fine, and you?", "Good. Where do you live?"],
                "candidates": ["I hate that song.", "In Rome, by the river."],
            },
        ],
    },
    {
        "personality": ["I play in a team."],
        "utterances": [{"history": ["Did you win?"], "candidates": ["She is ten.", "Yes, in the rain!"]}],
    },
]


@pytest.fixture
def chats() -> list[dict[str, Any]]:
    return copy.deepcopy(_CHATS)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny checkpoint of an architecture."""
    folder = tmp_path_factory.mktemp("checkpoints")

    @functools.cache
    def made(architecture: str) -> Path:
        return tiny_checkpoint(folder / architecture, architecture)

    return made


@pytest.fixture
def talker(checkpoint: Callable[[str], Path]) -> Callable[..., ConvAIModel]:
    """Return a model on the CPU, in float32."""

    def made(architecture: str = "gpt2", **args: Any) -> ConvAIModel:
        given = {"manual_seed": 1, "fp16": False, "silent": True, "save_model_every_epoch": False}
        return ConvAIModel("auto", checkpoint(architecture), use_cuda=False, args={**given, **args})

    return made
