"""Models that read where on a page each word stands: the same answers as transformers gives, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BrosConfig,
    LayoutLMv2Config,
    LayoutLMv3Tokenizer,
)

import easytx
from easytx.classification import ClassificationModel, MultiLabelClassificationModel
from easytx.data.boxes import BOX
from easytx.errors import CheckpointError, DataError
from easytx.ner import NERModel
from easytx.testing import LAYOUT_ARCHITECTURES, tiny_checkpoint, tiny_tokenizer

SETTINGS: dict[str, Any] = {
    "fp16": False,
    "manual_seed": 1,
    "no_save": True,
    "overwrite_output_dir": True,
    "save_model_every_epoch": False,
    "silent": True,
}
WORDS = [
    ["John", "lives", "in", "London"],
    ["Xyzzy"],
    ["the", "film", "was", "a", "unbelievable", "waste", "of", "time"],
]
CORNERS = [0, 0, 0, 0], [1000, 1000, 1000, 1000]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny checkpoints, by their architectures."""
    place = tmp_path_factory.mktemp("layout")
    return {name: tiny_checkpoint(place / name, name) for name in (*LAYOUT_ARCHITECTURES, "bert")}


def _boxes(seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [np.sort(random.integers(0, 1001, (len(words), 2, 2)), axis=1).reshape(-1, 4) for words in WORDS]


def _rows(texts: list[Any], boxes: list[np.ndarray]) -> list[list[Any]]:
    return [[text, *box.T.tolist()] for text, box in zip(texts, boxes, strict=True)]


def _documents(seed: int = 0) -> pd.DataFrame:
    rows = _rows([" ".join(words) for words in WORDS], _boxes(seed))
    return pd.DataFrame(rows, columns=["text", *BOX]).assign(labels=["a", "b", "a"])


def _by_word(seed: int = 0) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"sentence_id": number, "words": words, "labels": "O"}).join(pd.DataFrame(boxes, columns=[*BOX]))
        for number, (words, boxes) in enumerate(zip(WORDS, _boxes(seed), strict=True))
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(labels=["B-LOC" if word == "London" else "O" for word in frame["words"]])


def _inputs(folder: Path, words: list[str], boxes: np.ndarray) -> dict[str, torch.Tensor]:
    """Return what transformers' documentation makes of words and boxes: the pieces of one word after another."""
    tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    ids = [tokenizer.cls_token_id, *(piece for part in pieces for piece in part), tokenizer.sep_token_id]
    inside = [box.tolist() for box, part in zip(boxes, pieces, strict=True) for _ in part]
    return {"input_ids": torch.tensor([ids]), "bbox": torch.tensor([[CORNERS[0], *inside, CORNERS[1]]])}


