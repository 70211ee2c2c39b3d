"""Two texts a row as ids: what is cut, what ends a text, what is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import AutoTokenizer

from easytx import Seq2SeqModel
from easytx.errors import ArgumentError
from easytx.seq2seq.data import encode_texts, missing_end
from easytx.testing import SEQ2SEQ_ARCHITECTURES, tiny_tokenizer

from .conftest import rows

Maker = Callable[..., Seq2SeqModel]
Warned = Callable[[Callable[[], Any]], tuple[Any, list[str]]]


@pytest.mark.parametrize("architecture", SEQ2SEQ_ARCHITECTURES)
def test_labels_are_the_ids_of_the_target(architecture: str) -> None:
    tokenizer = tiny_tokenizer(architecture)
    inputs, targets = ["The film was a joy", "A dull story"], ["a joy", "dull and long"]
    dataset = encode_texts((tokenizer, tokenizer), inputs, targets, (64, 64))
    assert dataset["input_ids"][:] == [tokenizer(text)["input_ids"] for text in inputs]
    labels = [tokenizer(text_target=text)["input_ids"] for text in targets]
    # Where a tokenizer leaves it out, the end is added: without it no text that is written would ever end.
    end = [tokenizer.eos_token_id]
    assert dataset["labels"][:] == [ids if ids[-1:] == end or "mbart" in architecture else ids + end for ids in labels]
    both = zip(dataset["input_ids"], dataset["labels"], strict=True)
    assert dataset["length"][:] == [len(ids) + len(labels) for ids, labels in both]
    assert set(dataset.column_names) == {
        "input_ids", "attention_mask", "labels", "row", "cut", "cut_target", "length",
    }  # fmt: skip


def test_rows_to_predict_have_no_labels() -> None:
    tokenizer = tiny_tokenizer("bert")
    dataset = encode_texts((tokenizer, tokenizer), ["The film was a joy"], None, (64, 64))
    assert set(dataset.column_names) == {"input_ids", "attention_mask", "row", "cut", "length"}


def test_a_text_that_its_tokenizer_does_not_end_gets_an_end(checkpoint: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("bart"), add_bos_token=False)
    tokenizer.backend_tokenizer.post_processor = None
    assert missing_end(tiny_tokenizer("bart")) == []
    assert missing_end(tokenizer) == [tokenizer.eos_token_id]
    dataset = encode_texts((tokenizer, tokenizer), ["a"], ["The film was a joy"], (64, 4))
    assert dataset["labels"][0] == [*tokenizer("The film was")["input_ids"], tokenizer.eos_token_id]
    assert dataset["cut_target"][0]


@pytest.mark.parametrize("architecture", ["t5", "byt5", "marian"])
def test_cut_texts_are_counted(model: Maker, architecture: str, warned: Warned) -> None:
    made = model(architecture, max_seq_length=30, max_target_length=8)
    frame = rows(4)
    frame["input_text"] = ["the film"] * 3 + ["the film was a joy " * 20]
    frame["target_text"] = ["a"] * 2 + ["a very long story about a film " * 9] * 2
    _, messages = warned(lambda: made.prepared(frame, name="train_df", split="train", renames={}))
    assert messages == [
        "1 of 4 rows of train_df are longer than max_seq_length=30 tokens and were cut. Set a higher max_seq_length.",
        "2 of 4 rows of train_df are longer than max_target_length=8 tokens and were cut. "
        "Set a higher max_target_length.",
    ]


@pytest.mark.parametrize("architecture", ["t5", "byt5"])
def test_texts_that_fit_exactly_are_not_cut(model: Maker, architecture: str) -> None:
    text = "the film"
    number = len(tiny_tokenizer(architecture)(text)["input_ids"])
    made = model(architecture, max_seq_length=max(number, 4), max_target_length=number)
    frame = rows(1).assign(input_text=text, target_text=text)
    data = made.prepared(frame, name="train_df", split="train", renames={})
    assert data.dataset["labels"][0][-1] == made.tokenizer.eos_token_id


def test_more_than_the_model_reads_is_refused(model: Maker) -> None:
    made = model("bart", max_seq_length=600)
    with pytest.raises(ArgumentError, match=r"^max_seq_length is 600, but '.*' reads at most 512 tokens\."):
        made.predict(["a"])
    made = model("bart", max_target_length=600)
    with pytest.raises(ArgumentError, match=r"^max_target_length is 600, .* Set max_target_length=512 or less\."):
        made.eval_model(rows(2))


@pytest.mark.parametrize("max_target_length", [10, 6])
def test_kept_data_is_told_apart_by_targets_and_lengths(model: Maker, max_target_length: int, tmp_path: Any) -> None:
    def labels(targets: list[str], **args: Any) -> list[Any]:
        made = model("t5", reprocess_input_data=False, cache_dir=str(tmp_path / "kept"), **args)
        frame = rows(2).assign(target_text=targets)
        found: list[Any] = made.prepared(frame, name="train_df", split="train", renames={}).dataset["labels"][:]
        return found

    first = labels(["a film", "a story"], max_target_length=max_target_length)
    assert labels(["a film", "a book"], max_target_length=max_target_length) != first
    assert labels(["a film", "a story"], max_target_length=max_target_length) == first
    assert len(list((tmp_path / "kept").iterdir())) == 2
