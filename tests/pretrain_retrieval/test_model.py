"""Retrieval learnt from passages alone: pieces of them are queries, and the folder is a retriever's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx import PretrainRetrievalModel, RetrievalModel
from easytx.errors import ArgumentError, CheckpointError
from easytx.pretrain_retrieval.cloze import ClozeCollator, cloze_texts, random_span
from easytx.retrieval import RetrievalArgs
from easytx.testing import tiny_checkpoint, tiny_tokenizer

PASSAGES = [
    "John lives in London and works for Acme in Paris.",
    "Mary Smith flew from New York to Berlin on Monday.",
    "The train left at six in the morning.",
    "Paris is the capital and the largest city of France.",
    "The soup was cold and the bread was old.",
    "Anna wrote the letter when she was ten years old.",
]
SETTINGS = {
    "fp16": False,
    "learning_rate": 1e-3,
    "manual_seed": 1,
    "max_seq_length": 32,
    "max_span_length": 4,
    "min_span_length": 2,
    "overwrite_output_dir": True,
    "save_model_every_epoch": False,
    "silent": True,
    "train_batch_size": 6,
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("pretrain_retrieval") / "bert")


def _model(checkpoint: Path, **args: Any) -> PretrainRetrievalModel:
    return PretrainRetrievalModel(None, checkpoint, use_cuda=False, args={**SETTINGS, **args})


def test_spans_have_the_lengths_asked_for_and_leave_half_of_a_passage() -> None:
    args = RetrievalArgs(min_span_length=3, max_span_length=5)
    spans = [random_span(20, args) for _ in range(300)]
    assert {span.stop - span.start for span in spans} == {3, 4, 5}
    assert {span.start for span in spans if span.stop - span.start == 5} == set(range(16))
    assert {span.stop - span.start for span in (random_span(7, args) for _ in range(50))} == {3}
    assert {span.stop - span.start for span in (random_span(4, args) for _ in range(50))} == {2}
    assert random_span(1, args) == slice(0, 1)


def _rows(model: PretrainRetrievalModel, frame: Any) -> list[dict[str, Any]]:
    return list(model.prepared(frame, name="train_df", split="train", renames={}).dataset)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("titled", [True, False], ids=["title", "no title"])
def test_a_query_is_a_piece_that_its_passage_lacks(tmp_path: Path, architecture: str, titled: bool) -> None:
    model = _model(tiny_checkpoint(tmp_path / "model", architecture), span_kept=0.0)
    frame = pd.DataFrame({"passages": PASSAGES})
    features = _rows(model, frame.assign(title="The train") if titled else frame)
    batch = model.collator()(features)
    tokenizer = tiny_tokenizer(architecture)
    special = [token for token in tokenizer.all_special_ids if token != tokenizer.unk_token_id]
    for row, feature in enumerate(features):
        whole = feature["passage_input_ids"][0]
        query = batch["query_input_ids"][row][batch["query_attention_mask"][row].bool()].tolist()
        rest = batch["passage_input_ids"][row][batch["passage_attention_mask"][row].bool()].tolist()
        piece = [token for token in query if token not in special]
        assert 2 <= len(piece) <= 4
        assert len(rest) == len(whole) - len(piece)
        assert any(rest[:at] + piece + rest[at:] == whole for at in range(len(rest) + 1))
        # What marks the ends of a text stays where it is.
        assert [token for token in feature["query_input_ids"] if token in special] == [
            token for token in query if token in special
        ]
        assert (query[0] in special) == (feature["query_input_ids"][0] in special)
        assert (query[-1] in special) == (feature["query_input_ids"][-1] in special)
    assert torch.equal(batch["labels"][:, :, 0], torch.eye(6))
    other = model.collator()(features)
    assert not torch.equal(other["query_input_ids"], batch["query_input_ids"])


def test_some_pieces_stay_in_their_passages(checkpoint: Path) -> None:
    model = _model(checkpoint, span_kept=1.0)
    features = _rows(model, PASSAGES)
    batch = model.collator()(features)
    assert batch["passage_attention_mask"].sum(dim=1).tolist() == [len(row["passage_input_ids"][0]) for row in features]


def test_training_teaches_which_passage_a_piece_is_from_and_repeats_itself(checkpoint: Path, tmp_path: Path) -> None:
    args = {"num_train_epochs": 40, "tie_encoders": True, "pooling": "mean", "similarity_function": "cosine"}
    model = _model(checkpoint, **args)
    before = model.eval_model(PASSAGES).result
    model.train_model(PASSAGES, output_dir=tmp_path / "first")
    after = model.eval_model(PASSAGES).result
    assert after["mrr_at_10"] > before["mrr_at_10"]
    assert after["eval_loss"] < 0.7 * before["eval_loss"]
    again = _model(checkpoint, **args)
    again.train_model(PASSAGES, output_dir=tmp_path / "second")
    np.testing.assert_allclose(again.encode_queries(PASSAGES), model.encode_queries(PASSAGES), rtol=1e-4, atol=1e-5)
    # What is searched are whole passages.
    assert again.prediction_passages is not None
    assert again.prediction_passages["passages"].tolist() == PASSAGES


def test_its_folder_is_a_retrievers_and_the_other_way_round(checkpoint: Path, tmp_path: Path) -> None:
    model = _model(checkpoint, pooling="mean")
    model.train_model(pd.DataFrame({"gold_passage": PASSAGES}), output_dir=tmp_path / "pretrained")
    assert type(easytx.load(tmp_path / "pretrained")) is PretrainRetrievalModel
    retriever = RetrievalModel(tmp_path / "pretrained", use_cuda=False)
    assert retriever.args.max_seq_length == 32
    np.testing.assert_allclose(
        retriever.predict(["Who flew to Berlin?"]).scores, model.predict(["Who flew to Berlin?"]).scores, rtol=1e-4
    )
    rows = pd.DataFrame({"query_text": ["Who flew to Berlin?", "When did it leave?"], "gold_passage": PASSAGES[1:3]})
    retriever.train_model(rows, output_dir=tmp_path / "trained")
    assert type(easytx.load(tmp_path / "trained")) is RetrievalModel
    more = PretrainRetrievalModel(tmp_path / "trained", use_cuda=False)
    assert more.args.max_seq_length == 32
    assert more.train_model(PASSAGES, output_dir=tmp_path / "more").global_step == 1
    with pytest.raises(CheckpointError) as refused:
        easytx.ClassificationModel(tmp_path / "pretrained")
    assert str(refused.value).startswith(
        f"'{tmp_path / 'pretrained'}' was written by PretrainRetrievalModel, and this is ClassificationModel."
    )


def test_evaluation_takes_passages_or_queries_with_theirs(checkpoint: Path) -> None:
    model = _model(checkpoint)
    frame = pd.DataFrame({"body": PASSAGES, "title": "News"}, index=[*"abcdef"])
    evaluation = model.eval_model(frame, passages_column="body")
    rows = evaluation.to_frame()
    assert rows.index.tolist() == [*"abcdef"]
    assert rows["title"].tolist() == ["News"] * 6
    assert [len(query.split()) for query in rows["query_text"]] != [len(text.split()) for text in PASSAGES]
    for query, rest, whole in zip(rows["query_text"], rows["gold_passage"], PASSAGES, strict=True):
        words = rest.split()
        assert any(" ".join([*words[:at], query, *words[at:]]) == whole for at in range(len(words) + 1))
    # The same pieces each time, so that scores compare.
    assert model.eval_model(PASSAGES).to_frame()["query_text"].tolist() == rows["query_text"].tolist()
    pairs = pd.DataFrame({"query_text": ["Where is John?", "Who flew?"], "gold_passage": PASSAGES[:2]})
    assert model.eval_model(pairs).to_frame()["gold_passage"].tolist() == PASSAGES[:2]


def test_negatives_are_searched_and_batches_clustered_as_for_a_retriever(checkpoint: Path) -> None:
    model = _model(checkpoint, ance_training=True, train_batch_size=3, no_save=True)
    assert model.train_model(PASSAGES, clustered_training=True).global_step == 2


def test_a_word_alone_is_query_and_passage() -> None:
    assert cloze_texts(["word"], RetrievalArgs()) == (["word"], ["word"])


def test_what_cannot_be_is_said(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ArgumentError) as refused:
        ClozeCollator(tiny_tokenizer("bert"), tiny_tokenizer("roberta"), RetrievalArgs())
    assert str(refused.value) == (
        "Pre-training makes queries of pieces of passages, but the two encoders have different tokenizers. "
        "Start both from one checkpoint."
    )
    with pytest.raises(ArgumentError) as refused:
        _model(checkpoint, min_span_length=5).train_model(PASSAGES)
    assert str(refused.value) == ("min_span_length is 5, more than max_span_length, 4. Set it to that or less.")
    retriever = RetrievalModel(checkpoint, use_cuda=False, args=SETTINGS)
    retriever.save_model(tmp_path / "teacher")
    args = {**SETTINGS, "teacher_type": "bi_encoder", "reranking_kl_div_loss": True}
    taught = PretrainRetrievalModel(checkpoint, teacher_model_name=str(tmp_path / "teacher"), args=args)
    with pytest.raises(ArgumentError) as refused:
        taught.train_model(PASSAGES)
    assert str(refused.value) == (
        "A teacher cannot score pieces of passages that are drawn anew each time: train a RetrievalModel from this "
        "one's folder, with queries and teacher_model_name."
    )
