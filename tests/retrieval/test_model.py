"""Two encoders: made from any checkpoint, trained, saved, opened again, searched with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertConfig, DPRConfig, DPRContextEncoder, DPRQuestionEncoder, DPRReader

import easytx
from easytx import RepresentationModel, RetrievalArgs, RetrievalModel
from easytx.errors import ArgumentError, CheckpointError, DataError
from easytx.testing import tiny_checkpoint, tiny_tokenizer

from .conftest import PASSAGES, QUERIES, SETTINGS

Make = Callable[..., RetrievalModel]


def _dpr(folder: Path, kind: Any, seed: int, **config: Any) -> Path:
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer("bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    network = kind(DPRConfig(vocab_size=len(tokenizer), initializer_range=0.2, **sizes, **config))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _weights(network: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _changed(before: dict[str, torch.Tensor], network: Any) -> set[str]:
    """Return the parts whose weights have changed."""
    return {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


# Vectors and search


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
def test_scores_are_the_similarities_of_pooled_vectors(
    make: Make, checkpoint: Path, pooling: str, similarity: str
) -> None:
    model = make(args={"pooling": pooling, "similarity_function": similarity}, prediction_passages=PASSAGES)
    vectors = RepresentationModel("bert", checkpoint, use_cuda=False, args={"fp16": False, "max_seq_length": 32})
    how: Any = {"mean": "mean", "cls": "cls", "last": -1}[pooling]
    queries, passages = (
        vectors.encode_sentences(texts, how, normalize=similarity == "cosine") for texts in (QUERIES, PASSAGES)
    )
    expected = queries @ passages.T
    found = model.predict(QUERIES, retrieve_n_docs=3)
    order = np.argsort(-expected, axis=1)[:, :3]
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, order, axis=1), rtol=1e-3, atol=1e-5)
    assert found.passages == [[PASSAGES[place] for place in row] for row in order]
    np.testing.assert_allclose(model.encode_queries(QUERIES), queries, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.encode_passages(PASSAGES), passages, rtol=1e-3, atol=1e-5)


def test_predict_unpacks_and_has_frames(make: Make) -> None:
    frame = pd.DataFrame({"passages": PASSAGES, "title": "", "id": [f"p{i}" for i in range(6)], "year": range(6)})
    model = make(prediction_passages=frame)
    queries = pd.DataFrame({"query_text": QUERIES, "asked_by": "Anna"}, index=[4, 2, 9, 1])
    found = model.predict(queries, retrieve_n_docs=2)
    passages, doc_ids, doc_vectors, doc_dicts = found
    assert [len(texts) for texts in passages] == [2] * 4
    assert doc_ids.shape == (4, 2)
    assert doc_vectors.shape == (4, 2, 32)
    assert doc_dicts[0]["passages"] == passages[0]
    assert doc_dicts[0]["id"] == doc_ids[0].tolist()
    assert doc_dicts[0]["year"] == [int(name[1:]) for name in doc_ids[0]]
    assert (np.diff(found.scores, axis=1) <= 0).all()
    rows = found.to_frame()
    assert rows.index.tolist() == [4, 2, 9, 1]
    assert rows["asked_by"].tolist() == ["Anna"] * 4
    assert rows["prediction"].tolist() == [texts[0] for texts in passages]
    hits = found.hits()
    assert hits.index.tolist() == [4, 4, 2, 2, 9, 9, 1, 1]
    assert hits["rank"].tolist() == [1, 2] * 4
    assert hits["passage"].tolist() == [text for texts in passages for text in texts]
    assert model.predict(QUERIES, passages_only=True, retrieve_n_docs=2) == passages
    ids, scores = model.predict(QUERIES, doc_ids_only=True, retrieve_n_docs=2)
    np.testing.assert_array_equal(ids, doc_ids)
    np.testing.assert_array_equal(scores, found.scores)


def test_passages_of_one_call_count_for_it_alone(make: Make) -> None:
    model = make(prediction_passages=PASSAGES)
    assert model.predict(QUERIES, prediction_passages=["only this"]).passages == [["only this"]] * 4
    assert len(model.predict(QUERIES).passages[0]) == 6


def test_without_passages_there_is_nothing_to_search(make: Make, rows: pd.DataFrame) -> None:
    model = make()
    with pytest.raises(DataError) as refused:
        model.predict(QUERIES)
    assert str(refused.value) == (
        "There are no passages to search. Give prediction_passages to predict or to the constructor, or train the "
        "model."
    )
    model.train_model(rows)
    assert set(model.predict(QUERIES).passages[0]) == set(PASSAGES[:4])


def test_vectors_are_made_anew_after_training_and_not_before(make: Make, rows: pd.DataFrame, monkeypatch: Any) -> None:
    model = make(prediction_passages=PASSAGES)
    first = model.predict(QUERIES)
    calls: list[int] = []
    embedded = model._embedded
    monkeypatch.setattr(model, "_embedded", lambda *given, **options: calls.append(1) or embedded(*given, **options))
    np.testing.assert_array_equal(model.predict(QUERIES).scores, first.scores)
    assert calls == []
    model.train_model(rows, args={"num_train_epochs": 3})
    assert not np.allclose(model.predict(QUERIES).scores, first.scores)
    assert calls == [1]


# Training


def test_training_brings_queries_and_passages_together(make: Make, rows: pd.DataFrame) -> None:
    model = make(args={"num_train_epochs": 30, "pooling": "mean", "similarity_function": "cosine"})
    before = model.eval_model(rows).result
    model.train_model(rows)
    after = model.eval_model(rows).result
    assert after["mrr_at_10"] == after["ndcg_at_10"] == 1
    assert after["eval_loss"] < min(0.1, before["eval_loss"])
    assert [texts[0] for texts in model.predict(QUERIES).passages] == PASSAGES[:4]


@pytest.mark.parametrize(
    "args",
    [
        {"include_triplet_loss": True},
        {"include_margin_mse_loss": True},
        {"include_kl_div_loss": True, "include_nll_loss": False},
        {"mse_loss": True, "include_nll_loss": False},
        {"similarity_function": "cosine", "skip_hard_negatives_for_nll": True},
        {"include_bce_loss": True, "include_nll_loss": False},
        {"include_multi_negatives_loss": True, "include_nll_loss": False},
        {"include_quartet_loss": True, "include_nll_loss": False},
        {"nll_lambda_start_decay": 1, "nll_lambda_min": 0.1},
    ],
    ids=lambda args: next(iter(args)),
)
def test_every_loss_can_be_trained_on(make: Make, rows: pd.DataFrame, args: dict[str, Any]) -> None:
    rows = rows.assign(hard_negative=PASSAGES[2:6], teacher_scores=[[2.0, -1.0]] * 4)
    model = make(args={**args, "hard_negatives": True, "num_train_epochs": 2, "gradient_accumulation_steps": 2})
    loss = model.train_model(rows).training_details
    assert np.isfinite(loss)
    assert loss > 0


def test_evaluation_knows_the_rank_of_each_passage(make: Make, rows: pd.DataFrame) -> None:
    model = make()
    evaluation = model.eval_model(rows, additional_passages=PASSAGES, acc=lambda truth, best: truth == best)
    similarities = model.encode_queries(QUERIES) @ model.encode_passages(PASSAGES).T
    ranks = [int((row > row[place]).sum()) + 1 for place, row in enumerate(similarities)]
    assert evaluation.to_frame()["rank"].tolist() == ranks
    assert evaluation["mrr_at_10"] == evaluation[0]["mrr_at_10"] == evaluation.result["mrr_at_10"]
    assert evaluation.result["mrr_at_10"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert evaluation.result["top_2_accuracy"] == pytest.approx(np.mean([rank <= 2 for rank in ranks]))
    assert evaluation.mrr_each_query_dict["mrr_at_10"].tolist() == pytest.approx([1 / rank for rank in ranks])
    assert evaluation.relevance_list.shape == evaluation.doc_ids.shape == (4, 6)
    exponentials = np.exp(similarities - similarities.max(axis=1, keepdims=True))
    shares = exponentials[np.arange(4), np.arange(4)] / exponentials.sum(axis=1)
    assert evaluation.result["eval_loss"] == pytest.approx(-np.log(shares).mean(), rel=1e-3)


SEVERAL = pd.DataFrame(
    {
        "query_text": [QUERIES[0], QUERIES[1], QUERIES[0], QUERIES[2]],
        "gold_passage": [PASSAGES[0], PASSAGES[1], PASSAGES[3], PASSAGES[2]],
    }
)


def _trec(model: RetrievalModel, right: dict[str, dict[str, int]], measures: set[str], level: int = 1) -> Any:
    """Return the means over queries that pytrec_eval gives, of searches among all passages."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    similarities = model.encode_queries(list(right)) @ model.encode_passages(PASSAGES).T
    rows = [dict(zip(PASSAGES, map(float, row), strict=True)) for row in similarities]
    run = dict(zip(right, rows, strict=True))
    found = pytrec_eval.RelevanceEvaluator(right, measures, relevance_level=level).evaluate(run)
    return pd.DataFrame(found).T.mean()


