"""Models that look up passages: what they find, how likely they say a text is, and that they are saved whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset

import easytx
from easytx import RepresentationModel, Seq2SeqModel
from easytx.errors import ArgumentError, CheckpointError, DataError
from easytx.seq2seq import lookup, rag
from easytx.seq2seq.rag_networks import RagSequenceForGeneration, RagTokenForGeneration
from easytx.testing import tiny_checkpoint

from .rag import KINDS, KNOWLEDGE, ROWS, Make, Parts, parts_in, put_together

QUESTIONS = ROWS["input_text"].tolist()


@pytest.fixture(scope="session")
def part(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return parts_in(tmp_path_factory.mktemp("rag"))


@pytest.fixture(scope="session")
def saved(part: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is not written to."""
    folder = tmp_path_factory.mktemp("saved") / "rag"
    put_together(part).save_model(folder)
    return folder


@pytest.fixture
def make(part: Parts) -> Make:
    return lambda *given, **args: put_together(part, *given, **args)


# What is found


def test_the_passages_with_the_largest_dot_products_are_found(make: Make, part: Parts) -> None:
    prediction = make().predict(ROWS.drop(columns="target_text"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(part("questions"))
    titles, texts = KNOWLEDGE["title"].fillna("").tolist(), KNOWLEDGE["text"].tolist()
    with torch.no_grad():
        ids = tokenizer(titles, texts, padding=True, return_tensors="pt")["input_ids"]
        theirs = transformers.DPRContextEncoder.from_pretrained(part("passages", 2))(ids).pooler_output
        ids = tokenizer(QUESTIONS, padding=True, return_tensors="pt")["input_ids"]
        ours = transformers.DPRQuestionEncoder.from_pretrained(part("questions"))(ids).pooler_output
    products = (ours @ theirs.T).numpy()
    order = np.argsort(-products, axis=1)[:, :3]
    outputs, retrieved_docs, doc_scores = prediction
    assert [docs["text"] for docs in retrieved_docs] == [[texts[i] for i in row] for row in order]
    assert [docs["title"] for docs in retrieved_docs] == [[titles[i] for i in row] for row in order]
    np.testing.assert_allclose(doc_scores, np.take_along_axis(products, order, axis=1), rtol=1e-4, atol=1e-4)
    assert len(outputs) == 3
    rows, hits = prediction.to_frame(), prediction.hits()
    assert rows.index.tolist() == ["c", "a", "b"]
    assert rows["passage_text"].tolist() == [texts[row[0]] for row in order]
    assert rows["doc_score"].tolist() == doc_scores[:, 0].tolist()
    assert hits.index.tolist() == list("cccaaabbb")
    assert hits["rank"].tolist() == [1, 2, 3] * 3
    assert hits["text"].tolist() == [texts[i] for row in order for i in row]
    assert hits["doc_score"].tolist() == doc_scores.ravel().tolist()


def test_fewer_passages_than_asked_for_are_all_found(make: Make) -> None:
    prediction = make(knowledge_dataset=["one", "two"]).predict("which")
    assert sorted(prediction.retrieved_docs[0]["text"]) == ["one", "two"]
    assert prediction.doc_scores.shape == (1, 2)


def test_many_questions_are_searched_for_in_parts(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = easytx.load(saved)
    expected = model.predict(QUESTIONS)
    monkeypatch.setattr(lookup, "_AT_ONCE", 2)
    found = model.predict(QUESTIONS)
    assert (found.outputs, found.retrieved_docs) == (expected.outputs, expected.retrieved_docs)
    np.testing.assert_allclose(found.doc_scores, expected.doc_scores, rtol=1e-6)


def test_a_context_that_is_too_long_keeps_its_question(make: Make) -> None:
    model = make(knowledge_dataset=[("Many", "words " * 90)], config={"n_docs": 1, "max_combined_length": 24})
    found = [[{"title": ["Many"], "text": [text]}] for text in ("w", "w " * 90)]
    contexts = [model.lookup._contexts(one, [[*range(5, 9)]])[0] for one in found]
    question = model.tokenizer.decode([*range(5, 9)])
    short, long = (model.target_tokenizer.decode(ids) for ids in contexts)
    assert short == f"<s>Many / w // {question}</s>"
    assert (len(contexts[1]), long[:13]) == (24, "<s>Many / w w")
    assert long.endswith(f" // {question}</s>")


# How likely texts are

# Passages of probability 3/4 and 1/4; a text of two tokens, which are as likely as this under each of them.
SCORES = torch.tensor([[3.0, 1.0]]).log()
FIRST, SECOND = torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.8])


def _probability(kind: Any) -> float:
    """Return the probability of the text [1, 1], of a vocabulary of two tokens."""
    one = torch.stack([FIRST, SECOND], dim=1)
    logits = torch.stack([1 - one, one], dim=-1).log()
    network = object.__new__(kind)
    found = kind.marginal(network, logits, SCORES, torch.tensor([[0, 1]]))
    torch.testing.assert_close(found.exp().sum(dim=-1), torch.ones(1, 2))
    return float(found[0, :, 1].sum().exp())


def test_probabilities_are_those_computed_by_hand() -> None:
    # A passage for each token: (3/4 0.5 + 1/4 0.1) (3/4 0.2 + 1/4 0.8) = 0.4 x 0.35
    assert _probability(RagTokenForGeneration) == pytest.approx(0.14)
    # A passage for the text: 3/4 0.5 0.2 + 1/4 0.1 0.8
    assert _probability(RagSequenceForGeneration) == pytest.approx(0.095)


@pytest.mark.parametrize("kind", KINDS)
def test_all_is_as_in_transformers(kind: str, make: Make, tmp_path: Path) -> None:
    model = make(kind, output_dir="scores")
    model.save_model(tmp_path / "saved")
    folder = tmp_path / "saved" / "knowledge_dataset"
    dataset = Dataset.load_from_disk(str(folder)).with_format("numpy", ["embeddings"], output_all_columns=True)
    dataset.load_faiss_index("embeddings", str(folder / "hf_dataset_index.faiss"))
    retriever = transformers.RagRetriever.from_pretrained(tmp_path / "saved", indexed_dataset=dataset)
    name = {"rag-token": "RagTokenForGeneration", "rag-sequence": "RagSequenceForGeneration"}[kind]
    theirs = getattr(transformers, name).from_pretrained(tmp_path / "saved", retriever=retriever).eval()
    reading, writing = retriever.question_encoder_tokenizer, retriever.generator_tokenizer
    inputs = dict(reading(QUESTIONS, padding=True, return_tensors="pt"))
    inputs.pop("token_type_ids", None)
    truth = writing(ROWS["target_text"].tolist(), padding=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        # Theirs wants the id that starts the decoder before a text, and pads with its padding.
        found = theirs(**inputs, labels=torch.cat([torch.full((3, 1), 2), truth], dim=1))
    losses = model.eval_model(ROWS).to_frame()["loss"].to_numpy()
    np.testing.assert_allclose(losses, (found.loss / (truth != 1).sum(dim=1)).numpy(), rtol=1e-5)
    np.testing.assert_allclose(model.predict(QUESTIONS).doc_scores, found.doc_scores.numpy(), rtol=1e-5, atol=1e-5)

    if kind == "rag-sequence":
        # Its generator would read the padding of contexts: transformers 5.23 gives it no mask.
        own = theirs.generator.generate
        theirs.generator.generate = lambda ids, **options: own(ids, **{**options, "attention_mask": (ids != 1).long()})
    written: set[str] = set()
    for beams, number in ((1, 1), (3, 1), (3, 2)):
        model.args.num_beams, model.args.num_return_sequences = beams, number
        more = {"early_stopping": True, "length_penalty": 2.0} if beams > 1 else {}
        ids = theirs.generate(**inputs, num_beams=beams, num_return_sequences=number, max_length=9, **more)
        texts = writing.batch_decode(ids, skip_special_tokens=True)
        written |= {*texts}
        ours = model.predict(QUESTIONS).outputs
        assert [text for row in ours for text in (row if number > 1 else [row])] == texts
    assert len(written) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_several_texts_are_drawn(kind: str, make: Make) -> None:
    model = make(kind, do_sample=True, num_return_sequences=4)
    found = model.predict(QUESTIONS)
    assert [len(texts) for texts in found.outputs] == [4, 4, 4]
    assert all(len({*texts}) == 4 for texts in found.outputs)
    assert [len(docs["text"]) for docs in found.retrieved_docs] == [3, 3, 3]
    assert model.predict(QUESTIONS).outputs == found.outputs


def test_texts_that_are_there_twice_come_last(make: Make) -> None:
    # One word, and no choice of another: every beam of every passage is the same, so that repetitions are needed.
    model = make("rag-sequence", num_beams=2, num_return_sequences=2, max_length=1)
    assert [len(texts) for texts in model.predict(QUESTIONS).outputs] == [2, 2, 2]


def test_half_precision_finds_the_same(make: Make) -> None:
    exact, half = (make(fp16=False, bf16=bf16).predict(QUESTIONS) for bf16 in (False, True))
    np.testing.assert_allclose(half.doc_scores, exact.doc_scores, rtol=0.1, atol=0.2)
    assert not np.array_equal(half.doc_scores, exact.doc_scores)


# Training


@pytest.mark.parametrize("kind", KINDS)
def test_training_changes_questions_and_generator_but_no_passage(kind: str, make: Make) -> None:
    model = make(kind, num_train_epochs=12, no_save=True, evaluate_during_training=True, gradient_checkpointing=True)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    vectors = model.lookup.knowledge.passages["embeddings"][:]
    held_out = ROWS.assign(input_text=[f"say {question}" for question in QUESTIONS])
    details = model.train_model(ROWS, eval_data=held_out).training_details
    changed = {name.split(".")[1] for name, value in model.model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"question_encoder", "generator"}
    assert details["eval_loss"][-1] < 0.7 * details["eval_loss"][0]
    assert model.lookup.knowledge.passages["embeddings"][:] == vectors


def test_passages_are_kept_with_the_model_and_with_checkpoints_where_wanted(make: Make, tmp_path: Path) -> None:
    for number, (own, with_checkpoints) in enumerate([(True, False), (False, True)]):
        options = {"save_knowledge_dataset": own, "save_knowledge_dataset_with_checkpoints": with_checkpoints}
        folder = tmp_path / str(number)
        make(num_train_epochs=1, output_dir=str(folder), **options).train_model(ROWS)
        assert (folder / "knowledge_dataset").is_dir() is own
        assert (folder / "checkpoint-1" / "knowledge_dataset").is_dir() is with_checkpoints
    message = f"'{folder}' comes without passages. Give knowledge_dataset: rows with the columns title and text."
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        easytx.load(folder)
    again = easytx.load(folder, knowledge_dataset=folder / "checkpoint-1" / "knowledge_dataset")
    assert again.predict(QUESTIONS).outputs == easytx.load(folder / "checkpoint-1").predict(QUESTIONS).outputs


# Folders


def test_a_folder_that_was_moved_and_written_to_opens(saved: Path, tmp_path: Path) -> None:
    first = easytx.load(saved)
    expected = first.predict(QUESTIONS)
    shutil.copytree(saved, tmp_path / "moved")
    moved = Seq2SeqModel("rag-token", tmp_path / "moved")
    assert moved.class_name == moved.args.model_class == "Seq2SeqModel"
    moved.save_model(tmp_path / "moved")
    again = Seq2SeqModel(encoder_decoder_name=str(tmp_path / "moved"))
    for model in (moved, again):
        assert (type(model), model.kind) == (rag.RagSeq2SeqModel, "rag-token")
        found = model.predict(QUESTIONS)
        assert (found.outputs, found.retrieved_docs) == (expected.outputs, expected.retrieved_docs)
        np.testing.assert_array_equal(found.doc_scores, expected.doc_scores)


def test_the_caller_says_how_passages_are_used(saved: Path) -> None:
    model = Seq2SeqModel("rag-sequence", saved)
    assert (model.kind, type(model.model)) == ("rag-sequence", RagSequenceForGeneration)
    assert model.config.model_type == model.args.model_type == "rag"


def test_a_model_may_get_another_encoder_of_questions(saved: Path, part: Parts) -> None:
    other = Seq2SeqModel("rag-token", saved, rag_question_encoder_model_name=part("questions", 5))
    own = transformers.DPRQuestionEncoder.from_pretrained(part("questions", 5)).state_dict()
    found = other.model.rag.question_encoder.state_dict()
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_vectors_of_ones_own_are_searched(saved: Path, tmp_path: Path) -> None:
    model = easytx.load(saved)
    vectors = np.eye(4, 32, dtype=np.float32)
    dataset = Dataset.from_dict({"title": [*"abcd"], "text": [*"efgh"], "embeddings": vectors.tolist()})
    found = easytx.load(saved, knowledge_dataset=dataset).predict(QUESTIONS)
    ours = model._vectors(model.model.question_encoder, _ids(model), model.tokenizer)
    np.testing.assert_allclose(found.doc_scores, -np.sort(-ours[:, :4], axis=1)[:, :3], rtol=1e-5)
    # Of an index given apart, the other way round.
    import faiss

    index = faiss.IndexFlatIP(32)
    index.add(-vectors)
    faiss.write_index(index, str(tmp_path / "own.faiss"))
    turned = easytx.load(saved, knowledge_dataset=dataset, index_path=tmp_path / "own.faiss").predict(QUESTIONS)
    np.testing.assert_allclose(turned.doc_scores, np.sort(ours[:, :4], axis=1)[:, :3], rtol=1e-5)


def _ids(model: Any) -> Dataset:
    return model.prepared(QUESTIONS, name="questions", split="predict", renames={}).dataset


def test_other_generators_write_too(part: Parts, tmp_path: Path) -> None:
    model = put_together(part, encoder_decoder_name=tiny_checkpoint(tmp_path / "t5", "t5"), num_train_epochs=1)
    model.train_model(ROWS)
    found = easytx.load("outputs").predict(QUESTIONS)
    assert found.outputs == model.predict(QUESTIONS).outputs


def test_tokens_of_ones_own_have_embeddings(part: Parts, tmp_path: Path) -> None:
    options = {
        "encoder_decoder_name": part("bart", 0),
        "rag_question_encoder_model_name": part("questions"),
        "dpr_ctx_encoder_model_name": part("passages", 2),
        "additional_special_tokens_encoder": ["<one>"],
        "additional_special_tokens_decoder": ["<two>"],
    }
    model = Seq2SeqModel(
        encoder_decoder_type="rag-token", knowledge_dataset=KNOWLEDGE, args={"silent": True}, **options
    )
    model.save_model(tmp_path / "saved")
    again = easytx.load(tmp_path / "saved")
    assert (again.tokenizer.encode("<one>")[1:-1], again.target_tokenizer.encode("<two>")[1:-1]) == (
        [len(again.tokenizer) - 1],
        [len(again.target_tokenizer) - 1],
    )
    assert again.predict("<one>").outputs == model.predict("<one>").outputs


def test_passages_get_their_vectors_so_many_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = []
    run_network = rag.run_network
    monkeypatch.setattr(
        rag, "run_network", lambda *given, **more: budgets.append(more["budget"]) or run_network(*given, **more)
    )
    one, many = (make(rag_embed_batch_size=number).lookup.knowledge.passages for number in (2, 16))
    # An encoder of DPR reads 512 tokens.
    assert budgets == [2 * 512, None]
    np.testing.assert_allclose(one["embeddings"][:], many["embeddings"][:], rtol=1e-4, atol=1e-5)


# Errors


REFUSED: list[tuple[Callable[[Parts], dict[str, Any]], type[Exception], str]] = [
    (
        lambda _: {"rag_question_encoder_model_name": None},
        ArgumentError,
        "'{bart}' is a bart model, which writes but looks up nothing. Give its encoder of questions, of DPR, as "
        "rag_question_encoder_model_name.",
    ),
    (
        lambda _: {"knowledge_dataset": None},
        ArgumentError,
        "'{bart}' comes without passages. Give knowledge_dataset: rows with the columns title and text.",
    ),
    (
        lambda _: {"knowledge_dataset": []},
        DataError,
        "knowledge_dataset has no rows.",
    ),
    (
        lambda _: {"dpr_ctx_encoder_model_name": None},
        ArgumentError,
        "Passages need vectors. Give dpr_ctx_encoder_model_name, the encoder of passages that goes with the one of "
        "questions.",
    ),
    (
        lambda part: {"dpr_ctx_encoder_model_name": part("questions")},
        CheckpointError,
        "'{questions}' is DPRQuestionEncoder, where a DPRContextEncoder of DPR is needed.",
    ),
    (
        lambda part: {"rag_question_encoder_model_name": part("bart", 0)},
        CheckpointError,
        "'{bart}' is a bart model, where a DPRQuestionEncoder of DPR is needed.",
    ),
    (
        lambda part: {"encoder_decoder_name": part("passages")},
        CheckpointError,
        "'{passages}' is a dpr model, which is an encoder or a decoder alone. What writes with passages is both, such "
        "as BART or T5.",
    ),
    (
        lambda part: {"dpr_ctx_encoder_model_name": part("passages", hidden_size=16)},
        ArgumentError,
        "The vectors of '{narrow}' have 16 numbers, and those of questions 32. Take encoders that were trained "
        "together.",
    ),
    (
        lambda _: {"config": {"n_docs": 0}},
        ArgumentError,
        "args.config sets n_docs to 0, but it must be at least 1.",
    ),
    (
        lambda _: {"config": {"max_combined_length": 600}},
        ArgumentError,
        "args.config sets max_combined_length to 600, but it must be at least 1 and at most 512, which is what "
        "'{bart}' reads.",
    ),
    (
        lambda _: {"index_name": "exact"},
        ArgumentError,
        "index_name is 'exact', but only passages of your own are searched: those of Wikipedia (wiki_dpr) are made by "
        "a script, or kept in pickles, and neither is run. Give knowledge_dataset.",
    ),
    (
        lambda _: {"knowledge_dataset": None, "index_path": "i.faiss"},
        ArgumentError,
        "index_path was given without knowledge_dataset, the passages it is an index of.",
    ),
    (
        lambda part: {"encoder_decoder_name": None, "encoder_name": part("questions"), "decoder_name": part("bart", 0)},
        ArgumentError,
        "Seq2SeqModel does not take decoder_name for a model that looks up passages. Name the generator as "
        "encoder_decoder_name, and what encodes questions as rag_question_encoder_model_name.",
    ),
]


@pytest.mark.parametrize(("given", "kind", "message"), REFUSED)
def test_what_cannot_be_is_said_before_weights_load(
    given: Callable[[Parts], dict[str, Any]],
    kind: type[Exception],
    message: str,
    part: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rag.RagSeq2SeqModel, "load_network", lambda _: pytest.fail("weights were loaded"))
    places = {name: str(part(name)) for name in ("questions", "passages")}
    places |= {"bart": str(part("bart", 0)), "narrow": str(part("passages", hidden_size=16))}
    with pytest.raises(kind, match=f"^{re.escape(message.format(**places))}$"):
        put_together(part, **given(part))


def test_a_folder_says_what_it_is_for_others(saved: Path) -> None:
    message = (
        f"'{saved}' has a tokenizer for each of its parts. Open it with Seq2SeqModel and encoder_decoder_type="
        "'rag-token' or 'rag-sequence'."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        RepresentationModel(saved)


def test_passages_that_are_cut_are_told_of(make: Make) -> None:
    model = make(knowledge_dataset=["word " * 600], split_text_n=1000)
    with pytest.warns(UserWarning, match=r"^1 of 1 row of knowledge_dataset .* were cut. Set a lower split_text_n.$"):
        assert model.lookup.number == 1