@pytest.mark.parametrize("architecture", LAYOUT_ARCHITECTURES)
def test_a_classifier_says_what_its_network_says_of_hand_made_inputs(
    architecture: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = ClassificationModel(architecture, folders[architecture], num_labels=3, args=SETTINGS)
    outputs = model.predict(_rows([" ".join(words) for words in WORDS], _boxes(0))).raw_outputs
    model.save_model(tmp_path)
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    for words, boxes, found in zip(WORDS, _boxes(0), outputs, strict=True):
        with torch.no_grad():
            expected = network(**_inputs(tmp_path, words, boxes)).logits[0].numpy()
            elsewhere = network(**_inputs(tmp_path, words, 0 * boxes)).logits[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.abs(expected - elsewhere).max() > 1e-3
    opened = easytx.load(tmp_path)
    np.testing.assert_array_equal(opened.predict(_documents()[["text", *BOX]]).raw_outputs, outputs)


@pytest.mark.parametrize("architecture", LAYOUT_ARCHITECTURES)
def test_a_tagger_says_what_its_network_says_of_hand_made_inputs(
    architecture: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = NERModel(architecture, folders[architecture], labels=["O", "B-LOC"], args=SETTINGS)
    sentences = _rows([" ".join(words) for words in WORDS], _boxes(0))
    outputs = model.predict(sentences).raw_outputs
    model.save_model(tmp_path)
    network = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    for words, boxes, found in zip(WORDS, _boxes(0), outputs, strict=True):
        with torch.no_grad():
            expected = network(**_inputs(tmp_path, words, boxes)).logits[0, 1:-1].numpy()
        assert [list(pair) for pair in found] == [[word] for word in words]
        np.testing.assert_allclose(np.concatenate([*pair_values(found)]), expected, atol=1e-5)
    again = easytx.load(tmp_path).predict(_rows(WORDS, _boxes(0)), split_on_space=False).raw_outputs
    for pair, same in zip(pair_values(outputs[2]), pair_values(again[2]), strict=True):
        np.testing.assert_array_equal(pair, same)


def pair_values(sentence: list[dict[str, Any]]) -> list[np.ndarray]:
    """Return the logits of each word."""
    return [logits for pair in sentence for logits in pair.values()]


def test_rows_of_words_in_any_order_are_answered_one_for_one(folders: dict[str, Path]) -> None:
    model = NERModel("layoutlm", folders["layoutlm"], labels=["O", "B-LOC"], args=SETTINGS)
    frame = _by_word()
    shuffled = frame.sample(frac=1, random_state=3).sort_values("sentence_id", kind="stable", ascending=False)
    # Within a sentence the order is part of the input.
    in_order = shuffled.sort_index().sort_values("sentence_id", kind="stable", ascending=False)
    answers = model.predict(in_order.drop(columns="labels")).to_frame()
    alone = model.predict(_rows(WORDS, _boxes(0))).to_frame()
    assert answers.index.tolist() == in_order.index.tolist()
    expected = alone.set_axis(frame.index)["probability"].loc[in_order.index]
    np.testing.assert_allclose(answers["probability"], expected, atol=1e-6)


def test_sentences_with_lists_of_boxes_are_those_of_a_row_a_word(folders: dict[str, Path]) -> None:
    model = NERModel("layoutlm", folders["layoutlm"], labels=["O", "B-LOC"], args=SETTINGS)
    frame = _by_word().groupby("sentence_id", as_index=False).agg(list)
    frame.to_parquet("pages.parquet")
    expected = model.prepared(_by_word(), name="rows", split="eval", renames={}).dataset.to_dict()
    for rows in (frame, "pages.parquet", frame.drop(columns="sentence_id").to_dict("records")):
        assert model.prepared(rows, name="rows", split="eval", renames={}).dataset.to_dict() == expected
    short = frame.assign(x1=[[5], *frame["x1"][1:]])
    assert _raised(model, short, "eval_model") == (
        "eval_df has not one number per word in 1 row of the column 'x1': row 0. Row 0 has 4 words and 1 number; "
        "words are what white space separates."
    )
    with pytest.raises(DataError, match=r"^to_predict has a text in 1 row \(row 0\), but with split_on_space=False "):
        model.predict([["John lives", [1, 2], [1, 2], [3, 3], [3, 3]]], split_on_space=False)


def test_windows_over_a_long_text_keep_the_boxes_of_their_words(folders: dict[str, Path]) -> None:
    args = {**SETTINGS, "max_seq_length": 7, "sliding_window": True, "stride": 0.6}
    model = ClassificationModel("layoutlm", folders["layoutlm"], num_labels=2, args=args)
    words, boxes = WORDS[2], _boxes(0)[2]
    data = model.prepared(_rows([" ".join(words)], [boxes]), name="rows", split="predict", renames={})
    assert len(data.dataset) > 1
    for ids, word, box in zip(data.dataset["word_ids"], data.dataset["word_ids"], data.dataset["bbox"], strict=True):
        assert ids[0] == ids[-1] == -1
        expected = [CORNERS[0], *(boxes[number].tolist() for number in word[1:-1]), CORNERS[1]]
        assert np.reshape(box, (-1, 4)).tolist() == expected
    assert {number for word in data.dataset["word_ids"] for number in word} == {-1, *range(len(words))}
    assert len(model.predict(_rows([" ".join(words)], [boxes])).raw_outputs[0]) == len(data.dataset)


def test_a_cut_text_and_an_empty_one_keep_their_boxes(folders: dict[str, Path]) -> None:
    model = ClassificationModel("layoutlm", folders["layoutlm"], num_labels=2, args={**SETTINGS, "max_seq_length": 5})
    rows = [*_rows(["one two three four"], [np.arange(16).reshape(4, 4)]), ["", [], [], [], []]]
    with pytest.warns(UserWarning, match="^1 of 2 rows of rows are longer than max_seq_length=5 tokens and were cut"):
        data = model.prepared(rows, name="rows", split="predict", renames={})
    assert data.dataset["bbox"][:] == [[0] * 4 + [*range(12)] + [1000] * 4, [0] * 4 + [1000] * 4]


@pytest.mark.parametrize("kind", [ClassificationModel, MultiLabelClassificationModel])
def test_what_only_boxes_tell_is_learnt_by_a_classifier(kind: Any, folders: dict[str, Path]) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["the", "cat", "sat", "on", "mat", "dog"], 5)) + f" {i}" for i in range(32)]
    left = [i % 2 == 0 for i in range(32)]
    boxes = [np.array([[0, 0, 50, 20] if here else [900, 900, 1000, 990]] * 6) for here in left]
    frame = pd.DataFrame(_rows(texts, boxes), columns=["text", *BOX])
    frame["labels"] = [["left"] if here else ["right"] for here in left]
    if kind is ClassificationModel:
        frame["labels"] = frame["labels"].str[0]
    model = kind("layoutlm", folders["layoutlm"], args={**SETTINGS, "num_train_epochs": 6, "learning_rate": 3e-3})
    model.train_model(frame.iloc[:24])
    result = model.eval_model(frame.iloc[24:])[0]
    assert result["eval_loss"] < 0.3
    # Words of the one side in the place of the other are taken for those of the other.
    assert model.predict(_rows(texts[24:26], boxes[25:27]))[0] != model.predict(_rows(texts[24:26], boxes[24:26]))[0]