def test_a_query_with_several_passages_is_one_query(make: Make) -> None:
    model = make()
    evaluation = model.eval_model(SEVERAL, additional_passages=PASSAGES)
    right = {
        QUERIES[0]: {PASSAGES[0]: 1, PASSAGES[3]: 1},
        QUERIES[1]: {PASSAGES[1]: 1},
        QUERIES[2]: {PASSAGES[2]: 1},
    }
    trec = _trec(model, right, {"recip_rank", "recall.2,5", "ndcg_cut.3,10", "success.1,2"})
    for ours, theirs in {
        "mrr_at_10": "recip_rank",
        "recall_at_2": "recall_2",
        "recall_at_5": "recall_5",
        "ndcg_at_3": "ndcg_cut_3",
        "ndcg_at_10": "ndcg_cut_10",
        "top_1_accuracy": "success_1",
        "top_2_accuracy": "success_2",
    }.items():
        assert evaluation.result[ours] == pytest.approx(trec[theirs]), ours
    assert evaluation.relevance_list.sum(axis=1).tolist() == [2, 1, 2, 1]
    assert evaluation.recall_at_k_each_query["recall_at_10"].tolist() == [1] * 4
    assert evaluation.to_frame()["rank"].tolist()[0] == evaluation.to_frame()["rank"].tolist()[2]


