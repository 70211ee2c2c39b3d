"""Rows of unlike lengths as one tensor."""

from __future__ import annotations

import pytest
import torch
from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding

from easytx.data.padding import Padding, RightPadding, TokenColumns, padded
from easytx.testing import tiny_tokenizer


def test_rows_are_filled_up_at_their_ends() -> None:
    assert padded([[1, 2, 3], [4], []], 9).tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert padded([[1, 2, 3], [4], []], 9, left=True).tolist() == [[1, 2, 3], [9, 9, 4], [9, 9, 9]]
    assert padded([[5]], 0).dtype is torch.int64


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("names", [["input_ids"], ["input_ids", "attention_mask", "token_type_ids"]], ids=len)
@pytest.mark.parametrize("labels", [[1, 0], [0.5, 1.5], [[0.0, 1.0], [1.0, 1.0]], None], ids=str)
def test_batches_are_those_of_transformers(side: str, names: list[str], labels: list[object] | None) -> None:
    tokenizer = tiny_tokenizer("bert")
    tokenizer.padding_side, tokenizer.pad_token_id = side, 3
    rows = [{"input_ids": [7, 8, 9], "attention_mask": [1, 1, 0], "token_type_ids": [0, 1, 1]}]
    rows.append({"input_ids": [5], "attention_mask": [1], "token_type_ids": [1]})
    features = [{name: row[name] for name in names} for row in rows]
    if labels is not None:
        features = [{**row, "labels": label} for row, label in zip(features, labels, strict=True)]
    expected = dict(DataCollatorWithPadding(tokenizer)([dict(row) for row in features]))
    found = Padding(tokenizer)(features)
    torch.testing.assert_close({name: found[name] for name in sorted(found)}, dict(sorted(expected.items())))


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_of_labelled_tokens_are_those_of_transformers(side: str) -> None:
    tokenizer = tiny_tokenizer("bert")
    tokenizer.padding_side = side
    features = [{"input_ids": [7, 8, 9], "labels": [-100, 2, 1]}, {"input_ids": [5], "labels": [4]}]
    expected = dict(DataCollatorForTokenClassification(tokenizer)([dict(row) for row in features]))
    found = Padding(tokenizer, labels=-100)(features)
    torch.testing.assert_close(dict(sorted(found.items())), dict(sorted(expected.items())))


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
