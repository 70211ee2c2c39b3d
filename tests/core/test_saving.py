"""A model folder holds JSON and safetensors, and no traces."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from easytx.classification import ClassificationArgs, ClassificationModel
from easytx.core.saving import check_output_dir, write_results
from easytx.errors import OutputDirError


def _model(checkpoint: Path, **args: Any) -> ClassificationModel:
    return ClassificationModel("bert", checkpoint, use_cuda=False, labels=["no", "yes"], args=args)


def test_a_folder_holds_json_and_safetensors_only(checkpoint: Path, tmp_path: Path) -> None:
    folder = _model(checkpoint).save_model(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "model_args.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_scripts_may_name_the_network_that_is_saved(checkpoint: Path, tmp_path: Path) -> None:
    model = _model(checkpoint)
    own = model.model
    other = copy.deepcopy(own)
    with torch.no_grad():
        other.classifier.bias.fill_(3.0)
    folder = model.save_model(tmp_path / "a", None, None, torch.nn.DataParallel(other), {"mcc": 0.5})
    assert "| mcc | 0.5000 |" in (folder / "README.md").read_text("utf-8")
    assert model.model is own
    assert set(_model(folder).model.classifier.bias.tolist()) == {3.0}


def test_transformers_opens_it(checkpoint: Path, tmp_path: Path) -> None:
    folder = _model(checkpoint).save_model(tmp_path)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert network.config.id2label == {0: "no", 1: "yes"}
    assert network.config.problem_type == "single_label_classification"
    assert tokenizer("good film")["input_ids"] == _model(checkpoint).tokenizer("good film")["input_ids"]


def test_the_tokenizer_keeps_no_trace_of_where_and_how_it_was_used(checkpoint: Path, tmp_path: Path) -> None:
    model = _model(checkpoint, max_seq_length=8)
    model.predict(["good film"])
    folder = model.save_model(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    traces = {"is_local", "local_files_only", "max_length", "stride", "name_or_path"}
    assert traces & set(settings) == set()
    assert str(checkpoint) not in (folder / "tokenizer_config.json").read_text("utf-8")
    state = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert (state["truncation"], state["padding"]) == (None, None)
    assert len(transformers.AutoTokenizer.from_pretrained(folder)("good " * 50)["input_ids"]) == 52


def test_secrets_and_not_saved_args_stay_out_of_every_file(checkpoint: Path, tmp_path: Path) -> None:
    model = _model(
        checkpoint,
        wandb_kwargs={"settings": {"api_key": "SECRET"}},
        trainer_kwargs={"hub_token": "SECRET"},
        wandb_project="SECRET",
        not_saved_args=["wandb_project"],
    )
    folder = model.save_model(tmp_path)
    assert [path.name for path in folder.iterdir() if b"SECRET" in path.read_bytes()] == []
    saved = json.loads((folder / "model_args.json").read_text("utf-8"))
    assert "wandb_kwargs" not in saved
    assert "wandb_project" not in saved
    assert saved["model_class"] == "ClassificationModel"


def test_the_card_tells_what_the_model_is(checkpoint: Path, tmp_path: Path) -> None:
    model = _model(checkpoint, manual_seed=3)
    card = (model.save_model(tmp_path, results={"mcc": 0.5, "tp": 3}) / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: transformers\ntags:\n- easytx\n---\n")
    assert f"# ClassificationModel from {checkpoint}" in card
    assert f"Architecture: BertForSequenceClassification, {model.model.num_parameters():,} parameters." in card
    assert "- manual_seed: 3" in card
    assert "## Labels\n\nno, yes" in card
    assert "| mcc | 0.5000 |" in card
    assert "tp" not in card


def test_only_the_arguments_can_be_saved(checkpoint: Path, tmp_path: Path) -> None:
    model = _model(checkpoint, stride=0.5)
    assert model.save_model_args(tmp_path) == tmp_path / "model_args.json"
    assert ClassificationArgs.load(tmp_path) == model.args


def test_a_folder_that_is_not_empty_is_written_to_only_if_allowed(tmp_path: Path) -> None:
    check_output_dir(tmp_path / "new", overwrite=False)
    check_output_dir(tmp_path, overwrite=False)
    # What comes of an evaluation is in nobody's way.
    write_results(tmp_path, {"mcc": 0.5})
    check_output_dir(tmp_path, overwrite=False)
    (tmp_path / "mine.txt").write_text("x")
    check_output_dir(tmp_path, overwrite=True)
    with pytest.raises(OutputDirError) as refused:
        check_output_dir(tmp_path, overwrite=False)
    assert str(refused.value) == (
        f"output_dir '{tmp_path}' is not empty. "
        "Set overwrite_output_dir=True to write into it, or give another output_dir."
    )
    with pytest.raises(OutputDirError) as refused:
        check_output_dir(tmp_path / "mine.txt", overwrite=True)
    assert str(refused.value) == f"output_dir '{tmp_path / 'mine.txt'}' is a file."


def test_results_are_sorted_lines_and_json(tmp_path: Path) -> None:
    write_results(tmp_path / "new", {"tp": 3, "mcc": 0.5})
    assert (tmp_path / "new" / "eval_results.txt").read_text("utf-8") == "mcc = 0.5\ntp = 3\n"
    assert json.loads((tmp_path / "new" / "eval_results.json").read_text("utf-8")) == {"mcc": 0.5, "tp": 3}