def test_relevant_passages_may_be_named(make: Make, rows: pd.DataFrame) -> None:
    model = make()
    named = [[PASSAGES[4]], [], [PASSAGES[5], "The bus left at ten."], []]
    evaluation = model.eval_model(rows, relevant_docs=named, top_k_values=[4, 7])
    assert evaluation.relevance_list.sum(axis=1).tolist() == [2, 1, 3, 1]
    assert evaluation.relevance_list.shape == (4, 7)
    assert [name for name in evaluation.result if name.startswith("recall")] == ["recall_at_4", "recall_at_7"]
    assert evaluation.result["recall_at_7"] == 1
    for wrong in ([0], "5", []):
        with pytest.raises(ArgumentError, match=r"^top_k_values must be a list of whole numbers from 1, but is "):
            model.eval_model(rows, top_k_values=wrong)


@pytest.mark.parametrize("level", [1, 2])
def test_a_folder_with_judgements_is_searched_as_a_whole(make: Make, tmp_path: Path, level: int) -> None:
    (tmp_path / "data" / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(PASSAGES)]
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(QUERIES)]
    for name, records in (("corpus", corpus), ("queries", queries)):
        (tmp_path / "data" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)), "utf-8")
    judged = {"q0": {"d3": 1, "d0": 2}, "q1": {"d1": 2}, "q3": {"d2": 1, "d4": 2}}
    lines = [f"{query}\t{passage}\t{gain}" for query, row in judged.items() for passage, gain in row.items()]
    for split in ("train", "test"):
        (tmp_path / "data" / "qrels" / f"{split}.tsv").write_text("\n".join(["a\tb\tc", *lines]), "utf-8")
    model = make(args={"data_format": "beir", "relevance_level": level})
    result, doc_ids, *_ = evaluation = model.eval_model(tmp_path / "data")
    assert evaluation.to_frame()[["query_id", "gold_passage"]].to_numpy().tolist() == [
        ["q0", PASSAGES[0]],
        ["q1", PASSAGES[1]],
        ["q3", PASSAGES[4]],
    ]
    assert {*doc_ids.ravel()} == {f"d{i}" for i in range(6)}
    right = {
        QUERIES[int(query[1])]: {PASSAGES[int(passage[1])]: gain for passage, gain in row.items()}
        for query, row in judged.items()
    }
    trec = _trec(model, right, {"recip_rank", "recall.2", "ndcg_cut.5"}, level)
    assert result["mrr_at_10"] == pytest.approx(trec["recip_rank"])
    assert result["recall_at_2"] == pytest.approx(trec["recall_2"])
    assert result["ndcg_at_5"] == pytest.approx(trec["ndcg_cut_5"])
    assert model.train_model(tmp_path / "data").global_step == 2


