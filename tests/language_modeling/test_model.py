"""Language models are trained, scored and have texts gone on with."""

from __future__ import annotations

import functools
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

import easytx
from easytx.errors import ArgumentError, CheckpointError, DataError
from easytx.language_modeling import GenerationArgs, LanguageModelingModel
from easytx.language_modeling.preparing import block_size
from easytx.testing import CORPUS, tiny_checkpoint

from .conftest import model

TEXTS = [CORPUS[0], "film", " ".join(CORPUS[3:8]), CORPUS[9]]


def _by_hand(made: Any, texts: list[str]) -> tuple[float, int]:
    """Return the sum of the cross entropy of all next tokens, and their number, a document at a time."""
    total, number = 0.0, 0
    for text in texts:
        ids = torch.tensor([made.tokenizer(text + made.tokenizer.eos_token)["input_ids"]])
        with torch.no_grad():
            logits = made.model(input_ids=ids).logits
        total += float(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum"))
        number += ids.shape[1] - 1
    return total, number


# What is learnt


def test_the_architecture_says_what_is_learnt_where_mlm_is_not_given(bert: str, gpt2: str) -> None:
    assert model("gpt2", gpt2).args["mlm"] is False
    assert model("causal", gpt2).auto_class == "AutoModelForCausalLM"
    assert model(None, bert).auto_class == "AutoModelForMaskedLM"
    assert LanguageModelingModel(bert).auto_class == "AutoModelForMaskedLM"
    with pytest.raises(CheckpointError, match=r"is a gpt2 model, which predicts the next token .* Set mlm=False"):
        model("gpt2", gpt2, mlm=True)


def test_an_encoder_that_predicts_the_next_token_does_not_see_it(bert: str) -> None:
    made = model("bert", bert, mlm=False)
    ids = made.tokenizer(CORPUS[0], return_tensors="pt")["input_ids"]
    changed = ids.clone()
    changed[0, -1] = 7
    with torch.no_grad():
        torch.testing.assert_close(made.model(ids).logits[0, :-1], made.model(changed).logits[0, :-1])


# Scores


def test_perplexity_is_that_of_all_tokens_whatever_the_batches(gpt2: str, llama: str) -> None:
    for name in (gpt2, llama):
        made = model("causal", name, max_seq_length=128)
        total, number = _by_hand(made, TEXTS)
        for _ in range(2):
            result = made.eval_model(TEXTS)
            assert result["perplexity"] == pytest.approx(math.exp(total / number), rel=1e-4)
            assert result["eval_loss"] == pytest.approx(total / number, rel=1e-5)
            made.args = made.args.merged({"eval_batch_size": 1, "max_seq_length": 128})


def test_every_token_of_a_long_text_counts_once(gpt2: str) -> None:
    text = [" ".join(CORPUS)]
    made = model("causal", gpt2, max_seq_length=32)
    tokens = len(made.tokenizer(text[0])["input_ids"])
    for args in ({}, {"sliding_window": True, "stride": 0.5}, {"sliding_window": True, "stride": 10}):
        made.args = made.args.merged(args)
        assert made.eval_model(text).to_frame()["tokens"].tolist() == [tokens]


def test_windows_that_overlap_show_more_before_a_token(gpt2: str) -> None:
    text, limit = [" ".join(CORPUS)], 128
    made = model("causal", gpt2, max_seq_length=limit)
    whole = model("causal", gpt2, max_seq_length=512).eval_model(text)["eval_loss"]
    apart = made.eval_model(text)["eval_loss"]
    made.args = made.args.merged({"sliding_window": True, "stride": 4})
    near = made.eval_model(text)["eval_loss"]
    assert near != apart
    assert whole != apart


def test_an_evaluation_asks_for_the_same_masks_each_time(bert: str) -> None:
    made = model("bert", bert)
    first = made.eval_model(TEXTS)
    torch.manual_seed(99)
    assert dict(made.eval_model(TEXTS)) == dict(first)
    made.args = made.args.merged({"eval_batch_size": 1})
    assert dict(made.eval_model(TEXTS)) == pytest.approx(dict(first), rel=1e-5)


def test_the_frame_has_a_row_for_each_document(gpt2: str) -> None:
    made = model("causal", gpt2, max_seq_length=16)
    frame = pd.DataFrame({"text": TEXTS}, index=["a", "b", "c", "d"])
    result = made.eval_model(frame)
    found = result.to_frame()
    assert found.index.tolist() == ["a", "b", "c", "d"]
    assert found["text"].tolist() == TEXTS
    assert np.average(found["loss"], weights=found["tokens"]) == pytest.approx(result["eval_loss"], rel=1e-5)
    np.testing.assert_allclose(found["perplexity"], np.exp(found["loss"]))
    copied = pickle.loads(pickle.dumps(result))
    assert dict(copied) == dict(result)
    assert copied.to_frame().equals(found)


def test_custom_metrics_get_token_numbers(gpt2: str) -> None:
    made = model("causal", gpt2)
    result = made.eval_model(TEXTS, hits=lambda truth, found: int((truth == found).sum()), n=lambda t, _: len(t))
    assert result["hits"] / result["n"] == pytest.approx(result["accuracy"])
    with pytest.raises(ArgumentError, match="evaluate_generated_text needs true texts"):
        made.eval_model(TEXTS, evaluate_generated_text=True)


def test_nothing_as_wide_as_the_vocabulary_is_kept(gpt2: str) -> None:
    made = model("causal", gpt2)
    data = made.prepared(TEXTS, name="eval_df", split="eval", renames={})
    assert {value.shape[1] for value in made.outputs(data, show=False).values} == {3}


# Training


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_a_training_learns(kind: str, bert: str, gpt2: str) -> None:
    made = model(None, bert if kind == "masked" else gpt2, num_train_epochs=8, learning_rate=5e-3, no_save=True)
    before = made.eval_model(list(CORPUS))["perplexity"]
    made.train_model(list(CORPUS))
    assert made.eval_model(list(CORPUS))["perplexity"] < before / 2


def test_the_best_perplexity_is_kept_and_no_improvement_ends_the_training(
    gpt2: str, train_file: str, eval_file: str
) -> None:
    args = {"evaluate_during_training": True, "early_stopping_metric": "perplexity", "use_early_stopping": True}
    more = {"evaluate_during_training_steps": 1, "early_stopping_patience": 2, "learning_rate": 1.0}
    made = model("causal", gpt2, num_train_epochs=5, **args | more)
    details = made.train_model(train_file, eval_file=eval_file)
    assert details.global_step < 20
    best = min(details.training_details["perplexity"])
    assert made.eval_model(eval_file)["perplexity"] == pytest.approx(best, rel=1e-4)


def test_a_batch_without_masks_does_no_harm(bert: str) -> None:
    made = model("bert", bert, train_batch_size=1, mlm_probability=0.01, no_save=True)
    loss = made.train_model(["film", "song", "book"] * 3).training_details
    assert math.isfinite(loss)


def test_smoothing_changes_the_loss_and_not_the_perplexity(gpt2: str) -> None:
    plain, smooth = (model("causal", gpt2, label_smoothing_factor=f) for f in (0.0, 0.3))
    first, second = plain.eval_model(TEXTS), smooth.eval_model(TEXTS)
    assert first["perplexity"] == pytest.approx(second["perplexity"])
    assert first["eval_loss"] != pytest.approx(second["eval_loss"], rel=1e-4)


def test_streamed_files_train_like_those_in_memory(gpt2: str, train_file: str, eval_file: str) -> None:
    args = {"max_steps": 3, "train_sampling_strategy": "sequential", "no_save": True, "fp16": False}
    streamed = model("causal", gpt2, stream_hf_datasets=True, evaluate_during_training=True, **args)
    streamed.train_model(train_file, eval_file=eval_file)
    whole = model("causal", gpt2, **args)
    whole.train_model(train_file)
    # Dropout is drawn in the order of the batches, which is the same.
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(streamed.model.state_dict()[name], value)
    grouped = model("causal", gpt2, stream_hf_datasets=True, max_steps=2, no_save=True)
    assert grouped.train_model(Dataset.from_dict({"text": list(CORPUS)}).to_iterable_dataset()).global_step == 2


def test_a_batch_of_a_stream_that_does_not_fit_into_memory_is_split(
    gpt2: str, train_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = {"max_steps": 2, "train_sampling_strategy": "sequential", "no_save": True, "fp16": False}
    args |= {"config": {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}}
    smaller = model("causal", gpt2, train_batch_size=2, gradient_accumulation_steps=2, **args)
    smaller.train_model(train_file)
    streamed = model("causal", gpt2, stream_hf_datasets=True, train_batch_size=4, **args)
    network, sizes = streamed.model, []
    forward = type(network).forward

    def limited(self: Any, *given: Any, **inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, *given, **inputs)

    monkeypatch.setattr(type(network), "forward", functools.wraps(forward)(limited))
    with pytest.warns(UserWarning, match="did not fit into the memory"):
        streamed.train_model(train_file)
    assert sizes[:3] == [4, 2, 2]
    for name, value in smaller.model.state_dict().items():
        torch.testing.assert_close(streamed.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_tokenised_texts_are_kept_by_all_that_they_depend_on(bert: str, tmp_path: Path) -> None:
    def run(**args: Any) -> int:
        made = model("bert", bert, reprocess_input_data=False, use_cached_eval_features=True, cache_dir="c", **args)
        made.eval_model(TEXTS)
        return len(list((tmp_path / "c").iterdir()))

    assert [run(), run(), run(max_seq_length=16), run(whole_word_mask=True), run(sliding_window=True)] == [
        1,
        1,
        2,
        3,
        4,
    ]


# Blocks


def test_the_size_of_a_block(bert: str) -> None:
    assert block_size(model("bert", bert)) == 32
    assert block_size(model("bert", bert, max_seq_length=4000)) == 512
    assert block_size(model("bert", bert, block_size=64)) == 64
    with pytest.raises(ArgumentError, match=r"block_size is 600, but .* reads at most 512 tokens"):
        block_size(model("bert", bert, block_size=600))
    with pytest.raises(ArgumentError, match="block_size must be 4 tokens or more"):
        block_size(model("bert", bert, block_size=2))


def test_cut_documents_are_counted(bert: str, warned: Callable[..., Any]) -> None:
    made = model("bert", bert, chunk_text=False, max_seq_length=10)
    _, messages = warned(lambda: made.eval_model(TEXTS))
    assert messages == [
        "3 of 4 documents of eval_df are longer than 10 tokens and were cut. Set chunk_text=True to read all of them."
    ]


def test_documents_without_anything_to_predict_are_an_error(gpt2: str) -> None:
    with pytest.raises(DataError, match=r"^train_df has no text in which a token could be predicted"):
        model("causal", gpt2).train_model(["", ""])


# Texts


def test_texts_are_gone_on_with_in_batches_and_alone(llama: str) -> None:
    made = model("causal", llama)
    prompts = ["John lives in", "The film was a joy from the first", "who"]
    responses, ids = made.predict(prompts, generation_args=GenerationArgs(max_length=6))
    assert [made.predict(prompt, generation_args={"max_length": 6}).predictions[0] for prompt in prompts] == responses
    assert all(len(row) == 1 and len(row[0]) <= 6 for row in ids)
    frame = made.predict(pd.DataFrame({"text": prompts}, index=[5, 3, 1])).to_frame()
    assert frame.index.tolist() == [5, 3, 1]
    inputs = made.tokenizer(prompts[0], return_tensors="pt")
    expected = made.model.generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=0)
    assert ids[0][0].tolist() == expected[0, inputs["input_ids"].shape[1] :].tolist()


def test_several_texts_are_drawn_the_same_way_with_a_seed(gpt2: str) -> None:
    made = model("causal", gpt2)
    args = GenerationArgs(do_sample=True, num_return_sequences=3, max_new_tokens=5)
    first, again = (made.predict(["John", "who"], generation_args=args).predictions for _ in range(2))
    assert [len(row) for row in first] == [3, 3]
    assert first == again
    with pytest.raises(ArgumentError, match="GenerationArgs has no argument 'max_lenght'"):
        made.predict("John", generation_args={"max_lenght": 3})


def test_chats_are_rendered_by_the_template(llama: str, gpt2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("causal", llama)
    seen: list[str] = []
    whole = made.model.generate

    def generate(**inputs: Any) -> Any:
        seen.extend(made.tokenizer.batch_decode(inputs["input_ids"]))
        return whole(**inputs)

    monkeypatch.setattr(made.model, "generate", generate)
    made.predict(["hi"], apply_chat_template=True, system_prompt="be kind", user_role="human")
    assert seen == [
        "<|begin_of_text|>system: be kind<|end_of_text|>human: hi<|end_of_text|>assistant:",
    ]
    with pytest.raises(ArgumentError, match="the tokenizer has no chat template"):
        model("causal", gpt2).predict(["hi"], apply_chat_template=True)
    with pytest.raises(ArgumentError, match="Set apply_chat_template=True"):
        made.predict(["hi"], system_prompt="be kind")


def test_a_long_prompt_is_read_from_its_end(gpt2: str, warned: Callable[..., Any]) -> None:
    made = model("causal", gpt2)
    long = " ".join(CORPUS * 4)
    found, messages = warned(lambda: made.predict([long, "who"], generation_args={"max_length": 4}))
    assert messages == ["1 of 2 prompts of to_predict are too long, and only their ends are read."]
    assert len(found.predictions) == 2
    with pytest.raises(ArgumentError, match=r"600 new tokens are wanted, but .* reads at most 512"):
        made.predict("who", generation_args={"max_length": 600})


def test_a_masked_model_writes_nothing(bert: str) -> None:
    with pytest.raises(ArgumentError, match="fills in masked tokens and writes no texts"):
        model("bert", bert).predict("John")


def test_an_autoencoder_is_refused(gpt2: str) -> None:
    message = "LanguageModelingModel cannot use 'use_autoencoder': it reads the texts as they are."
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        model("causal", gpt2, use_autoencoder=True)


# Folders


def test_a_pretrained_encoder_becomes_a_classifier_with_its_own_arguments(bert: str, train_file: str) -> None:
    made = model("bert", bert, output_dir="lm", num_train_epochs=1)
    made.train_model(train_file)
    classifier = easytx.ClassificationModel("bert", "lm", args={"silent": True})
    assert (classifier.args.output_dir, classifier.args.max_seq_length) == ("outputs/", 128)
    weights = classifier.model.bert.embeddings.word_embeddings.weight
    assert torch.equal(weights, made.model.bert.embeddings.word_embeddings.weight)


def test_another_configuration_may_be_named(folder: Path, gpt2: str) -> None:
    other = tiny_checkpoint(folder / "other", "gpt2", attn_pdrop=0.7)
    assert model("gpt2", gpt2, config_name=str(other)).config.attn_pdrop == 0.7
