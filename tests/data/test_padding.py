"""Rows of unlike lengths as one tensor."""

from __future__ import annotations

import pytest
from transformers import DataCollatorWithPadding

from easytx.data.padding import RightPadding, TokenColumns, pad_right
from easytx.testing import tiny_tokenizer


def test_rows_are_filled_up_at_their_ends() -> None:
    assert pad_right([[1, 2, 3], [4], []], 9).tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert pad_right([[5]], 0).dtype.is_floating_point is False


def test_token_ids_get_the_padding_id_and_all_else_zeros() -> None:
    features = [{"input_ids": [3, 4], "attention_mask": [1, 1]}, {"input_ids": [5], "attention_mask": [1]}]
    batch = {name: tensor.tolist() for name, tensor in RightPadding(7)(features).items()}
    assert batch == {"input_ids": [[3, 4], [5, 7]], "attention_mask": [[1, 1], [1, 0]]}
    assert RightPadding(None)(features)["input_ids"].tolist() == [[3, 4], [5, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_further_columns_stand_beside_their_tokens_on_either_side(side: str) -> None:
    tokenizer = tiny_tokenizer("bert")
    tokenizer.padding_side = side
    plain = [{"input_ids": [3, 4], "attention_mask": [1, 1]}, {"input_ids": [5], "attention_mask": [1]}]
    features = [
        {**plain[0], "bbox": [1, 2, 3, 4, 5, 6, 7, 8], "global_attention_mask": [1, 0]},
        {**plain[1], "bbox": [9, 9, 9, 9], "global_attention_mask": [1]},
    ]
    batch = TokenColumns(DataCollatorWithPadding(tokenizer))(features)
    short = [[9] * 4, [0] * 4] if side == "right" else [[0] * 4, [9] * 4]
    assert batch["bbox"].tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]], short]
    assert batch["global_attention_mask"].tolist() == [[1, 0], [1, 0] if side == "right" else [0, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0] if side == "right" else [0, 1]]
    assert {*TokenColumns(DataCollatorWithPadding(tokenizer))(plain)} == {"input_ids", "attention_mask"}