def test_no_right_passage_becomes_a_hard_negative(make: Make) -> None:
    model = make()
    mined = model.build_hard_negatives(SEVERAL, PASSAGES, 3)
    for query, group in mined.groupby("query_text"):
        names = ["hard_negative", "hard_negative_2", "hard_negative_3"]
        assert not set(group[names].to_numpy().ravel()) & set(group["gold_passage"]), query
        assert group[names].notna().all(axis=None)


def test_titles_are_read_before_passages(make: Make, rows: pd.DataFrame) -> None:
    rows = rows.assign(title=["Acme", None, "Trains", ""])
    model = make(args={"pooling": "mean"})
    model.train_model(rows)
    passages = model.prediction_passages
    assert passages is not None
    assert passages["title"].tolist() == ["Acme", "", "Trains", ""]
    with_titles, without = model.encode_passages(passages), model.encode_passages(PASSAGES[:4])
    assert not np.allclose(with_titles[0], without[0])
    model.args.include_title = False
    np.testing.assert_allclose(model.encode_passages(passages), without, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("frozen", "trained"), [("query", "context_encoder"), ("context", "query_encoder")])
def test_one_of_the_encoders_can_be_left_as_it_is(make: Make, rows: pd.DataFrame, frozen: str, trained: str) -> None:
    model = make(args={f"train_{frozen}_encoder": False, "num_train_epochs": 3})
    before = _weights(model.model)
    model.train_model(rows)
    assert _changed(before, model.model) == {trained}
    assert all(parameter.requires_grad for parameter in model.model.parameters())


def test_nothing_to_train_is_an_error(make: Make, rows: pd.DataFrame) -> None:
    model = make(args={"train_query_encoder": False, "train_context_encoder": False})
    with pytest.raises(ArgumentError, match=r"are both False: nothing would be trained\.$"):
        model.train_model(rows)


