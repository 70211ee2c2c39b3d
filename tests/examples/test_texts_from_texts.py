"""Scripts that train language models, write, rewrite, translate, talk and search, with only the import changed."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easytx.conv_ai import ConvAIModel
from easytx.language_generation import LanguageGenerationModel
from easytx.language_modeling import LanguageModelingModel
from easytx.retrieval import RetrievalArgs, RetrievalModel
from easytx.seq2seq import Seq2SeqArgs, Seq2SeqModel
from easytx.t5 import T5Args, T5Model
from easytx.testing import tiny_checkpoint

NAMES = {
    "bart-large": "bart",
    "dpr-ctx_encoder": "bert",
    "dpr-question_encoder": "bert",
    "gpt2": "gpt2",
    "gpt_personachat_cache": "openai-gpt",
    "llama-2-7b": "llama",
    "mt5-base": "mt5",
    "t5-base": "t5",
}
LINES = ["The film was good and the story was long.", "Nobody knew who wrote the letter.", "A song about the rain."] * 4


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("names")

    def made(name: str) -> Path:
        return folder / name if (folder / name).exists() else tiny_checkpoint(folder / name, NAMES[name])

    return made


@pytest.fixture
def hub(checkpoints: Callable[[str], Path]) -> Callable[..., None]:
    """Return what puts models where scripts look for them."""

    def put(*names: str) -> None:
        for name in names:
            shutil.copytree(checkpoints(name), name)

    return put


@pytest.fixture(autouse=True)
def _models_at_hand() -> None:
    """Have only the models that a script names."""


@pytest.fixture(autouse=True)
def _data() -> None:
    os.makedirs("data")


def _lines(*names: str) -> None:
    for name in names:
        Path(name).write_text("\n".join(LINES), "utf-8")


@pytest.mark.parametrize("start", ["new", "gpt2"])
def test_a_language_model_is_trained_and_writes(start: str, hub: Callable[..., None]) -> None:
    hub("gpt2")
    _lines("data/train.txt", "data/test.txt")
    train_args: dict[str, Any] = {
        "reprocess_input_data": True,
        "overwrite_output_dir": True,
        "num_train_epochs": 1,
        "save_eval_checkpoints": True,
        "block_size": 509,
        "max_seq_length": 509,
        "learning_rate": 1e-4,
        "train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "mlm": False,
        "dataset_type": "simple",
        "logging_steps": 100,
        "evaluate_during_training": True,
        "evaluate_during_training_steps": 3000,
        "evaluate_during_training_verbose": True,
        "use_cached_eval_features": True,
        "sliding_window": True,
        "output_dir": "outputs/titles",
        "best_model_dir": "outputs/titles/best_model",
        "fp16": False,
        "local_rank": -1,
        "silent": True,
    }
    if start == "new":
        train_args |= {"vocab_size": 400, "config": {"n_embd": 16, "n_layer": 1, "n_head": 2}}
        model = LanguageModelingModel("gpt2", None, args=train_args, train_files="data/train.txt")
    else:
        model = LanguageModelingModel("gpt2", start, args=train_args)
    with pytest.warns(UserWarning, match="12 rows of eval_df are in train_df too"):
        model.train_model("data/train.txt", eval_file="data/test.txt")
    assert model.eval_model("data/test.txt")["perplexity"] > 1
    writer = LanguageGenerationModel("gpt2", "outputs/titles/best_model", args={"max_length": 8})
    for prompt in ("The film", "Nobody knew"):
        (text,) = writer.generate(prompt, verbose=False)
        assert text.startswith(prompt)


def test_an_adapter_is_trained_on_a_table(hub: Callable[..., None]) -> None:
    hub("llama-2-7b")
    pd.DataFrame({"text": LINES}).to_csv("data/train.tsv", sep="\t", index=False)
    args = {"mlm": False, "peft": True, "lora_config": {"r": 4}, "use_hf_datasets": True, "data_format": "tsv"}
    model = LanguageModelingModel("causal", "llama-2-7b", args={**args, "max_steps": 2, "silent": True})
    model.train_model("data/train.tsv")
    responses, _ = model.predict(["The film"], generation_args={"max_new_tokens": 4})
    assert len(responses) == 1
    assert Path("outputs/adapter_model.safetensors").is_file()


def test_paraphrases_are_drawn(hub: Callable[..., None]) -> None:
    hub("bart-large")
    train_df = pd.DataFrame({"input_text": LINES[:3], "target_text": LINES[1:4]})
    eval_df = pd.DataFrame({"input_text": ["A letter about the film."], "target_text": ["The film, in a letter."]})
    model_args = Seq2SeqArgs()
    model_args.do_sample = True
    model_args.eval_batch_size = 64
    model_args.evaluate_during_training = True
    model_args.evaluate_during_training_steps = 2500
    model_args.evaluate_during_training_verbose = True
    model_args.fp16 = False
    model_args.learning_rate = 5e-5
    model_args.max_length = 12
    model_args.max_seq_length = 64
    model_args.num_beams = None
    model_args.num_return_sequences = 3
    model_args.num_train_epochs = 2
    model_args.overwrite_output_dir = True
    model_args.reprocess_input_data = True
    model_args.save_eval_checkpoints = False
    model_args.save_steps = -1
    model_args.silent = True
    model_args.top_k = 50
    model_args.top_p = 0.95
    model_args.train_batch_size = 8
    model_args.use_multiprocessing = False
    model = Seq2SeqModel(encoder_decoder_type="bart", encoder_decoder_name="bart-large", args=model_args)
    model.train_model(train_df, eval_data=eval_df)
    (texts,) = model.predict([eval_df["input_text"][0]])
    assert len(texts) == 3
    again = Seq2SeqModel(encoder_decoder_type="bart", encoder_decoder_name="outputs")
    assert len(again.predict(["A song."])[0]) == 3


def test_questions_are_drawn_from_a_text(hub: Callable[..., None]) -> None:
    hub("t5-base")
    rows = [["ask_question", text, f"What about {text.split()[1]}?"] for text in LINES[:3]]
    train_df = pd.DataFrame(rows, columns=["prefix", "input_text", "target_text"])
    train_df.to_csv("data/train_df.tsv", sep="\t")
    train_df = pd.read_csv("data/train_df.tsv", sep="\t").astype(str)
    args = {"num_train_epochs": 1, "overwrite_output_dir": True, "save_eval_checkpoints": False, "save_steps": -1,
            "use_multiprocessing": False, "evaluate_during_training_verbose": True, "silent": True}  # fmt: skip
    T5Model("t5", "t5-base", args={**args, "max_seq_length": 64}).train_model(train_df)
    drawn = {"num_beams": None, "do_sample": True, "max_length": 6, "top_k": 50, "top_p": 0.95}
    model = T5Model("t5", "outputs", args={**drawn, "num_return_sequences": 3, "eval_batch_size": 128, "silent": True})
    assert [len(texts) for texts in model.predict([f"ask_question: {LINES[0]}", "ask_question: x"])] == [3, 3]
    # The type may be left out, as in some of the documentation.
    assert T5Model("t5-base", args={"silent": True, "max_length": 4}).predict(["a"])[0] is not None


def test_several_tasks_in_one_model(hub: Callable[..., None]) -> None:
    hub("mt5-base")
    rows = [
        ["binary classification", "A good film.", "1"],
        ["multilabel classification", "A bad song.", "toxic,insult"],
        ["similarity", "sentence1: A film. sentence2: The film.", "3.4"],
    ]
    train_df = pd.DataFrame(rows, columns=["prefix", "input_text", "target_text"])
    eval_df = train_df.assign(input_text=train_df["input_text"].str.lower())
    args = {"evaluate_during_training": True, "evaluate_during_training_steps": 15000, "fp16": False,
            "max_seq_length": 196, "num_train_epochs": 1, "overwrite_output_dir": True, "reprocess_input_data": True,
            "save_eval_checkpoints": False, "save_model_every_epoch": False, "save_steps": -1, "silent": True,
            "train_batch_size": 16, "use_multiprocessing": False, "wandb_project": None}  # fmt: skip
    T5Model("mt5", "mt5-base", args=args).train_model(train_df, eval_data=eval_df)
    args = {"eval_batch_size": 128, "fp16": False, "length_penalty": 1, "max_length": 6, "num_beams": 1, "silent": True}
    model = T5Model("mt5", "outputs", args=args)
    asked = [f"{prefix}: {text}" for prefix, text in zip(eval_df["prefix"], eval_df["input_text"], strict=True)]
    assert len(model.predict(asked)) == 3


def test_translations_both_ways(hub: Callable[..., None]) -> None:
    hub("mt5-base")
    pairs = [["the film", "der film"], ["a song", "ein lied"]]
    rows = [["translate english to german", *pair] for pair in pairs]
    rows += [["translate german to english", *reversed(pair)] for pair in pairs]
    train_df = pd.DataFrame(rows, columns=["prefix", "input_text", "target_text"])
    train_df["prefix"] = ""
    model_args = T5Args()
    model_args.max_seq_length = 96
    model_args.train_batch_size = 20
    model_args.eval_batch_size = 20
    model_args.num_train_epochs = 1
    model_args.fp16 = False
    model_args.no_cache = True
    model_args.num_return_sequences = 1
    model_args.preprocess_inputs = False
    model_args.silent = True
    model = T5Model("mt5", "mt5-base", args=model_args)
    model.train_model(train_df)
    model.args.max_length = 6
    model.args.length_penalty = 1
    model.args.num_beams = 10
    assert len(model.predict(["the film", "ein lied"])) == 2


def test_a_conversation(hub: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    hub("gpt_personachat_cache")
    said = {"history": ["Hi, who are you?"], "candidates": ["The train left.", "I am a baker in Rome."]}
    minimal = [{"personality": ["I bake bread.", "I live in Rome."], "utterances": [said]}]
    Path("data/minimal_train.json").write_text(json.dumps(minimal), "utf-8")
    train_args = {"num_train_epochs": 2, "save_model_every_epoch": False, "max_length": 5, "max_seq_length": 400}
    model = ConvAIModel("gpt", "gpt_personachat_cache", use_cuda=None, args=train_args)
    model.train_model("data/minimal_train.json")
    with pytest.warns(UserWarning, match="eval_model was given no data"):
        result = model.eval_model()
    assert {"language_model_loss", "f1_score"} <= set(result)
    terminal = io.StringIO("Hi\n/quit\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert len(model.interact(personality=["I bake bread."])) == 2
    history = ["Hi, who are you?", "I am a baker in Rome."]
    response, longer = model.interact_single("Is it warm there?", history, personality=["I bake bread."])
    assert longer == [*history, "Is it warm there?", response]


def test_passages_by_two_encoders(hub: Callable[..., None]) -> None:
    hub("dpr-ctx_encoder", "dpr-question_encoder")
    rows = pd.DataFrame({"gold_passage": LINES[:3], "query_text": ["What was good?", "Who wrote?", "What is sung?"]})
    rows.to_csv("data/train.tsv", sep="\t", index=False)
    model_args = RetrievalArgs()
    model_args.reprocess_input_data = True
    model_args.overwrite_output_dir = True
    model_args.use_cached_eval_features = False
    model_args.include_title = False
    model_args.max_seq_length = 32
    model_args.num_train_epochs = 1
    model_args.train_batch_size = 16
    model_args.use_hf_datasets = True
    model_args.learning_rate = 1e-6
    model_args.warmup_steps = 5000
    model_args.save_steps = 300000
    model_args.evaluate_during_training = True
    model_args.hard_negatives = False
    model_args.n_hard_negatives = 1
    model_args.silent = True
    model = RetrievalModel(
        model_type="custom",
        model_name=None,
        context_encoder_name="dpr-ctx_encoder",
        query_encoder_name="dpr-question_encoder",
        args=model_args,
    )
    with pytest.raises(ValueError, match=r"^evaluate_during_training is set, but no evaluation data was given"):
        model.train_model("data/train.tsv")
    _, details = model.train_model("data/train.tsv", eval_data=rows.assign(query_text=["What?", "Who?", "How?"]))
    assert {"eval_loss", "mrr_at_10", "top_5_accuracy"} <= set(details)
    predicted_passages, doc_ids, doc_vectors, doc_dicts = model.predict(["Who?", "What?"])
    assert [len(passages) for passages in predicted_passages] == [3, 3]
    assert np.shape(doc_vectors)[:2] == np.shape(doc_ids) == (2, 3)
    assert sorted(doc_dicts[0]["passages"]) == sorted(LINES[:3])
