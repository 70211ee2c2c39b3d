"""Passages in a new order, by a T5 that answers "true" or "false"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import T5Tokenizer

import easytx
from easytx import T5Model
from easytx.core.ranking import PAIR, pairs_to_rank, ranked
from easytx.errors import ArgumentError, DataError
from easytx.metrics.ranking import ranking_scores
from easytx.testing import tiny_checkpoint, tiny_tokenizer

from .conftest import ARGS, rows

QUERIES = ["soup", "train"]
PASSAGES = [["the train left", "the soup was cold", "Anna wrote it"], ["the dog ran", "the train left"]]
SIZE = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 16}


def _pairs() -> pd.DataFrame:
    pairs = [
        (query, text, int(query in text)) for query, texts in zip(QUERIES, PASSAGES, strict=True) for text in texts
    ]
    return pd.DataFrame(pairs, columns=[*PAIR, "labels"])


def _knowing(*words: str) -> T5Tokenizer:
    """Return a tokenizer of these words and nothing else."""
    special = ["<pad>", "</s>", "<unk>"]
    return T5Tokenizer(vocab=[*((token, 0.0) for token in special), *((f"▁{word}", -1.0) for word in words)])


def _new(tokenizer: Any, **args: Any) -> T5Model:
    return T5Model("t5", None, tokenizer=tokenizer, args={**ARGS, "config": SIZE, **args})


@pytest.fixture
def make(checkpoint: Path) -> Callable[..., T5Model]:
    def make(**args: Any) -> T5Model:
        return T5Model("t5", checkpoint, args={**ARGS, **args})

    return make


def _by_hand(model: T5Model, query: str, passage: str, begun: list[int], words: tuple[int, int]) -> float:
    """Return log p("true") - log p("false") behind what the decoder has read."""
    read = model.tokenizer(f"Query: {query} Document: {passage} Relevant:", return_tensors="pt")
    with torch.no_grad():
        logits = model.model.eval()(**read, decoder_input_ids=torch.tensor([begun])).logits[0, -1]
    right, wrong = logits[list(words)].log_softmax(-1).tolist()
    return float(right - wrong)


@pytest.mark.parametrize("kind", ["whole words", "pieces", "bytes"])
def test_the_score_is_the_log_odds_of_true(kind: str, tmp_path: Path) -> None:
    if kind == "whole words":
        model = _new(_knowing("true", "false", "the", "soup", "train", "left", "cold", "dog"))
        begun, words = [0], ("▁true", "▁false")
    elif kind == "pieces":
        # "▁" stands in front of both.
        model = _new(tiny_tokenizer("t5"))
        begun, words = [0, model.tokenizer.convert_tokens_to_ids("▁")], ("t", "f")
    else:
        model = T5Model("byt5", tiny_checkpoint(tmp_path / "byt5", "byt5"), args=ARGS)
        begun, words = [0], ("t", "f")
    ids = tuple(model.tokenizer.convert_tokens_to_ids(list(words)))
    assert model.tokenizer.unk_token_id not in (*begun, *ids)
    passages, scores, order = found = model.rerank(QUERIES, PASSAGES)
    for query, given, texts, values, places in zip(QUERIES, PASSAGES, passages, scores, order, strict=True):
        expected = np.array([_by_hand(model, query, text, begun, ids) for text in given])
        assert np.ptp(expected) > 1e-4
        np.testing.assert_allclose(values, np.sort(expected)[::-1], rtol=1e-3, atol=1e-5)
        assert texts == [given[place] for place in places]
        assert places.tolist() == np.argsort(-expected).tolist()
    assert found.to_frame()["rank"].tolist() == [1, 2, 3, 1, 2]


@pytest.mark.real
def test_it_learns_to_rank(make: Callable[..., T5Model]) -> None:
    args = {"as_reranker": True, "learning_rate": 1e-2, "num_train_epochs": 60}
    saves = {"no_save": False, "save_model_every_epoch": False, "save_steps": -1}
    model, pairs = make(**args, **saves), _pairs()
    before = pairs.copy()
    model.train_model(pairs)
    pd.testing.assert_frame_equal(pairs, before)
    passages, scores, order = model.rerank(QUERIES, PASSAGES)
    assert [texts[0] for texts in passages] == ["the soup was cold", "the train left"]
    result = model.eval_model(pairs)
    expected = ranking_scores([places.tolist() for places in order], [{1: 1}, {1: 1}])
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    assert result["mrr_at_1"] == 1.0
    assert set(model.predict(pairs[[*PAIR]])) == {"false", "true"}
    again: Any = easytx.load("outputs", args={"silent": True})
    odds = again.predict(pairs[[*PAIR]].to_numpy().tolist(), reranking_eval=True)
    np.testing.assert_allclose(np.sort(odds[:3])[::-1], scores[0], rtol=1e-3, atol=1e-4)


def test_a_right_passage_in_the_wrong_place_costs_score(make: Callable[..., T5Model]) -> None:
    model = make(as_reranker=True)
    odds = model.predict(_pairs()[[*PAIR]], reranking_eval=True)
    worst, best = int(odds[:3].argmin()), int(odds[:3].argmax())
    pairs = _pairs().head(3)
    assert model.eval_model(pairs.assign(labels=[int(row == best) for row in range(3)]))["mrr_at_10"] == 1.0
    assert model.eval_model(pairs.assign(labels=[int(row == worst) for row in range(3)]))["mrr_at_10"] == (
        pytest.approx(1 / 3)
    )
    assert set(model.eval_model(pairs.assign(labels=0))) == {"eval_loss"}


def test_equals_stay_in_their_order_and_top_k_cuts(make: Callable[..., T5Model]) -> None:
    _, scores, order = ranked(pairs_to_rank("soup", ["a", "b", "c"]), np.array([1.0, 2.0, 1.0]), None)
    assert (order[0].tolist(), scores[0].tolist()) == ([1, 0, 2], [2.0, 1.0, 1.0])
    model = make()
    best, *_ = model.rerank(QUERIES, PASSAGES)
    passages, *_ = model.rerank(QUERIES, PASSAGES, top_k=1)
    assert passages == [texts[:1] for texts in best]


def test_a_frame_keeps_its_columns_and_its_index(make: Callable[..., T5Model]) -> None:
    pairs = _pairs().assign(id=[f"p{row}" for row in range(5)]).set_index(pd.Index(list("edcba")))
    for as_reranker in (False, True):
        frame = make(as_reranker=as_reranker).rerank(pairs, top_k=2).to_frame()
        assert frame["rank"].tolist() == [1, 2, 1, 2]
        assert "input_text" not in frame
        for label, row in frame.iterrows():
            assert pairs.loc[str(label), ["passage", "id"]].tolist() == row[["passage", "id"]].tolist()


@pytest.mark.parametrize(
    "labels", [[0, 1, 0, 1, 0], [0.0, 1.0, 0.0, 1.0, 0.0], ["false", "true", "False", "TRUE", "false"]]
)
def test_labels_are_numbers_or_words(make: Callable[..., T5Model], labels: list[Any]) -> None:
    model, pairs = make(as_reranker=True), _pairs().assign(labels=labels)
    renamed = pairs.rename(columns={"query_text": "question", "labels": "relevant"})
    renames = {"query_text": "question", "labels": "relevant"}
    for frame, others in ((pairs, {}), (renamed, renames)):
        data = model.prepared(frame, name="train_df", split="train", renames=others)
        assert data.frame["target_text"].tolist() == ["false", "true", "false", "true", "false"]
        assert data.frame["input_text"].iloc[1] == "Query: soup Document: the soup was cold Relevant:"
    call = model.eval_model(renamed, query_text_column="question", labels_column="relevant")
    assert call["eval_loss"] == pytest.approx(model.eval_model(pairs)["eval_loss"])


def test_texts_are_read_as_ever(make: Callable[..., T5Model]) -> None:
    plain, ranker = make(), make(as_reranker=True)
    frame = rows(4)
    assert ranker.eval_model(frame) == pytest.approx(plain.eval_model(frame))
    texts = frame["input_text"].tolist()
    assert ranker.predict(texts) == plain.predict(texts)
    assert ranker.predict(texts, reranking_eval=True) == pytest.approx(plain.predict(texts, reranking_eval=True))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            _pairs().assign(labels=[0, 1, 2, 0, 3]),
            "train_df needs labels that say whether a passage is relevant, 1 or 0, or 'true' or 'false', but has 2 in "
            "rows 2, 4.",
        ),
        (
            _pairs().assign(labels=[0, 1, None, 0, 1]),
            "train_df needs labels that say whether a passage is relevant, 1 or 0, or 'true' or 'false', but has nan "
            "in row 2.",
        ),
        (
            _pairs().drop(columns="labels"),
            "train_df needs the columns ['query_text', 'passage', 'labels'], but has ['query_text', 'passage']. "
            "Rename columns, or name yours with labels_column=....",
        ),
        (
            _pairs().assign(passage=[None, "a", "b", "c", "d"]),
            "train_df has no text in 1 row of the column 'passage': row 0. Fill or drop them, for example "
            "train_df.dropna(subset=['passage']).",
        ),
    ],
)
def test_what_is_wrong_with_pairs_is_said(make: Callable[..., T5Model], frame: pd.DataFrame, message: str) -> None:
    model = make(as_reranker=True)
    with pytest.raises(DataError) as refused:
        model.train_model(frame)
    assert str(refused.value) == message
    assert model._model is None


def test_queries_without_passages_are_refused(make: Callable[..., T5Model]) -> None:
    model = make()
    with pytest.raises(DataError, match=r"^rerank has no passages for the queries in row 1\.$"):
        model.rerank(QUERIES, [["a"], []])
    with pytest.raises(DataError, match=r"^queries has no text in 1 row of the column 'passage': row 1\."):
        model.rerank(_pairs().head(2).assign(passage=["a", None]))
    assert model._model is None


def test_a_tokenizer_has_to_know_the_words() -> None:
    message = (
        r"^The tokenizer cannot tell 'true' from 'false', the words that say whether a passage is relevant\. "
        r"Take a model whose vocabulary has them\.$"
    )
    model = _new(_knowing("soup", "train"), as_reranker=True)
    for call in (
        lambda: model.rerank(QUERIES, PASSAGES),
        lambda: model.train_model(_pairs()),
        lambda: model.predict(["soup"], reranking_eval=True),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    assert model._model is None
