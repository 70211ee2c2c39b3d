"""Other models beside a retriever: teachers, and one that ranks again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from easytx import ClassificationModel, RepresentationModel, RetrievalModel, T5Model
from easytx.errors import ArgumentError, MissingExtraError, ModelNotFoundError
from easytx.retrieval.data import PairCollator
from easytx.testing import tiny_checkpoint

from .conftest import PASSAGES, QUERIES, SETTINGS

Make = Callable[..., RetrievalModel]

GIVEN = {"fp16": False, "max_seq_length": 48, "silent": True}


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a checkpoint with one output, as cross-encoders on the hub are."""
    folder = tmp_path_factory.mktemp("cross")
    return tiny_checkpoint(folder, head="AutoModelForSequenceClassification", seed=5, num_labels=1)


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], np.ndarray]]:
    """Return the rows and the labels of the batches that are made from here on."""
    made: list[tuple[list[int], np.ndarray]] = []
    original = PairCollator.__call__

    def remember(self: PairCollator, features: Any) -> Any:
        batch = original(self, features)
        made.append(([feature["row"] for feature in features], batch["labels"].numpy().copy()))
        return batch

    monkeypatch.setattr(PairCollator, "__call__", remember)
    return made


def _by_hand(folder: Path, queries: list[str], passages: list[str]) -> np.ndarray:
    """Return the scores of a cross-encoder with one output, of shape (queries, passages)."""
    pairs = [[query, passage] for query in queries for passage in passages]
    _, outputs = ClassificationModel("bert", folder, use_cuda=False, args={**GIVEN, "regression": True}).predict(pairs)
    return np.asarray(outputs).reshape(len(queries), len(passages))


# Teachers


def test_a_teacher_scores_the_whole_batch(
    make: Make, rows: pd.DataFrame, cross_encoder: Path, labels: list[tuple[list[int], np.ndarray]]
) -> None:
    args = {"reranking_kl_div_loss": True, "include_nll_loss": False, "teacher_type": "cross_encoder"}
    args |= {"max_seq_length": 48, "hard_negatives": True, "num_train_epochs": 2}
    rows = rows.assign(hard_negative=PASSAGES[4], teacher_scores=[[7.0, 7.0]] * 4)
    loss = make(args=args, teacher_model_name=cross_encoder).train_model(rows).training_details
    assert loss > 0
    expected = _by_hand(cross_encoder, QUERIES, PASSAGES[:5])
    assert len(labels) == 2
    for order, found in labels:
        # The passages of the rows, and the hard negative of each.
        np.testing.assert_allclose(found[..., 1], expected[order][:, [*order, 4, 4, 4, 4]], rtol=1e-3, atol=1e-4)


