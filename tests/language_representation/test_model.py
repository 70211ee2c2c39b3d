"""Vectors of texts: how tokens are combined, and that padding and batch mates change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model, PreTrainedTokenizerFast, T5Config, T5Model

from easytx import ClassificationModel, ModelArgs, RepresentationModel
from easytx.errors import ArgumentError, DataError
from easytx.testing import ARCHITECTURES, tiny_checkpoint

TEXTS = ["the film was good", "a dull book and the worst song of all", "bread", "Anna moved to Rome in the rain"]
STRATEGIES = ["mean", "max", "cls", "concat", None, 0, 1, -1]


def _model(folder: str | Path, **args: Any) -> RepresentationModel:
    return RepresentationModel("auto", folder, use_cuda=False, args={"silent": True, **args})


def _states(folder: Path, text: str) -> np.ndarray:
    """Return the vectors of one text's tokens by transformers alone, of shape (tokens, width)."""
    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        states: np.ndarray = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0].numpy()
    return states


def _byte_tokenizer(side: str) -> PreTrainedTokenizerFast:
    """One without a token for the whole text, as decoders have."""
    names = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({token: place for place, token in enumerate(names)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", padding_side=side, model_max_length=64)


def _decoder(folder: Path, side: str) -> Path:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=257, n_positions=64, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2)
    GPT2Model(config).save_pretrained(folder)
    _byte_tokenizer(side).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("representation") / "bert", "bert")


@pytest.fixture(scope="module")
def model(bert: Path) -> RepresentationModel:
    return _model(bert)