def test_what_only_boxes_tell_is_learnt_by_a_tagger(folders: dict[str, Path]) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"sentence_id": np.repeat(np.arange(24), 5)})
    frame["words"] = random.choice(["the", "cat", "sat", "on", "mat", "dog"], len(frame))
    x = random.choice([10, 900], len(frame))
    frame = frame.assign(x0=x, y0=5, x1=x + 50, y1=25, labels=np.where(x == 10, "B-KEY", "O"))
    args = {**SETTINGS, "num_train_epochs": 6, "learning_rate": 3e-3}
    model = NERModel("layoutlm", folders["layoutlm"], args=args)
    model.train_model(frame[frame["sentence_id"] < 18])
    result, _, _ = model.eval_model(frame[frame["sentence_id"] >= 18])
    assert result["f1_score"] > 0.9


def _raised(model: Any, data: Any, method: str = "predict") -> str:
    with pytest.raises(DataError) as caught:
        getattr(model, method)(data)
    assert model._model is None
    return str(caught.value)


def test_what_is_wrong_with_boxes_is_said_before_the_weights_are_read(folders: dict[str, Path]) -> None:
    model = ClassificationModel("layoutlm", folders["layoutlm"], num_labels=2, args=SETTINGS)
    fine = ["a text", [1, 2], [1, 2], [3, 4], [3, 4]]

    def wrong(place: int, value: Any) -> str:
        row = [*fine]
        row[place] = value
        return _raised(model, [fine, row])

    needs = "to_predict has {} where the column '{}' needs a whole number from 0 to 1000: row 1. "
    scale = "Scale boxes to a page of 1000 by 1000: round(1000 * {} / page_{})."
    for place, value, shown in ((1, 1001, "1001"), (3, 2.5, "2.5"), (3, float("nan"), "nan"), (1, "a", "'a'")):
        column = BOX[place - 1]
        assert wrong(place, [value, 4]) == needs.format(shown, column) + scale.format("x", "width")
    assert wrong(2, [-1, 4]) == needs.format("-1", "y0") + scale.format("y", "height")
    assert wrong(2, [None, 4]) == needs.format("None", "y0") + scale.format("y", "height")
    assert wrong(1, [5, 2]) == (
        "to_predict has boxes whose x0 is above their x1 in 1 row: row 1. Row 1 has [5, 1, 3, 3]. "
        "x0, y0 is the upper left corner of a word, and x1, y1 the lower right one."
    )
    assert wrong(2, [1, 5]) == (
        "to_predict has boxes whose y0 is above their y1 in 1 row: row 1. Row 1 has [2, 5, 4, 4]. "
        "x0, y0 is the upper left corner of a word, and x1, y1 the lower right one."
    )
    assert wrong(4, [3]) == (
        "to_predict has not one number per word in 1 row of the column 'y1': row 1. Row 1 has 2 words and 1 number; "
        "words are what white space separates."
    )
    assert wrong(1, None) == (
        "to_predict has no list of numbers in 1 row of the column 'x0': row 1. Give a list with one number per word."
    )
    assert _raised(model, ["a text"]) == (
        "to_predict must be a list of lists [text, x0, y0, x1, y1], but its rows have [1] parts."
    )


