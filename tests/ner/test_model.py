from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx.errors import ArgumentError, DataError, LabelError
from easytx.ner import NERArgs, NERModel
from easytx.testing import ARCHITECTURES

TAGS = ["O", "B-LOC", "I-LOC", "B-PER"]
SENTENCES = [["John", "lives", "in", "New", "York"], ["Anna", "met", "Mary"]]

# Enough steps for two layers to learn eight words by heart.
FAST = {
    "num_train_epochs": 25,
    "learning_rate": 5e-3,
    "fp16": False,
    "manual_seed": 1,
    "save_steps": -1,
    "save_model_every_epoch": False,
    "silent": True,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_of_2000_words_gets_one_tag(architecture: str, tagger: Callable[..., NERModel]) -> None:
    model = tagger(architecture, labels=TAGS, max_seq_length=16)
    words = [f"{word}{i}" for i, word in enumerate(["Anna", "lives", "in", "London"] * 500)]
    predictions, raw_outputs = model.predict([" ".join(words), "Rome"])
    assert [next(iter(pair)) for pair in predictions[0]] == words
    assert {tag for pair in predictions[0] for tag in pair.values()} <= set(TAGS)
    assert [list(pair) for pair in raw_outputs[0]] == [[word] for word in words]
    assert {len(piece) for pair in raw_outputs[0] for pieces in pair.values() for piece in pieces} == {4}
    assert [list(pair) for pair in predictions[1]] == [["Rome"]]


def test_windows_say_the_same_as_the_whole_where_they_hold_it(tagger: Callable[..., NERModel]) -> None:
    short, long = tagger(labels=TAGS, max_seq_length=16, fp16=False), tagger(labels=TAGS, fp16=False)
    one, other = (model.predict("Anna met Mary")[1][0] for model in (short, long))
    for pair, same in zip(one, other, strict=True):
        for word, logits in pair.items():
            np.testing.assert_allclose(logits, same[word], atol=1e-5)


def test_predictions_stand_beside_their_words(tagger: Callable[..., NERModel]) -> None:
    model = tagger(labels=TAGS)
    answer = model.predict(pd.Series(["Anna \u200b met", "", "Rome"], index=["x", "y", "z"]))
    assert [[next(iter(pair)) for pair in sentence] for sentence in answer.predictions] == [
        ["Anna", "\u200b", "met"],
        [],
        ["Rome"],
    ]
    assert answer.predictions[0][1] == {"\u200b": "O"}
    np.testing.assert_array_equal(answer.raw_outputs[0][1]["\u200b"], [[np.nan] * 4])
    frame = answer.to_frame()
    assert frame["sentence_id"].tolist() == ["x", "x", "x", "z"]
    assert frame["word"].tolist() == ["Anna", "\u200b", "met", "Rome"]
    assert list(frame) == ["sentence_id", "word", "prediction", "probability"]
    assert frame["probability"].isna().tolist() == [False, True, False, False]


def test_the_logits_of_a_word_are_one_list_for_each_piece(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    model = tagger(labels=TAGS, fp16=False)
    words = ["Anna", "lives" * 3, "in", "London"]
    (tags,), (raw_outputs,) = model.predict([words])
    ids = [model.tokenizer([[word]], is_split_into_words=True, add_special_tokens=False).input_ids[0] for word in words]
    with torch.no_grad():
        logits = model.model(**model.tokenizer([words], is_split_into_words=True, return_tensors="pt")).logits[0, 1:-1]
    assert len(ids[1]) > 1
    assert [len(pair[word]) for pair, word in zip(raw_outputs, words, strict=True)] == [len(pieces) for pieces in ids]
    pieces = [piece for pair in raw_outputs for pieces in pair.values() for piece in pieces]
    np.testing.assert_allclose(pieces, logits, atol=1e-5)
    # As lists are used: their truth, a place in one, JSON.
    assert all(type(number) is float for piece in pieces for number in piece)
    assert all(pair[word] for pair, word in zip(raw_outputs, words, strict=True))
    first = [pair[word][0] for pair, word in zip(raw_outputs, words, strict=True)]
    assert [{word: TAGS[one.index(max(one))]} for word, one in zip(words, first, strict=True)] == tags
    assert json.loads(json.dumps(raw_outputs)) == raw_outputs

    seen: list[Any] = []
    _, model_outputs, _ = model.eval_model(frame, prob_seen=lambda _, outputs: seen.append(outputs) or 0)
    assert seen == [model_outputs]
    assert json.loads(json.dumps(model_outputs)) == model_outputs


def test_words_are_not_split_again(tagger: Callable[..., NERModel]) -> None:
    model = tagger(labels=TAGS)
    assert len(model.predict([["New York", "is"]], split_on_space=False).predictions[0]) == 2
    with pytest.raises(DataError, match=r"^to_predict has a text in 1 row \(row 0\), but with split_on_space=False"):
        model.predict(["New York"], split_on_space=False)


def test_labels_are_learnt_in_a_readable_order(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    model = tagger()
    model.prepared(frame, name="train_df", split="train", renames={})
    assert model.labels is not None
    assert model.labels.labels == TAGS
    assert model.model.config.id2label == dict(enumerate(TAGS))
    assert model.args["labels_list"] == TAGS


@pytest.mark.parametrize("given", ["labels", "labels_list"])
def test_stated_labels_stay_and_others_are_refused(
    given: str, checkpoint: Callable[[str], Path], frame: pd.DataFrame
) -> None:
    stated = ["B-PER", "O", "B-LOC"]
    options: dict[str, Any] = {"labels": stated} if given == "labels" else {"args": {"labels_list": stated}}
    model = NERModel("bert", checkpoint("bert"), use_cuda=False, **options)
    message = (
        "train_df has tags that the model does not have in 1 row: 'I-LOC' (row 4). "
        "Its labels are ['B-PER', 'O', 'B-LOC']."
    )
    with pytest.raises(LabelError, match=f"^{re.escape(message)}$"):
        model.train_model(frame)
    assert model._model is None
    assert not Path("outputs").exists()


def test_everything_wrong_is_said_before_weights_are_loaded(
    tagger: Callable[..., NERModel], frame: pd.DataFrame
) -> None:
    model = tagger()
    with pytest.raises(LabelError, match=r"^train_df has one tag only: 'O' for all 8 words\."):
        model.train_model(frame.assign(labels="O"))
    with pytest.raises(DataError, match=r"^train_df has no tag in 1 row of the column 'labels': row 2\."):
        model.train_model(frame.assign(labels=frame["labels"].where(frame.index != 2)))
    with pytest.raises(ArgumentError, match=r"^max_seq_length is 600, but '.*' reads at most 512 tokens\."):
        tagger(labels=TAGS, max_seq_length=600).predict("Rome")
    assert model._model is None


def test_arguments_have_the_usual_defaults() -> None:
    args = NERArgs()
    assert (args.lazy_loading_start_line, args.classification_report, args.labels_list) == (0, False, [])
    assert args.stride == 0.8
    with pytest.raises(ArgumentError, match=r"^stride must be greater than 0, but is 0\.0\.$"):
        NERArgs(stride=0)


def test_evaluation_scores_words(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    model = tagger(labels=TAGS, classification_report=True)

    def wrong(truth: list[list[str]], predicted: list[list[str]]) -> int:
        return sum(a != b for pair in zip(truth, predicted, strict=True) for a, b in zip(*pair, strict=True))

    def prob_pieces(truth: list[list[str]], outputs: list[list[np.ndarray]]) -> int:
        return sum(len(pieces) for sentence in outputs for pieces in sentence)

    shuffled = frame.iloc[[5, 0, 1, 6, 2, 3, 7, 4]]
    outcome = model.eval_model(shuffled, wrong=wrong, prob_pieces=prob_pieces)
    result, model_outputs, preds_list = outcome
    assert {"precision", "recall", "f1_score", "token_accuracy", "eval_loss"} <= set(result)
    assert result["wrong"] == round(8 * (1 - result["token_accuracy"]))
    assert result["prob_pieces"] == 8
    assert [len(tags) for tags in preds_list] == [3, 5]
    assert [[np.shape(pieces) for pieces in sentence] for sentence in model_outputs] == [[(1, 4)] * 3, [(1, 4)] * 5]
    words = outcome.to_frame()
    assert words.index.tolist() == [5, 0, 1, 6, 2, 3, 7, 4]
    assert words["word"].tolist() == shuffled["words"].tolist()
    assert words["label"].tolist() == shuffled["labels"].tolist()
    assert set(outcome.table.index) >= {"LOC", "PER"}
    assert outcome.table.loc["PER", "support"] == 3
    text = Path("outputs/eval_results.txt").read_text("utf-8")
    assert text.startswith("eval_loss = ")
    assert "support" in text
    assert "f1_score" in json.loads(Path("outputs/eval_results.json").read_text("utf-8"))


def test_without_the_argument_there_is_no_report(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    tagger(labels=TAGS).eval_model(frame, output_dir="elsewhere")
    assert "support" not in Path("elsewhere/eval_results.txt").read_text("utf-8")


def test_sentences_that_are_there_twice_are_a_warning(
    tagger: Callable[..., NERModel], frame: pd.DataFrame, warned: Any
) -> None:
    twice = pd.concat([frame, frame.assign(sentence_id=frame["sentence_id"].map({7: 8, "b": "c"})), frame[5:]])
    twice = twice.assign(sentence_id=[*twice["sentence_id"][:16], "d", "d", "d"])
    model = tagger()
    _, messages = warned(lambda: model.prepared(twice, name="train_df", split="train", renames={}))
    assert messages == ["train_df has 3 sentences with the same words as an earlier sentence."]
    _, messages = warned(lambda: model.prepared(twice, name="eval_df", split="eval", renames={}))
    assert messages == []


def test_unknown_tags_of_evaluation_rows_are_refused(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    with pytest.raises(LabelError, match=r"^eval_df has tags that the model does not have in 3 rows: 'B-PER' \(rows 0"):
        tagger(labels=TAGS[:3]).eval_model(frame)


def test_the_loss_of_a_window_without_first_tokens_is_no_nan(tagger: Callable[..., NERModel]) -> None:
    model = tagger(labels=TAGS, max_seq_length=8, eval_batch_size=1)
    result, _, _ = model.eval_model([(["x" * 40, "in"], ["B-LOC", "O"])])
    assert np.isfinite(result["eval_loss"])


def test_weights_are_those_of_tokens(checkpoint: Callable[[str], Path], frame: pd.DataFrame) -> None:
    model = NERModel("bert", checkpoint("bert"), weight="balanced", use_cuda=False)
    model.prepared(frame, name="train_df", split="train", renames={})
    # 8 words: O three times, B-LOC once, I-LOC once, B-PER three times.
    assert model.label_weights() == pytest.approx([8 / 12, 2, 2, 8 / 12])
    logits, labels = torch.zeros(1, 2, 4), torch.tensor([[1, -100]])
    assert model.loss()(logits, labels).item() == pytest.approx(np.log(4))


def test_tokenised_sentences_are_kept_where_that_is_asked_for(
    tagger: Callable[..., NERModel], frame: pd.DataFrame
) -> None:
    model = tagger(labels=TAGS, reprocess_input_data=False)
    first, second = (model.prepared(frame, name="eval_df", split="eval", renames={}) for _ in range(2))
    assert first.dataset[:] == second.dataset[:]
    other = model.prepared(frame.assign(labels="O"), name="eval_df", split="eval", renames={})
    assert other.dataset["labels"] != first.dataset["labels"]
    assert len(list(Path("cache_dir").iterdir())) == 2


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_a_model_learns_and_comes_back_as_it_was(
    architecture: str, tagger: Callable[..., NERModel], frame: pd.DataFrame
) -> None:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    model = tagger(architecture, **FAST, output_dir="trained")
    before = model.loss()
    steps, loss = model.train_model(frame)
    assert before is model.loss()
    result, outputs, preds_list = model.eval_model(frame)
    assert steps == 25
    assert result["eval_loss"] < 0.1 < loss
    assert preds_list == [["B-PER", "O", "O", "B-LOC", "I-LOC"], ["B-PER", "O", "B-PER"]]
    assert result["f1_score"] == 1.0

    texts = [" ".join(words) for words in SENTENCES]
    for again in (NERModel(architecture, "trained", use_cuda=False), easytx.load("trained", use_cuda=False)):
        assert again.predict(texts).predictions == model.predict(texts).predictions
        np.testing.assert_allclose(again.predict(texts).raw_outputs[0][0]["John"], outputs[0][0], atol=1e-5)

    plain = AutoModelForTokenClassification.from_pretrained("trained")
    inputs = AutoTokenizer.from_pretrained("trained")([SENTENCES[1]], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        logits = plain(**inputs).logits[0, 1:-1]
    assert [plain.config.id2label[int(i)] for i in logits.argmax(-1)] == preds_list[1]
    np.testing.assert_allclose(logits.numpy(), np.concatenate(outputs[1]), atol=1e-5)


def test_a_trained_model_keeps_its_labels(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    model = tagger(**{**FAST, "num_train_epochs": 1, "no_save": True})
    model.train_model(frame)
    with pytest.raises(
        LabelError, match=r"^train_df has tags that the model does not have in 1 row: 'B-NEW' \(row 0\)"
    ):
        model.train_model([(["Rome", "is"], ["B-NEW", "O"])])
    assert model.predict("Rome").predictions[0][0]["Rome"] in TAGS


def test_evaluation_while_training_scores_whole_sentences(tagger: Callable[..., NERModel], frame: pd.DataFrame) -> None:
    model = tagger(**{**FAST, "num_train_epochs": 2}, max_seq_length=8, evaluate_during_training=True)
    with pytest.warns(UserWarning, match="^2 rows of eval_df are in train_df too"):
        _, details = model.train_model(frame, eval_data=frame)
    assert len(details["f1_score"]) == len(details["eval_loss"]) == 2
