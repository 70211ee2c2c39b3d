"""Texts become unpadded token ids, and every feature knows its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from easytx.classification import ClassificationArgs
from easytx.data import tokenise
from easytx.data.prepared import TaskData, rows_to_features
from easytx.data.tokenise import column, encode, lengths_of, truncated_rows, window_overlap, with_column
from easytx.testing import ARCHITECTURES, CORPUS, DECODER_ARCHITECTURES, SEQ2SEQ_ARCHITECTURES, tiny_tokenizer

WORDS = ["The", "film", "was", "a", "joy", "from", "the", "first", "scene", "to", "the", "last", "and", "I", "would"]
LONG = " ".join(WORDS)
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
TEXTS = ["good film", LONG, "", "bad film"]


@pytest.fixture
def tokenizer() -> Any:
    return tiny_tokenizer()


def _tokens(tokenizer: Any, dataset: Any, row: int) -> list[list[str]]:
    """Return the tokens of each feature of a row, without the special ones."""
    kept = [ids for ids, of in zip(dataset["input_ids"], dataset["row"], strict=True) if of == row]
    special = set(tokenizer.all_special_ids)
    return [tokenizer.convert_ids_to_tokens([i for i in ids if i not in special]) for ids in kept]


def test_features_are_unpadded_and_know_row_and_length(tokenizer: Any) -> None:
    dataset = encode(tokenizer, TEXTS, max_length=8)
    assert dataset["input_ids"][:] == [tokenizer(text, truncation=True, max_length=8)["input_ids"] for text in TEXTS]
    assert dataset["row"][:] == [0, 1, 2, 3]
    assert lengths_of(dataset).tolist() == [4, 8, 2, 4] == [len(ids) for ids in dataset["input_ids"]]
    assert dataset["attention_mask"][:] == [[1] * n for n in (4, 8, 2, 4)]


def test_cut_texts_are_marked_and_counted(tokenizer: Any) -> None:
    dataset = encode(tokenizer, [*TEXTS, LONG], max_length=8)
    assert dataset["cut"][:] == [False, True, False, False, True]
    assert truncated_rows(dataset) == 2
    fits = encode(tokenizer, [LONG], max_length=len(WORDS) + 2)
    assert lengths_of(fits).tolist() == [17]
    assert truncated_rows(fits) == 0


def test_the_two_texts_of_a_pair_keep_their_types(tokenizer: Any) -> None:
    dataset = encode(tokenizer, ["good film", "bad"], ["I would", LONG], max_length=9)
    assert dataset["token_type_ids"][:] == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1, 1]]
    assert truncated_rows(dataset) == 1


@pytest.mark.parametrize("template", ["[CLS]:0 $A:1 [SEP]:0", "[CLS]:2 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0"])
def test_types_of_single_texts_are_those_of_the_template(tokenizer: Any, template: str) -> None:
    special = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=special)
    texts = ["", *TEXTS]
    expected = tokenizer(texts, truncation=True, max_length=8)["token_type_ids"]
    for overlap in (None, 2):
        dataset = encode(tokenizer, texts, max_length=8, overlap=overlap)
        found = [types for types, row in zip(dataset["token_type_ids"], dataset["row"], strict=True) if row != 2]
        assert found == expected[:2] + expected[3:]


def test_a_tokenizer_without_types_gives_none() -> None:
    dataset = encode(tiny_tokenizer("distilbert"), ["good film"], max_length=9)
    assert "token_type_ids" not in encode(tiny_tokenizer("roberta"), ["good film"], max_length=9).column_names
    assert set(dataset.column_names) - {"token_type_ids"} == {"input_ids", "attention_mask", "row", "cut", "length"}


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_windows_cover_the_whole_text(tokenizer: Any, overlap: int) -> None:
    dataset = encode(tokenizer, TEXTS, max_length=8, overlap=overlap)
    windows = _tokens(tokenizer, dataset, 1)
    joined = [*windows[0]]
    for window in windows[1:]:
        assert window[:overlap] == joined[len(joined) - overlap :]
        joined += window[overlap:]
    assert joined == [word.lower() for word in WORDS]
    assert sorted(set(dataset["row"])) == [0, 1, 2, 3]
    assert max(lengths_of(dataset)) == 8
    assert lengths_of(dataset).tolist() == [len(ids) for ids in dataset["input_ids"]]
    assert "cut" not in dataset.column_names
    assert truncated_rows(dataset) == 0


@pytest.mark.parametrize("stride", [0.05, 0.5, 0.8, 1.0, 3.0, 99.0])
def test_windows_over_pairs_show_every_token_of_both(tokenizer: Any, stride: float) -> None:
    args = ClassificationArgs(sliding_window=True, stride=stride, max_seq_length=13)
    overlap = window_overlap(tokenizer, args, pairs=True)
    dataset = encode(tokenizer, [LONG, "good", LONG], ["bad film", LONG, LONG], max_length=13, overlap=overlap)
    assert max(lengths_of(dataset)) <= 13
    for row, texts in enumerate(([*WORDS, "bad", "film"], ["good", *WORDS], WORDS)):
        seen = {token for window in _tokens(tokenizer, dataset, row) for token in window}
        assert seen == {word.lower() for word in texts}


def test_chunks_give_what_one_call_gives(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"max_length": 8}, {"max_length": 8, "overlap": 2}, {"pairs": TEXTS[::-1], "max_length": 8}):
        whole = encode(tokenizer, TEXTS, **options)
        with monkeypatch.context() as patch:
            patch.setattr(tokenise, "_CHUNK", 3)
            in_parts = encode(tokenizer, TEXTS, **options)
        assert in_parts.column_names == whole.column_names
        assert in_parts.to_dict() == whole.to_dict()


@pytest.mark.parametrize("kind", sorted({*ARCHITECTURES, *SEQ2SEQ_ARCHITECTURES, *DECODER_ARCHITECTURES}))
def test_features_are_those_of_a_call_of_the_tokenizer(kind: str) -> None:
    tokenizer, texts = (
        tiny_tokenizer(kind),
        [*CORPUS[:5], "", LONG, "Ü — 漢字 \U0001f600  two  spaces\n</s>[SEP] "],
    )
    for given in ({"text": texts}, {"text": texts, "text_pair": texts[::-1]}, {"text_target": texts}):
        if "text_pair" in given and tokenizer.num_special_tokens_to_add(pair=True) > 4:
            continue
        expected = tokenizer(**given, truncation=True, max_length=9, verbose=False)
        pairs, is_target = given.get("text_pair"), "text_target" in given
        dataset = encode(tokenizer, texts, pairs, max_length=9, is_target=is_target)
        inputs = {name: expected[name] for name in INPUTS if name in expected}
        assert {name: dataset[name][:] for name in inputs} == inputs
        assert set(dataset.column_names) == {*inputs, "row", "cut", "length"}
        whole = tokenizer(**given, verbose=False)["input_ids"]
        assert dataset["cut"][:] == [len(ids) > 9 for ids in whole]


@pytest.mark.parametrize("kind", ["albert", "bert", "deberta-v2", "gpt2", "roberta", "t5"])
def test_windows_are_those_of_a_call_of_the_tokenizer(kind: str) -> None:
    tokenizer, texts = tiny_tokenizer(kind), [*CORPUS[:5], "", LONG]
    for pairs in (None, texts[::-1]):
        expected = tokenizer(
            texts, pairs, truncation=True, max_length=13, stride=2, return_overflowing_tokens=True, verbose=False
        )
        dataset = encode(tokenizer, texts, pairs, max_length=13, overlap=2)
        inputs = {name: expected[name] for name in INPUTS if name in expected}
        assert {name: dataset[name][:] for name in inputs} == inputs
        assert dataset["row"][:] == expected["overflow_to_sample_mapping"]
        assert len(dataset) > len(texts)


def test_a_tokenizer_with_calls_of_its_own_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()
    kind: Any = type(tokenizer)

    class Shouting(kind):  # type: ignore[misc]
        def _encode_plus(self, text: Any, **options: Any) -> Any:
            return super()._encode_plus([f"{one} film" for one in text], **options)

    monkeypatch.setattr(tokenizer, "__class__", Shouting)
    assert lengths_of(encode(tokenizer, TEXTS, max_length=20)).tolist() == [5, 18, 3, 5]


@pytest.mark.parametrize(
    ("stride", "length", "overlap"),
    [(0.8, 12, 2), (1.0, 12, 0), (0.5, 12, 5), (3.0, 12, 7), (50.0, 12, 0), (0.01, 12, 9), (0.8, 4, 1)],
)
def test_the_stride_is_a_share_or_a_number_of_tokens(tokenizer: Any, stride: float, length: int, overlap: int) -> None:
    args = ClassificationArgs(sliding_window=True, stride=stride, max_seq_length=length)
    assert window_overlap(tokenizer, args) == overlap


def test_there_are_no_windows_unless_asked_for(tokenizer: Any) -> None:
    assert window_overlap(tokenizer, ClassificationArgs()) is None


def test_windows_over_pairs_move_on_in_either_text(tokenizer: Any) -> None:
    overlaps = [
        window_overlap(tokenizer, ClassificationArgs(sliding_window=True, stride=stride, max_seq_length=13), pairs=True)
        for stride in (0.8, 0.5, 0.1)
    ]
    # Three special tokens leave room for 10, of which each text has 5 at least.
    assert overlaps == [2, 4, 4]


def test_a_column_can_be_added_and_read(tokenizer: Any) -> None:
    dataset = with_column(encode(tokenizer, TEXTS, max_length=8), "labels", [3, 1, 2, 0])
    assert column(dataset, "labels").tolist() == [3, 1, 2, 0]
    vectors = with_column(dataset, "vectors", [np.array([1.0, 0.0], dtype=np.float32)] * 4)
    assert vectors["vectors"][0] == [1.0, 0.0]


def test_features_are_found_by_row(tokenizer: Any) -> None:
    assert [part.tolist() for part in rows_to_features(np.array([0, 0, 1, 2, 2]), 3)] == [[0, 1], [2], [3, 4]]
    assert [part.tolist() for part in rows_to_features(np.array([2, 0, 1, 0]), 3)] == [[1, 3], [2], [0]]
    assert [part.tolist() for part in rows_to_features(np.array([0, 2]), 3)] == [[0], [], [1]]
    dataset = encode(tokenizer, TEXTS, max_length=8, overlap=0)
    data: Any = TaskData(frame=TEXTS, dataset=dataset, name="eval_df", labelled=False)  # type: ignore[arg-type]
    assert [part.tolist() for part in data.features_of_rows()] == [[0], [1, 2, 3], [4], [5]]
