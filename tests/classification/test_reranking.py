"""Passages in a new order, by a classifier that reads them together with the query."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easytx import ClassificationModel, MultiLabelClassificationModel
from easytx.errors import ArgumentError, DataError, UnsupportedError
from easytx.metrics.ranking import ranking_scores

QUERIES = ["who flew to Berlin", "what was cold"]
PASSAGES = [["Mary flew", "the train left", "Anna met Peter"], ["the soup", "a joy"]]

Make = Callable[..., Any]


def _rows() -> pd.DataFrame:
    pairs = [
        (query, text, int(place == 0))
        for query, texts in zip(QUERIES, PASSAGES, strict=True)
        for place, text in enumerate(texts)
    ]
    return pd.DataFrame(pairs, columns=["query_text", "passage", "labels"])


def test_passages_are_ordered_by_the_odds_of_the_second_class(make: Make) -> None:
    model = make(ClassificationModel, num_labels=2)
    passages, scores, order = found = model.rerank(QUERIES, PASSAGES)
    for query, given, texts, values, places in zip(QUERIES, PASSAGES, passages, scores, order, strict=True):
        _, logits = model.predict([[query, text] for text in given])
        odds = logits[:, 1] - logits[:, 0]
        assert places.tolist() == np.argsort(-odds).tolist()
        assert texts == [given[place] for place in places]
        np.testing.assert_allclose(values, odds[places], rtol=1e-4, atol=1e-5)
    assert pickle.loads(pickle.dumps(found)).passages == passages
    frame = found.to_frame()
    assert frame["query_text"].tolist() == [QUERIES[0]] * 3 + [QUERIES[1]] * 2
    assert frame["rank"].tolist() == [1, 2, 3, 1, 2]
    assert frame["passage"].tolist() == [*passages[0], *passages[1]]


def test_one_output_is_the_score_itself(make: Make) -> None:
    model = make(ClassificationModel, num_labels=1, args={"regression": True})
    _, scores, order = model.rerank(QUERIES[0], PASSAGES[0])
    predicted, _ = model.predict([[QUERIES[0], text] for text in PASSAGES[0]])
    np.testing.assert_allclose(scores[0], np.sort(predicted)[::-1], rtol=1e-4, atol=1e-5)
    assert order[0].tolist() == np.argsort(-predicted).tolist()


def test_of_grades_the_expected_one_counts(make: Make) -> None:
    model = make(ClassificationModel, num_labels=3)
    _, scores, _ = model.rerank(QUERIES[0], PASSAGES[0])
    chances = model.predict_proba([[QUERIES[0], text] for text in PASSAGES[0]]).to_numpy()
    np.testing.assert_allclose(scores[0], np.sort(chances @ [0, 1, 2])[::-1], rtol=1e-4, atol=1e-5)


def test_other_classes_are_no_order(make: Make) -> None:
    model = make(ClassificationModel, args={"labels_list": ["news", "sport", "art"]})
    with pytest.raises(ArgumentError, match=r"^The labels \['news', 'sport', 'art'\] are no grades of relevance\."):
        model.rerank(QUERIES[0], PASSAGES[0])
    with pytest.raises(
        UnsupportedError, match=r"^MultiLabelClassificationModel does not rank: use ClassificationModel"
    ):
        make(MultiLabelClassificationModel, num_labels=2).rerank(QUERIES[0], PASSAGES[0])


def test_a_frame_keeps_its_columns_and_its_index(make: Make) -> None:
    model = make(ClassificationModel, num_labels=2)
    rows = _rows().assign(rank=9, score=9.0, id=[f"p{row}" for row in range(5)]).set_index(pd.Index(list("edcba")))
    before = rows.copy()
    frame = model.rerank(rows, top_k=2).to_frame()
    pd.testing.assert_frame_equal(rows, before)
    assert frame["rank"].tolist() == [1, 2, 1, 2]
    for label, row in frame.iterrows():
        assert rows.loc[str(label), ["passage", "id"]].tolist() == row[["passage", "id"]].tolist()


def test_one_list_of_passages_serves_all_queries(make: Make) -> None:
    model = make(ClassificationModel, num_labels=2)
    passages, *_ = model.rerank(QUERIES, ["one", "two", "three"])
    assert [sorted(texts) for texts in passages] == [["one", "three", "two"]] * 2


@pytest.mark.parametrize(
    ("queries", "passages", "message"),
    [
        (QUERIES, PASSAGES[:1], r"^rerank has 2 queries but 1 lists of passages\. Give one list per query"),
        (QUERIES, [["a"], []], r"^rerank has no passages for the queries in row 1\.$"),
        ("who?", None, r"^rerank has no passages for the queries in row 0\.$"),
        ([], ["a"], r"^rerank has no queries\.$"),
        (_rows().head(0), None, r"^rerank has no queries\.$"),
        (QUERIES, None, r"^rerank has 2 queries but 0 lists of passages\."),
        (_rows().drop(columns="passage"), None, r"^rerank takes a frame with the columns \['query_text', 'passage'\]"),
    ],
)
def test_queries_without_passages_are_refused(make: Make, queries: Any, passages: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(ClassificationModel, num_labels=2).rerank(queries, passages)


def test_as_reranker_trains_on_queries_and_scores_rankings(make: Make) -> None:
    rows = _rows()
    model = make(ClassificationModel, args={"as_reranker": True, "num_train_epochs": 2})
    model.train_model(rows)
    result, *_ = model.eval_model(rows)
    _, _, order = model.rerank(QUERIES, PASSAGES)
    expected = ranking_scores([places.tolist() for places in order], [{0: 1}, {0: 1}])
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    plain = make(ClassificationModel, num_labels=2)
    scores, *_ = plain.eval_model(rows.rename(columns={"query_text": "text_a", "passage": "text_b"}))
    assert not set(expected) & set(scores)


def test_queries_without_a_right_passage_do_not_count(make: Make) -> None:
    rows = _rows()
    model = make(ClassificationModel, num_labels=2, args={"as_reranker": True})
    first, *_ = model.eval_model(rows[rows["query_text"] == QUERIES[0]].assign(labels=[1, 0, 0]))
    both, *_ = model.eval_model(rows.assign(labels=[1, 0, 0, 0, 0]))
    assert both["mrr_at_10"] == pytest.approx(first["mrr_at_10"])