def test_a_teacher_scores_what_has_no_score(
    make: Make,
    rows: pd.DataFrame,
    cross_encoder: Path,
    labels: list[tuple[list[int], np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    original = ClassificationModel.rerank

    def rerank(self: Any, queries: Any, passages: Any) -> Any:
        asked.append(sum(map(len, passages)))
        return original(self, queries, passages)

    monkeypatch.setattr(ClassificationModel, "rerank", rerank)
    args = {"include_margin_mse_loss": True, "teacher_type": "cross_encoder", "max_seq_length": 48}
    model = make(
        args={**args, "ance_training": True, "num_train_epochs": 4, "retrieve_n_docs": 1},
        teacher_model_name=cross_encoder,
    )
    model.train_model(rows)
    expected = _by_hand(cross_encoder, QUERIES, PASSAGES[:4])
    for order, found in labels:
        kinds, scores = found[..., 0], found[..., 1]
        assert np.isnan(scores[(kinds != 1) & (kinds != 2)]).all()
        np.testing.assert_allclose(scores[:, :4].diagonal(), expected[order, order], rtol=1e-3, atol=1e-4)
        negatives = scores[kinds == 2]
        assert all(
            np.isclose(expected[row], score, rtol=1e-3).any() for row, score in zip(order, negatives, strict=True)
        )
    # Four passages and a negative of each; what has been scored is remembered.
    assert asked[0] == 8
    assert sum(asked) <= 16


@pytest.mark.real
def test_a_pupil_believes_its_teacher(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    # The teacher takes the passage of the next row for the right one.
    others = rows.assign(gold_passage=[*PASSAGES[1:4], PASSAGES[0]])
    args = {"num_train_epochs": 30, "pooling": "mean", "similarity_function": "cosine"}
    teacher = make(args=args)
    teacher.train_model(others, output_dir=tmp_path / "teacher")
    assert teacher.eval_model(others).result["mrr_at_1"] == 1
    args |= {"reranking_kl_div_loss": True, "include_nll_loss": False, "teacher_type": "bi_encoder"}
    pupil = make(args=args, teacher_model_name=tmp_path / "teacher")
    pupil.train_model(rows)
    assert pupil.eval_model(others).result["mrr_at_1"] == 1


def test_another_retriever_can_be_the_teacher(
    make: Make, rows: pd.DataFrame, tmp_path: Path, labels: list[tuple[list[int], np.ndarray]]
) -> None:
    other = RetrievalModel("bert", tiny_checkpoint(tmp_path / "other", seed=9), use_cuda=False, args=SETTINGS)
    other.save_model(tmp_path / "teacher")
    args = {"reranking_kl_div_loss": True, "teacher_type": "bi_encoder"}
    make(args=args, teacher_model_name=tmp_path / "teacher").train_model(rows)
    expected = other.encode_queries(QUERIES) @ other.encode_passages(PASSAGES[:4]).T
    ((order, found),) = labels
    np.testing.assert_allclose(found[..., 1], expected[order][:, order], rtol=1e-3)


@pytest.mark.parametrize("form", ["sentence-transformers", "Stanford"])
def test_a_colbert_can_be_the_teacher(
    make: Make, rows: pd.DataFrame, tmp_path: Path, labels: list[tuple[list[int], np.ndarray]], form: str
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers", minversion="6")
    folder = tiny_checkpoint(tmp_path / "colbert", seed=9)
    if form == "Stanford":
        weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
        torch.manual_seed(0)
        save_file({**weights, "linear.weight": torch.randn(8, 32)}, folder / "model.safetensors", {"format": "pt"})
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}), "utf-8")
        metadata = {"query_maxlen": 12, "doc_maxlen": 40, "query_token_id": "[CLS]", "doc_token_id": "[SEP]"}
        (folder / "artifact.metadata").write_text(json.dumps(metadata), "utf-8")
    else:
        encoder = sentence_transformers.MultiVectorEncoder(str(folder), device="cpu")
        folder = tmp_path / "saved"
        encoder.save(str(folder))
    make(args={"reranking_kl_div_loss": True}, teacher_model_name=folder).train_model(rows)
    opened = sentence_transformers.MultiVectorEncoder(str(folder), device="cpu")
    tokens = [opened.encode_query(query).numpy() for query in QUERIES]
    theirs = [opened.encode_document(passage).numpy() for passage in PASSAGES[:4]]
    expected = np.array([[(query @ passage.T).max(axis=1).sum() for passage in theirs] for query in tokens])
    ((order, found),) = labels
    np.testing.assert_allclose(found[..., 1], expected[order][:, order], rtol=1e-3)


def test_what_is_no_teacher_is_refused(
    make: Make, rows: pd.DataFrame, checkpoint: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArgumentError) as refused:
        make(teacher_model_name=cross_encoder)
    assert str(refused.value) == (
        f"teacher_type is 'colbert', but '{cross_encoder}' is a checkpoint of ['BertForSequenceClassification']. Set "
        "teacher_type='cross_encoder' for a ClassificationModel, or 'bi_encoder' for a RetrievalModel."
    )
    with pytest.raises(ArgumentError) as refused:
        make(args={"teacher_type": "cross_encoder"}, teacher_model_name=checkpoint)
    assert str(refused.value) == (
        f"teacher_model_name is '{checkpoint}', a checkpoint of ['BertModel'] without a head that scores pairs. Train "
        "one first, with ClassificationModel."
    )
    RepresentationModel("bert", checkpoint, use_cuda=False, args=GIVEN).save_model(Path("vectors"))
    with pytest.raises(ArgumentError) as refused:
        make(args={"teacher_type": "cross_encoder"}, teacher_model_name="vectors")
    assert str(refused.value) == (
        "teacher_model_name is 'vectors', which RepresentationModel wrote. It takes a cross-encoder: the folder of a "
        "ClassificationModel or T5Model, or another checkpoint for the classification of pairs."
    )
    with pytest.raises(ArgumentError) as refused:
        make(args={"teacher_type": "bi_encoder"}, teacher_model_name="vectors")
    assert str(refused.value) == (
        "teacher_type is 'bi_encoder', but 'vectors' was written by RepresentationModel, not by RetrievalModel."
    )
    with pytest.raises(ArgumentError, match=r"^teacher_tokenizer_name is not for a teacher_type of 'colbert'"):
        make(teacher_model_name=cross_encoder, teacher_tokenizer_name=str(checkpoint))
    with pytest.raises(ModelNotFoundError):
        make(teacher_model_name="nothing/there")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError) as missing:
        make(teacher_model_name=cross_encoder)
    assert str(missing.value) == (
        "teacher_type='colbert' needs the package 'sentence-transformers', version 6 or later. Install it with: "
        "pip install 'sentence-transformers>=6'"
    )
    model = make(args={"teacher_type": "cross_encoder"}, teacher_model_name=cross_encoder)
    with pytest.raises(ArgumentError) as refused:
        model.train_model(rows)
    assert str(refused.value) == (
        "teacher_model_name is set, but no loss learns from a teacher. Include one, for example "
        "reranking_kl_div_loss=True."
    )
    with pytest.raises(ArgumentError, match=r"set dataloader_num_workers=0\.$"):
        model.train_model(rows, args={"reranking_kl_div_loss": True, "dataloader_num_workers": 1})


def test_quartets_are_trained_on(make: Make, labels: list[tuple[list[int], np.ndarray]]) -> None:
    quartets = pd.DataFrame(
        [[QUERIES[0], QUERIES[1], PASSAGES[0], PASSAGES[1], 3.0, 1.0, 0.5, 2.5]],
        columns=[
            *("query_text_a", "query_text_b", "passage_text_a", "passage_text_b"),
            *("aa_score", "ab_score", "ba_score", "bb_score"),
        ],
    )
    model = make(args={"include_quartet_loss": True, "include_nll_loss": False})
    assert model.train_model(quartets).training_details > 0
    ((order, found),) = labels
    # Each query has its passage and the other one, which counts once although it is in the batch twice.
    assert [sorted(row) for row in found[..., 0].tolist()] == [[-1, -1, 1, 2]] * 2
    own = [sorted(row[~np.isnan(row)].tolist()) for row in found[..., 1]]
    assert [own[order.index(row)] for row in (0, 1)] == [[1.0, 3.0], [0.5, 2.5]]


# Ranking again


def test_what_was_found_is_ranked_again(make: Make, cross_encoder: Path) -> None:
    frame = pd.DataFrame({"passages": PASSAGES, "id": [f"p{i}" for i in range(6)]})
    args = {"max_seq_length": 48, "rerank_batch_size": 2}
    plain = make(args=args, prediction_passages=frame).predict(QUERIES, retrieve_n_docs=4)
    model = make(args=args, prediction_passages=frame, reranking_model_name=cross_encoder)
    found = model.predict(QUERIES, retrieve_n_docs=4)
    scores = _by_hand(cross_encoder, QUERIES, PASSAGES)
    vectors = model.encode_passages(PASSAGES)
    for row, texts in enumerate(plain.passages):
        places = sorted(map(PASSAGES.index, texts), key=lambda place: -scores[row, place])
        assert found.passages[row] == [PASSAGES[place] for place in places]
        assert found.doc_ids[row].tolist() == [f"p{place}" for place in places]
        np.testing.assert_allclose(found.scores[row], scores[row, places], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.doc_vectors[row], vectors[places], rtol=1e-3, atol=1e-5)
    assert found.passages != plain.passages
    assert model.reranker is not None
    assert model.reranker.model.args.eval_batch_size == 2
    # Hard negatives are what the retriever itself finds.
    mined = model.build_hard_negatives(QUERIES, retrieve_n_docs=1)
    assert mined["hard_negative"].tolist() == [texts[0] for texts in plain.passages]


def test_a_folder_of_ours_ranks_again_and_reads_titles(make: Make, tmp_path: Path) -> None:
    T5Model("t5", tiny_checkpoint(tmp_path / "plain", "t5"), use_cuda=False, args=GIVEN).save_model(tmp_path / "t5")
    frame = pd.DataFrame({"passages": PASSAGES, "title": ["A", "", "B", "", "", ""]})
    model = make(prediction_passages=frame, reranking_model_name=tmp_path / "t5")
    assert model.reranker is not None
    read: list[Any] = []
    original = model.reranker.model.rerank
    model.reranker.model.rerank = lambda *given: read.append(given[1]) or original(*given)
    found = model.predict(QUERIES)
    assert set(read[0][0]) == {f"A {PASSAGES[0]}", f"B {PASSAGES[2]}", *PASSAGES[3:], PASSAGES[1]}
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_the_reranker_has_a_configuration_of_its_own(make: Make, cross_encoder: Path) -> None:
    args = {"reranking_config": {"hidden_dropout_prob": 0.3}}
    model = make(args=args, reranking_model_name=cross_encoder)
    assert model.reranker is not None
    assert model.reranker.model.config.hidden_dropout_prob == 0.3
    assert model.towers["query_encoder"].config.hidden_dropout_prob != 0.3
    with pytest.raises(ArgumentError, match=r"^reranking_model_name is '.*', a checkpoint of \['BertModel'\] without"):
        make(reranking_model_name=tiny_checkpoint("plain"))
