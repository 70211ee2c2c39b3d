from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch

from easytx.data.labels import LabelMap
from easytx.data.prepared import TaskData
from easytx.data.tokenise import read_by_word
from easytx.errors import LabelError
from easytx.ner.data import answers, cross_entropy, in_order, several_tags, tag_ids
from easytx.ner.results import words_frame
from easytx.ner.windows import encode_words
from easytx.testing import ARCHITECTURES, tiny_tokenizer

LABELS = LabelMap(["O", "B-LOC", "I-LOC"])
WORDS = ["John", "\u200b", "London's", "", "Rome", "Xyzzy"]


def _data(architecture: str, sentences: list[list[str]], max_length: int, overlap: int) -> TaskData:
    dataset = encode_words(
        read_by_word(tiny_tokenizer(architecture)), sentences, None, max_length=max_length, overlap=overlap
    )
    frame = pd.DataFrame({"sentence_id": range(len(sentences)), "words": sentences})
    return TaskData(frame, dataset, name="eval_df", labelled=False)


def _oracle(data: TaskData, gold: list[list[int]]) -> list[np.ndarray]:
    """Return logits that are right for the first token of each word and wrong for all others."""
    values = []
    dataset = data.dataset.with_format(None)
    seen: dict[tuple[int, int], int] = {}
    for row, position, words in zip(dataset["row"], dataset["position"], dataset["word_ids"], strict=True):
        for place, word in zip(position, words, strict=True):
            if word >= 0:
                seen[row, word] = min(seen.get((row, word), place), place)
    opens = {(row, place) for (row, _), place in seen.items()}
    for row, position, words in zip(dataset["row"], dataset["position"], dataset["word_ids"], strict=True):
        right = [(gold[row][word] if word >= 0 else 0) for word in words]
        chosen = [tag if (row, place) in opens else (tag + 1) % 3 for tag, place in zip(right, position, strict=True)]
        values.append(np.eye(3, dtype=np.float32)[chosen])
    return values


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_word_of_a_long_sentence_gets_the_tag_of_its_first_token(architecture: str) -> None:
    sentences = [(WORDS * 334)[:2000], ["Rome"], [], WORDS]
    gold = [[i % 3 for i in range(len(words))] for words in sentences]
    data = _data(architecture, sentences, max_length=16, overlap=4)
    found = answers(_oracle(data, gold), data, LABELS)
    tokenizer = read_by_word(tiny_tokenizer(architecture))
    for words, right, tags, logits in zip(sentences, gold, found.tags, found.logits, strict=True):
        encoding = tokenizer([words], is_split_into_words=True, add_special_tokens=False).encodings[0]
        pieces = np.bincount(np.array(encoding.word_ids, dtype=int), minlength=len(words))
        assert [len(array) for array in logits] == pieces.tolist()
        assert tags == [LABELS.labels[tag] if there else "O" for tag, there in zip(right, pieces, strict=True)]


def test_a_word_is_read_in_the_window_that_shows_most_around_it() -> None:
    data = _data("bert", [["one", "two", "three", "four", "five", "six", "seven"]], max_length=7, overlap=3)
    assert data.dataset["position"][:] == [[-1, 0, 1, 2, 3, 4, -1], [-1, 2, 3, 4, 5, 6, -1]]
    values = [np.full((7, 3), window, dtype=np.float32) for window in range(2)]
    found = answers(values, data, LABELS)
    # Towards the ends of the sentence there is nothing to miss. The fourth word is amid both: the first counts.
    assert [float(array[0, 0]) for array in found.logits[0]] == [0, 0, 0, 0, 1, 1, 1]


def test_a_word_longer_than_a_window_gets_a_tag_and_all_its_pieces() -> None:
    data = _data("bert", [["in", "x" * 30, "Rome"]], max_length=8, overlap=2)
    found = answers(_oracle(data, [[0, 1, 2]]), data, LABELS)
    assert found.tags == [["O", "B-LOC", "I-LOC"]]
    assert [array.shape for array in found.logits[0]] == [(1, 3), (30, 3), (1, 3)]


