"""Tiny encoders of DPR."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import transformers

from easytx.errors import ArgumentError
from easytx.testing import DPR_ENCODERS, tiny_dpr_checkpoint


def test_both_encoders_give_a_text_the_same_vector(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    vectors = []
    for encodes, name in DPR_ENCODERS.items():
        folder = tiny_dpr_checkpoint(tmp_path / encodes, encodes)
        ids = transformers.AutoTokenizer.from_pretrained(folder)("the film", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            vectors.append(getattr(transformers, name).from_pretrained(folder)(ids).pooler_output)
    torch.testing.assert_close(*vectors)
    assert vectors[0].shape == (1, 32)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_else_is_encoded(tmp_path: Path) -> None:
    message = "encodes must be one of ['passages', 'questions'], but is 'answers'."
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        tiny_dpr_checkpoint(tmp_path / "none", "answers")
