"""Checkpoints that also write: of encoder-decoders the encoder reads, of decoders the last token has seen all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, EncoderDecoderConfig

import easytx
from easytx import RepresentationModel, RetrievalModel
from easytx.errors import CheckpointError
from easytx.testing import SEQ2SEQ_ARCHITECTURES, tiny_checkpoint

from .conftest import PASSAGES, QUERIES, SETTINGS


def _model(checkpoint: Path) -> RetrievalModel:
    return RetrievalModel(
        checkpoint, use_cuda=False, prediction_passages=PASSAGES, args={**SETTINGS, "max_seq_length": 64}
    )


@pytest.mark.parametrize("architecture", SEQ2SEQ_ARCHITECTURES)
def test_the_encoder_of_an_encoder_decoder_reads(tmp_path: Path, rows: pd.DataFrame, architecture: str) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture)
    model = _model(checkpoint)
    assert model.config.pooling == "mean"
    encoder, tokenizer = AutoModel.from_pretrained(checkpoint).get_encoder().eval(), model.tokenizer
    with torch.no_grad():
        expected = encoder(**tokenizer(QUERIES[0], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    np.testing.assert_allclose(model.encode_queries(QUERIES)[0], expected, rtol=1e-3, atol=1e-5)
    before = model.encode_passages(PASSAGES)
    model.train_model(rows, output_dir=tmp_path / "trained")
    found = model.predict(QUERIES).scores
    assert not np.allclose(model.encode_passages(PASSAGES), before)
    assert not [name for name in model.get_named_parameters() if "decoder" in name]
    reopened = easytx.load(tmp_path / "trained", args={"silent": True})
    assert reopened.config.pooling == "mean"
    np.testing.assert_allclose(reopened.predict(QUERIES).scores, found, rtol=1e-4, atol=1e-5)
    # The encoder is one that opens elsewhere too.
    vectors = RepresentationModel(tmp_path / "trained" / "query_encoder", use_cuda=False, args={"fp16": False})
    np.testing.assert_allclose(
        vectors.encode_sentences(QUERIES, "mean"), model.encode_queries(QUERIES), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_last_token_of_a_decoder_stands_for_a_text(tmp_path: Path, architecture: str) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture)
    model = _model(checkpoint)
    assert model.config.pooling == "last"
    network = AutoModel.from_pretrained(checkpoint).eval()
    ids = AutoTokenizer.from_pretrained(checkpoint)(QUERIES[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = network(input_ids=ids).last_hidden_state[0, -1]
    np.testing.assert_allclose(model.encode_queries(QUERIES)[0], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.real
@pytest.mark.parametrize("architecture", ["t5", "llama"])
def test_both_learn_and_open_as_sentence_transformers(
    tmp_path: Path, rows: pd.DataFrame, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = _model(tiny_checkpoint(tmp_path / "model", architecture))
    model.train_model(rows, output_dir=tmp_path / "trained", args={"num_train_epochs": 30})
    assert model.eval_model(rows).result["mrr_at_10"] == 1
    other = sentence_transformers.SentenceTransformer(str(tmp_path / "trained" / "query_encoder"), device="cpu")
    np.testing.assert_allclose(other.encode(QUERIES), model.encode_queries(QUERIES), rtol=1e-3, atol=1e-4)


def test_t5_is_never_run_in_fp16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        "easytx.core.checkpointed.mixed_precision", lambda *_, allow_fp16, **__: asked.append(allow_fp16)
    )
    for architecture in ("t5", "bart"):
        _model(tiny_checkpoint(tmp_path / architecture, architecture)).precision()
    assert asked == [False, True]


def test_two_models_put_together_are_refused(tmp_path: Path) -> None:
    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(), BertConfig(is_decoder=True))
    config.save_pretrained(tmp_path / "both")
    with pytest.raises(CheckpointError) as refused:
        _model(tmp_path / "both")
    assert str(refused.value) == (
        f"'{tmp_path / 'both'}' is an encoder-decoder model, which transformers does not open as one network. Give the "
        "checkpoint of an encoder alone, such as the folder 'encoder' inside."
    )