def test_probabilities_are_those_of_the_chosen_labels() -> None:
    data = _data("bert", [["Rome", "\u200b"]], max_length=8, overlap=0)
    logits = np.log(np.array([[1, 1, 1], [1, 6, 1], [1, 1, 1]], dtype=np.float32))
    found = answers([logits], data, LABELS)
    np.testing.assert_allclose(found.probabilities[0], [0.75, np.nan], rtol=1e-6)
    assert found.tags == [["B-LOC", "O"]]
    assert found.logits[0][1].shape == (0, 3)


def test_a_vanished_word_gets_the_first_label_where_there_is_no_o() -> None:
    data = _data("bert", [["\u200b"]], max_length=8, overlap=0)
    found = answers([np.zeros((3, 2), dtype=np.float32)], data, LabelMap(["X", "Y"]))
    assert found.tags == [["X"]]


def test_answers_stand_in_the_order_and_under_the_index_of_the_rows() -> None:
    data = _data("bert", [["Rome", "is"], ["Paris"]], max_length=8, overlap=0)
    frame = data.frame.assign(labels=[["B-LOC", "O"], ["B-LOC"]], row=[[2, 0], [1]], index=[["x", "y"], ["z"]])
    found = words_frame(frame, answers([np.zeros((4, 3), np.float32), np.zeros((3, 3), np.float32)], data, LABELS))
    assert found.index.tolist() == ["y", "z", "x"]
    assert found["word"].tolist() == ["is", "Paris", "Rome"]
    assert found["label"].tolist() == ["O", "B-LOC", "B-LOC"]
    assert list(found) == ["sentence_id", "word", "label", "prediction", "probability"]


def test_labels_stand_by_entity_type_with_o_first() -> None:
    given = ["B-LOC", "B-PER", "I-LOC", "I-PER", "MISC", "O"]
    assert in_order(given) == ["O", "B-LOC", "I-LOC", "MISC", "B-PER", "I-PER"]
    assert in_order([0, 1, 2]) == [0, 1, 2]


def test_unknown_tags_are_named_with_the_callers_rows() -> None:
    lists = pd.DataFrame({"words": [["a", "b"], ["c"]], "labels": [["O", "B-X"], ["B-Y"]]})
    message = (
        "eval_df has tags that the model does not have in 2 rows: 'B-X', 'B-Y' ({}). "
        "Its labels are ['O', 'B-LOC', 'I-LOC']."
    )
    with pytest.raises(LabelError, match=f"^{re.escape(message.format('rows 0, 1'))}$"):
        tag_ids(lists, LABELS, name="eval_df")
    with pytest.raises(LabelError, match=f"^{re.escape(message.format('rows 4, 7'))}$"):
        tag_ids(lists.assign(row=[[3, 7], [4]]), LABELS, name="eval_df")
    assert tag_ids(lists.assign(labels=[["O", "I-LOC"], ["O"]]), LABELS, name="eval_df").tolist() == [0, 2, 0]


def test_one_tag_only_is_refused() -> None:
    message = "train_df has one tag only: 'O' for all 3 words. A tagger needs words of two tags or more."
    with pytest.raises(LabelError, match=f"^{re.escape(message)}$"):
        several_tags(pd.DataFrame({"labels": [["O", "O"], ["O"]]}), pd.DataFrame(), name="train_df")


def test_the_loss_is_a_mean_over_labelled_tokens_and_zero_without_any() -> None:
    logits = torch.zeros(2, 3, 4, requires_grad=True)
    labels = torch.tensor([[-100, 1, -100], [2, -100, -100]])
    assert cross_entropy(logits, labels).item() == pytest.approx(np.log(4))
    nothing = cross_entropy(logits, torch.full((2, 3), -100))
    nothing.backward()
    assert nothing.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()