def test_tied_encoders_are_one(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    model = make(args={"tie_encoders": True})
    assert model.model.query_encoder is model.model.context_encoder
    separate = make().model.num_parameters()
    assert model.model.num_parameters() * 2 == separate
    model.train_model(rows, output_dir=tmp_path / "tied")
    reopened = easytx.load(tmp_path / "tied")
    assert reopened.model.query_encoder is reopened.model.context_encoder
    np.testing.assert_allclose(reopened.predict(QUERIES).scores, model.predict(QUERIES).scores, rtol=1e-4)


def test_a_training_is_resumed_where_it_was(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    args = {"num_train_epochs": 3, "save_model_every_epoch": True, "save_total_limit": None}
    whole = make(args={**args, "output_dir": str(tmp_path / "whole")})
    whole.train_model(rows)
    resumed = make(args={**args, "output_dir": str(tmp_path / "whole")})
    result = resumed.train_model(rows, resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    assert result.global_step == 3
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)


# Checkpoints


def test_dpr_gives_the_vectors_of_its_own_classes(tmp_path: Path, make: Make) -> None:
    context = _dpr(tmp_path / "context", DPRContextEncoder, 1)
    query = _dpr(tmp_path / "query", DPRQuestionEncoder, 2)
    model = RetrievalModel(
        model_type="dpr",
        context_encoder_name=str(context),
        query_encoder_name=str(query),
        args=RetrievalArgs(**SETTINGS),
        use_cuda=False,
    )
    tokenizer = tiny_tokenizer("bert")
    for kind, folder, found in (
        (DPRContextEncoder, context, model.encode_passages(PASSAGES[:1])),
        (DPRQuestionEncoder, query, model.encode_queries(PASSAGES[:1])),
    ):
        with torch.no_grad():
            expected = kind.from_pretrained(folder).eval()(**tokenizer(PASSAGES[0], return_tensors="pt")).pooler_output
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
    model.save_model(tmp_path / "saved")
    reopened = easytx.load(tmp_path / "saved", use_cuda=False)
    np.testing.assert_allclose(reopened.encode_queries(QUERIES), model.encode_queries(QUERIES), rtol=1e-4, atol=1e-6)


def test_a_folder_of_old_with_two_encoders_of_dpr_opens(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    _dpr(folder / "context_encoder", DPRContextEncoder, 1)
    _dpr(folder / "query_encoder", DPRQuestionEncoder, 2)
    (folder / "model_args.json").write_text(
        json.dumps({"model_class": "RetrievalModel", "max_seq_length": 40}), "utf-8"
    )
    for model in (easytx.load(folder), RetrievalModel("dpr", folder)):
        assert model.args.max_seq_length == 40
        assert model.config.pooling == "cls"
        assert model.predict(QUERIES, prediction_passages=PASSAGES).scores.shape == (4, 6)


def test_other_checkpoints_of_dpr_are_refused(tmp_path: Path) -> None:
    reader = _dpr(tmp_path / "reader", DPRReader, 1)
    with pytest.raises(CheckpointError, match=r"is a checkpoint of DPR, but a DPRReader\."):
        RetrievalModel("dpr", reader)
    projected = _dpr(tmp_path / "projected", DPRContextEncoder, 1, projection_dim=8)
    with pytest.raises(CheckpointError, match=r"is a checkpoint of DPR, but one with a projection to 8 dimensions\."):
        RetrievalModel("dpr", projected)


def test_two_encoders_of_different_kinds(tmp_path: Path, checkpoint: Path) -> None:
    other = tiny_checkpoint(tmp_path / "roberta", "roberta")
    args = {**SETTINGS, "max_seq_length": 20}
    model = RetrievalModel(context_encoder_name=other, query_encoder_name=checkpoint, args=args, use_cuda=False)
    assert (model.towers["query_encoder"].config.model_type, model.towers["context_encoder"].config.model_type) == (
        "bert",
        "roberta",
    )
    rows = pd.DataFrame({"query_text": QUERIES, "gold_passage": PASSAGES[:4]})
    model.train_model(rows, output_dir=tmp_path / "mixed")
    reopened = easytx.load(tmp_path / "mixed")
    np.testing.assert_allclose(reopened.predict(QUERIES).scores, model.predict(QUERIES).scores, rtol=1e-4, atol=1e-5)
    with pytest.raises(ArgumentError, match=r"^tie_encoders makes one encoder of both, but they come from"):
        RetrievalModel(context_encoder_name=other, query_encoder_name=checkpoint, args={"tie_encoders": True})


def test_each_encoder_can_be_configured(make: Make) -> None:
    model = make(args={"query_config": {"hidden_dropout_prob": 0.3}, "config": {"attention_probs_dropout_prob": 0.4}})
    query, context = (model.towers[part].config for part in ("query_encoder", "context_encoder"))
    assert (query.hidden_dropout_prob, context.hidden_dropout_prob) == (0.3, BertConfig().hidden_dropout_prob)
    assert query.attention_probs_dropout_prob == context.attention_probs_dropout_prob == 0.4


def test_pooling_is_as_the_checkpoint_says_unless_told_otherwise(checkpoint: Path, tmp_path: Path, make: Make) -> None:
    assert make().config.pooling == "cls"
    assert make(args={"mean_pooling": True}).config.pooling == "mean"
    make(args={"pooling": "mean"}).save_model(tmp_path / "saved")
    stated = tmp_path / "saved" / "query_encoder"
    assert make(stated).config.pooling == "mean"
    assert make(stated, args={"pooling": "cls"}).config.pooling == "cls"
    assert make(tmp_path / "saved").config.pooling == "mean"


@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_sentence_transformers_opens_each_encoder(make: Make, tmp_path: Path, similarity: str, pooling: str) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = make(args={"similarity_function": similarity, "pooling": pooling}, prediction_passages=PASSAGES)
    model.save_model(tmp_path / "saved")
    for part, ours in (("query_encoder", model.encode_queries), ("context_encoder", model.encode_passages)):
        theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "saved" / part), device="cpu")
        np.testing.assert_allclose(theirs.encode(PASSAGES), ours(PASSAGES), rtol=1e-4, atol=1e-5)
        assert theirs.max_seq_length == 32


def test_passages_are_saved_with_the_model_unless_told_otherwise(make: Make, tmp_path: Path) -> None:
    make(prediction_passages=PASSAGES).save_model(tmp_path / "with")
    make(prediction_passages=PASSAGES, args={"save_passage_dataset": False}).save_model(tmp_path / "without")
    assert easytx.load(tmp_path / "with").prediction_passages["passages"].tolist() == PASSAGES
    assert easytx.load(tmp_path / "without").prediction_passages is None


# Hard negatives


def test_hard_negatives_are_near_and_not_the_right_passage(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    model = make(prediction_passages=PASSAGES)
    found = model.build_hard_negatives(rows.set_index(pd.Index([3, 1, 2, 0])), retrieve_n_docs=2, output_dir=tmp_path)
    assert found.index.tolist() == [3, 1, 2, 0]
    ranked = model.predict(QUERIES).passages
    for row, (texts, gold) in enumerate(zip(ranked, rows["gold_passage"], strict=True)):
        expected = [text for text in texts if text != gold][:2]
        assert found.iloc[row][["hard_negative", "hard_negative_2"]].tolist() == expected
    model.train_model(str(tmp_path / "hard_negatives.tsv"), args={"hard_negatives": True, "n_hard_negatives": 2})


def test_hard_negatives_of_texts_alone_may_be_right(make: Make) -> None:
    model = make()
    found = model.build_hard_negatives(queries=QUERIES, passage_dataset=PASSAGES, retrieve_n_docs=1)
    assert (
        found["hard_negative"].tolist()
        == model.predict(QUERIES, prediction_passages=PASSAGES).to_frame()["prediction"].tolist()
    )
    written = pd.read_csv("outputs/hard_negatives.tsv", sep="\t")
    assert written["hard_negative"].tolist() == found["hard_negative"].tolist()
    with pytest.warns(UserWarning, match=r"^Of 4 queries 4 got fewer than 3 hard negatives\.$"):
        model.build_hard_negatives(QUERIES, PASSAGES[:2], retrieve_n_docs=3)
    kept = Path("outputs/hard_negatives.tsv").read_bytes()
    make(args={"no_save": True}).build_hard_negatives(QUERIES, PASSAGES[:1])
    assert Path("outputs/hard_negatives.tsv").read_bytes() == kept


# What is refused


@pytest.mark.parametrize("name", ["use_autoencoder", "unified_rr", "external_embeddings"])
def test_methods_that_there_are_not_are_refused(make: Make, name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^{name}=True asks for a method that RetrievalModel does not have\."):
        make(args={name: True})


def test_models_that_there_are_not_are_refused(make: Make) -> None:
    with pytest.raises(ArgumentError, match=r"^RetrievalModel cannot use 'autoencoder_model': vectors are as long"):
        make(autoencoder_model="some/autoencoder")
    assert make(teacher_model_name=None, autoencoder_model=None).towers
    with pytest.raises(ArgumentError, match=r"^RetrievalModel needs a model name"):
        RetrievalModel()


def test_long_passages_are_cut_with_one_warning(make: Make, rows: pd.DataFrame, warned: Any) -> None:
    model = make(args={"max_seq_length": 8, "evaluate_during_training": True, "no_save": True})
    _, messages = warned(lambda: model.train_model(rows, eval_data=rows.assign(query_text="Who?")))
    assert [message.split(" are longer")[0] for message in messages if "passages" in message] == [
        "4 of 4 rows of the passages of train_df",
        "4 of 4 rows of the passages of eval_df",
    ]


# The start of old scripts


def test_a_script_that_mines_trains_and_searches(tmp_path: Path) -> None:
    context = _dpr(tmp_path / "context", DPRContextEncoder, 1)
    query = _dpr(tmp_path / "query", DPRQuestionEncoder, 2)
    model_args = RetrievalArgs()
    model_args.num_train_epochs = 1
    model_args.include_title = False
    model_args.hard_negatives = True
    model_args.silent = True
    model = RetrievalModel(
        model_type="dpr", context_encoder_name=str(context), query_encoder_name=str(query), args=model_args
    )
    train_df = pd.DataFrame([list(pair) for pair in zip(QUERIES, PASSAGES, strict=False)])
    train_df.columns = ["query_text", "gold_passage"]
    negatives = model.build_hard_negatives(queries=train_df, passage_dataset=PASSAGES, retrieve_n_docs=1)
    model.train_model(negatives, eval_data=None)
    result, *_ = model.eval_model(train_df)
    assert {"mrr_at_10", "top_1_accuracy", "recall_at_5", "eval_loss"} <= set(result)
    predicted_passages, doc_ids, doc_vectors, doc_dicts = model.predict(["Who flew to Berlin?"])
    known = {*PASSAGES[:4], *negatives["hard_negative"]}
    assert set(predicted_passages[0]) == known
    assert len(doc_ids[0]) == len(doc_vectors[0]) == len(doc_dicts[0]["passages"]) == len(known)