def test_the_vectors_are_those_of_transformers(bert: Path, model: RepresentationModel) -> None:
    every = [_states(bert, text) for text in TEXTS]
    longest = max(len(states) for states in every)
    padded = np.stack([np.pad(states, ((0, longest - len(states)), (0, 0))) for states in every])
    expected = {
        "mean": np.stack([states.mean(axis=0) for states in every]),
        "max": np.stack([states.max(axis=0) for states in every]),
        "cls": np.stack([states[0] for states in every]),
        "concat": padded.reshape(len(TEXTS), -1),
        None: padded,
        0: np.stack([states[0] for states in every]),
        2: np.stack([states[2] for states in every]),
        -1: np.stack([states[-1] for states in every]),
        -3: np.stack([states[-3] for states in every]),
    }
    for strategy, vectors in expected.items():
        found = model.encode_sentences(TEXTS, combine_strategy=strategy)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, vectors, rtol=1e-4, atol=1e-5, err_msg=str(strategy))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_text_has_the_same_vector_alone_and_in_company(architecture: str, tmp_path: Path) -> None:
    model = _model(tiny_checkpoint(tmp_path, architecture))
    for strategy in STRATEGIES:
        together = model.encode_sentences(TEXTS, strategy)
        for row, text in enumerate(TEXTS):
            alone = model.encode_sentences([text], strategy)[0].ravel()
            np.testing.assert_allclose(together[row].ravel()[: alone.size], alone, rtol=1e-3, atol=1e-5)
            assert not together[row].ravel()[alone.size :].any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_decoder_gives_the_same_vectors_whatever_side_its_tokenizer_pads_on(side: str, tmp_path: Path) -> None:
    folder = _decoder(tmp_path / "decoder", side)
    model = _model(folder, max_seq_length=64)
    every = [_states(folder, text) for text in TEXTS]
    means, last = (model.encode_sentences(TEXTS, strategy) for strategy in ("mean", -1))
    np.testing.assert_allclose(means, np.stack([states.mean(axis=0) for states in every]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, np.stack([states[-1] for states in every]), rtol=1e-4, atol=1e-5)
    message = "the tokenizer has no such token. Use 'mean', or -1 for the last token."
    with pytest.raises(ArgumentError, match=message):
        model.encode_sentences(TEXTS, "cls")


def test_of_an_encoder_and_a_decoder_the_encoder_gives_the_vectors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = T5Model(T5Config(vocab_size=257, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)).eval()
    network.save_pretrained(tmp_path)
    tokenizer = _byte_tokenizer("right")
    tokenizer.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = network.encoder(**tokenizer(TEXTS[0], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    found = _model(tmp_path).encode_sentences(TEXTS[:1], "mean")
    np.testing.assert_allclose(found[0], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_vectors_of_length_one(model: RepresentationModel) -> None:
    plain, scaled = (model.encode_sentences(TEXTS, "mean", normalize=normalize) for normalize in (False, True))
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(scaled, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_a_frame_has_the_index_of_the_texts(model: RepresentationModel) -> None:
    texts = pd.Series(TEXTS, index=["d", "b", "a", "c"])
    frame = model.encode_sentences(texts, "mean", as_frame=True)
    assert frame.index.tolist() == ["d", "b", "a", "c"]
    np.testing.assert_array_equal(frame.to_numpy(), model.encode_sentences(TEXTS, "mean"))
    with pytest.raises(ArgumentError, match=r"^as_frame needs one vector per text: give a combine_strategy"):
        model.encode_sentences(TEXTS, as_frame=True)


def test_predict_gives_the_same_vectors(model: RepresentationModel) -> None:
    vectors, again = prediction = model.predict(TEXTS)
    np.testing.assert_array_equal(vectors, model.encode_sentences(TEXTS, "mean"))
    assert again is vectors
    np.testing.assert_array_equal(np.stack(prediction.to_frame()["prediction"].tolist()), vectors)
    first, _ = model.predict(TEXTS, combine_strategy="cls", normalize=True)
    np.testing.assert_array_equal(first, model.encode_sentences(TEXTS, "cls", normalize=True))


def test_the_size_of_a_batch_changes_no_vector(model: RepresentationModel) -> None:
    usual = model.encode_sentences(TEXTS, "mean")
    np.testing.assert_allclose(model.encode_sentences(TEXTS, "mean", batch_size=1), usual, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("men", r"^combine_strategy must be 'mean', .* or None, but is 'men'\. Did you mean 'mean'\?$"),
        (True, r"^combine_strategy must be .*, but is True\.$"),
        (1.5, r"^combine_strategy must be .*, but is 1\.5\.$"),
    ],
)
def test_an_unknown_strategy_is_refused(model: RepresentationModel, strategy: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        model.encode_sentences(TEXTS, strategy)


@pytest.mark.parametrize("place", [5, -6])
def test_a_token_that_a_text_does_not_have_is_an_error(model: RepresentationModel, place: int) -> None:
    with pytest.raises(DataError) as refused:
        model.encode_sentences(TEXTS, place)
    assert str(refused.value) == (
        f"combine_strategy asks for token {place}, but to_predict has 3 tokens in row 2. "
        "Leave such rows out, or ask for a token that all of them have."
    )


def test_long_texts_are_cut_with_a_warning(bert: Path, warned: Any) -> None:
    model = _model(bert, max_seq_length=6)
    vectors, messages = warned(lambda: model.encode_sentences(TEXTS, None))
    assert vectors.shape[1] == 6
    assert messages == [
        "2 of 4 rows of to_predict are longer than max_seq_length=6 tokens and were cut. Set a higher max_seq_length."
    ]


def test_the_folder_of_a_trained_classifier_opens(bert: Path, tmp_path: Path, warned: Any) -> None:
    classifier = ClassificationModel("bert", bert, num_labels=2, use_cuda=False)
    classifier.save_model(tmp_path / "classifier")
    model, _ = warned(lambda: _model(tmp_path / "classifier"))
    expected = _model(bert).encode_sentences(TEXTS, "mean")
    np.testing.assert_allclose(model.encode_sentences(TEXTS, "mean"), expected, rtol=1e-4, atol=1e-5)


# The starts of old scripts


def test_a_script_that_embeds_sentences(bert: Path) -> None:
    sentences = ["The train left at six", "Peter met Anna in Rome"]
    model = RepresentationModel(model_type="bert", model_name=str(bert), use_cuda=False)
    words = model.encode_sentences(sentences, combine_strategy=None)
    assert words.shape[0] == 2
    assert words.shape[2] == 32
    assert model.encode_sentences(sentences, combine_strategy="mean").shape == (2, 32)
    args = ModelArgs(max_seq_length=156)
    assert RepresentationModel("bert", str(bert), args=args, use_cuda=False).args.max_seq_length == 156


def test_a_script_that_classifies_by_vectors(bert: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    train = pd.DataFrame([["good film", 1], ["great song", 1], ["bad film", 0], ["dull song", 0]])
    held_out = pd.DataFrame([["great film", 1], ["bad song", 0]])
    model = RepresentationModel("bert", str(bert), use_cuda=False)
    features = model.encode_sentences(train[0].to_list(), combine_strategy="mean")
    classifier = LogisticRegression().fit(features, train[1])
    predicted = classifier.predict(model.encode_sentences(held_out[0].to_list(), combine_strategy="mean"))
    assert set(predicted) <= {0, 1}


@pytest.mark.real
def test_the_starter_finds_the_sentence_that_means_the_same() -> None:
    model = RepresentationModel("starter", use_cuda=False)
    queries = ["How do I reset my password?", "The parcel came broken."]
    answers = ["My package was damaged when it arrived.", "I forgot my login and need a new one."]
    first, second = (model.encode_sentences(texts, "mean", normalize=True) for texts in (queries, answers))
    assert (first @ second.T).argmax(axis=1).tolist() == [1, 0]