def test_rows_without_boxes_are_refused_by_a_model_that_reads_them(folders: dict[str, Path]) -> None:
    model = ClassificationModel("layoutlm", folders["layoutlm"], args=SETTINGS)
    assert _raised(model, _documents().drop(columns=[*BOX]), "train_model") == (
        "train_df needs the columns ['text', 'labels', 'x0', 'y0', 'x1', 'y1'], but has ['text', 'labels']. Rename "
        "columns, or name yours with x0_column=..., y0_column=..., x1_column=..., y1_column=...."
    )
    tagger = NERModel("layoutlm", folders["layoutlm"], args=SETTINGS)
    assert _raised(tagger, _by_word().drop(columns="y1"), "train_model") == (
        "train_df needs the columns ['sentence_id', 'words', 'labels', 'x0', 'y0', 'x1', 'y1'], but has "
        "['sentence_id', 'words', 'labels', 'x0', 'y0', 'x1']. Rename columns, or name yours with y1_column=...."
    )
    assert _raised(tagger, ["a text"]) == (
        "to_predict must be a list of lists [words, x0, y0, x1, y1], but its rows have [1] parts."
    )
    assert _raised(tagger, _by_word().assign(x0=[0] * 7 + [999] * 6), "train_model").startswith(
        "train_df has boxes whose x0 is above their x1 in "
    )


def test_the_rows_of_a_wrong_word_are_the_callers(folders: dict[str, Path]) -> None:
    tagger = NERModel("layoutlm", folders["layoutlm"], labels=["O", "B-LOC"], args=SETTINGS)
    frame = _by_word().iloc[::-1]
    frame.loc[frame.index[4], "y1"] = 1200
    assert _raised(tagger, frame.drop(columns="labels")) == (
        "to_predict has 1200 where the column 'y1' needs a whole number from 0 to 1000: row 4. "
        "Scale boxes to a page of 1000 by 1000: round(1000 * y / page_height)."
    )


@pytest.mark.parametrize("kind", [ClassificationModel, NERModel])
def test_boxes_that_a_model_does_not_read_are_a_warning(kind: Any, folders: dict[str, Path]) -> None:
    labels = {"num_labels": 2} if kind is ClassificationModel else {"labels": ["O", "B-LOC"]}
    model = kind("bert", folders["bert"], args=SETTINGS, **labels)
    frame = _documents().assign(labels=[0, 1, 0]) if kind is ClassificationModel else _by_word()
    message = re.escape(
        "eval_df has the columns ['x0', 'y0', 'x1', 'y1'], but the model's type is bert, which does not read where "
        "words stand on a page; they are not used. Models of the types layoutlm and lilt read them."
    )
    with pytest.warns(UserWarning, match=f"^{message}$"):
        model.prepared(frame, name="eval_df", split="eval", renames={})


def test_rows_without_column_names_are_read_in_order(folders: dict[str, Path]) -> None:
    frame = _documents()[["text", "labels", *BOX]].assign(labels=[0, 1, 0])
    model = ClassificationModel("layoutlm", folders["layoutlm"], num_labels=2, args=SETTINGS)
    message = re.escape(
        "rows has no column names; its columns are taken as ['text', 'labels', 'x0', 'y0', 'x1', 'y1'], in this order."
    )
    with pytest.warns(UserWarning, match=f"^{message}$"):
        data = model.prepared(frame.to_numpy().tolist(), name="rows", split="eval", renames={})
    expected = model.prepared(frame, name="rows", split="eval", renames={})
    assert data.dataset.to_dict() == expected.dataset.to_dict()


def test_columns_of_other_names_and_lists_in_a_csv_file(folders: dict[str, Path]) -> None:
    model = ClassificationModel("layoutlm", folders["layoutlm"], num_labels=2, args=SETTINGS)
    frame = _documents()[["text", *BOX]]
    expected = model.predict(frame).raw_outputs
    frame.to_csv("pages.csv", index=False)
    np.testing.assert_array_equal(model.predict("pages.csv").raw_outputs, expected)
    renamed = frame.rename(columns={"x0": "left"})
    np.testing.assert_array_equal(model.predict(renamed, x0_column="left").raw_outputs, expected)
    assert renamed.columns.tolist() == ["text", "left", "y0", "x1", "y1"]


