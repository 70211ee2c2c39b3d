"""Rows of unlike lengths as one tensor."""

from __future__ import annotations

from easytx.data.padding import RightPadding, pad_right


def test_rows_are_filled_up_at_their_ends() -> None:
    assert pad_right([[1, 2, 3], [4], []], 9).tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert pad_right([[5]], 0).dtype.is_floating_point is False


def test_token_ids_get_the_padding_id_and_all_else_zeros() -> None:
    features = [{"input_ids": [3, 4], "attention_mask": [1, 1]}, {"input_ids": [5], "attention_mask": [1]}]
    batch = {name: tensor.tolist() for name, tensor in RightPadding(7)(features).items()}
    assert batch == {"input_ids": [[3, 4], [5, 7]], "attention_mask": [[1, 1], [1, 0]]}
    assert RightPadding(None)(features)["input_ids"].tolist() == [[3, 4], [5, 0]]