@pytest.mark.parametrize("kind", [ClassificationModel, NERModel])
def test_a_model_that_reads_images_too_is_refused(kind: Any, tmp_path: Path) -> None:
    LayoutLMv2Config().save_pretrained(tmp_path)
    message = (
        f"'{tmp_path}' is a layoutlmv2 model, which reads an image of each page besides its words. "
        "Use a layoutlm or lilt model: these read words and their boxes."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        kind("layoutlmv2", tmp_path)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        *((name, "layoutlm") for name in ("LanguageModelingModel", "QuestionAnsweringModel", "RepresentationModel")),
        *((name, "layoutlm") for name in ("RetrievalModel", "MultiModalClassificationModel")),
        *((name, "lilt") for name in ("QuestionAnsweringModel", "RepresentationModel", "LanguageGenerationModel")),
        *((name, "bros") for name in ("ClassificationModel", "NERModel", "RepresentationModel")),
    ],
)
def test_a_model_that_would_not_be_told_where_words_stand_is_refused(
    name: str, architecture: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    if architecture == "bros":
        BrosConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    folder = folders.get(architecture, tmp_path)
    with pytest.raises(CheckpointError) as refused:
        getattr(easytx, name)(architecture, folder)
    assert str(refused.value) == (
        f"'{folder}' is a {architecture} model, which reads where on a page each word stands. Places of words are read "
        "from the columns x0, y0, x1 and y1 by ClassificationModel, MultiLabelClassificationModel and NERModel, with "
        "models of the types layoutlm and lilt: take one of these, or a model that reads texts alone."
    )


def test_two_models_put_together_do_not_hide_one_that_reads_places(folders: dict[str, Path]) -> None:
    for encoder, decoder in (("layoutlm", "bert"), ("bert", "layoutlm")):
        with pytest.raises(CheckpointError, match=r"^'.*' is a layoutlm model, which reads where on a page each word"):
            easytx.Seq2SeqModel("bert", folders[encoder], folders[decoder])


@pytest.mark.parametrize("method", ["train_model", "eval_model", "predict"])
def test_lines_of_words_cannot_say_where_these_stand(method: str, folders: dict[str, Path]) -> None:
    Path("words.txt").write_text("John O\nlives O\n", "utf-8")
    model = NERModel("layoutlm", folders["layoutlm"], labels=["O", "B-LOC"], args=SETTINGS)
    name = {"train_model": "train_df", "eval_model": "eval_df", "predict": "to_predict"}[method]
    labels = "" if method == "predict" else "labels, "
    assert _raised(model, "words.txt", method) == (
        f"{name} is the file 'words.txt', whose lines hold words and tags only, but the model also reads where on a "
        f"page each word stands. Give a DataFrame or a csv file with the columns sentence_id, words, {labels}x0, y0, "
        "x1 and y1, one row a word."
    )


def test_a_tokenizer_that_would_place_the_words_itself_says_where_the_special_ones_lie(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    plain = tiny_tokenizer("lilt")
    vocab, merges = plain.get_vocab(), [tuple(pair) for pair in plain._merges]  # type: ignore[attr-defined]
    tokenizer: Any = LayoutLMv3Tokenizer(vocab=vocab, merges=merges, model_max_length=512)
    tiny_checkpoint(tmp_path, "lilt")
    tokenizer.save_pretrained(tmp_path)
    model = NERModel("lilt", tmp_path, labels=["O", "B-LOC"], args=SETTINGS)
    model.save_model(tmp_path / "saved")
    expected = tokenizer(WORDS[2], boxes=_boxes(0)[2].tolist())
    for opened in (model, easytx.load(tmp_path / "saved")):
        data = opened.prepared(_rows(WORDS[2:], _boxes(0)[2:]), name="rows", split="predict", renames={}).dataset
        assert data["input_ids"][0] == expected["input_ids"]
        assert np.reshape(data["bbox"][0], (-1, 4)).tolist() == expected["bbox"]
    assert expected["bbox"][-1] == [0, 0, 0, 0]


@pytest.mark.real
def test_boxes_reach_an_exported_model(folders: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = ClassificationModel("layoutlm", folders["layoutlm"], num_labels=2, args=SETTINGS)
    exported = easytx.load(model.convert_to_onnx(tmp_path / "onnx"))
    for seed in (0, 1):
        rows = _documents(seed)[["text", *BOX]]
        np.testing.assert_allclose(exported.predict(rows).raw_outputs, model.predict(rows).raw_outputs, atol=1e-5)
