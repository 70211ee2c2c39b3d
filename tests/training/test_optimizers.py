"""Parameter groups and freezing, on models two layers wide; names of optimisers and schedules."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    TrainingArguments,
)

from easytx.errors import ArgumentError
from easytx.training.optimizers import (
    freeze_modules,
    freeze_others,
    optimizer_name,
    parameter_groups,
    scheduler_name,
)

SMALL: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
}


@pytest.fixture(scope="module")
def _bert() -> BertForSequenceClassification:
    return BertForSequenceClassification(BertConfig(**SMALL))


@pytest.fixture
def bert(_bert: BertForSequenceClassification) -> BertForSequenceClassification:
    return _bert.requires_grad_(True)


def _groups(model: nn.Module, **options: Any) -> list[dict[str, Any]]:
    """Return the groups with the names of the parameters in place of the parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, **{"weight_decay": 0.1, "learning_rate": 1e-3, **options})
    # What torch refuses fails here: overlaps, empty lists, unknown types. It writes its defaults into the groups.
    torch.optim.AdamW([dict(group) for group in groups], lr=1.0)
    return [{**group, "params": [names[id(parameter)] for parameter in group["params"]]} for group in groups]


def _of(groups: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (group,) = [group for group in groups if name in group["params"]]
    return {key: group[key] for key in ("lr", "weight_decay")}


def test_biases_and_normalisation_do_not_decay(bert: nn.Module) -> None:
    decaying, bare = _groups(bert)
    assert (decaying["lr"], decaying["weight_decay"]) == (1e-3, 0.1)
    assert (bare["lr"], bare["weight_decay"]) == (1e-3, 0.0)
    assert all(name.endswith("bias") or "LayerNorm" in name for name in bare["params"])
    assert not any(name.endswith("bias") or "LayerNorm" in name for name in decaying["params"])
    assert sorted(decaying["params"] + bare["params"]) == sorted(dict(bert.named_parameters()))


@pytest.mark.parametrize("model_class", ["bert", "modernbert", "gpt2", "t5"])
def test_every_normalisation_is_found(model_class: str) -> None:
    model = _tiny(model_class)
    (bare,) = (group for group in _groups(model) if group["weight_decay"] == 0.0)
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    assert vectors <= set(bare["params"])
    assert all("bias" in name for name in set(bare["params"]) - vectors)


def _tiny(name: str) -> nn.Module:
    if name == "bert":
        return BertForSequenceClassification(BertConfig(**SMALL))
    if name == "modernbert":
        return ModernBertForSequenceClassification(ModernBertConfig(**SMALL))
    if name == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=2, n_head=2))
    return T5ForConditionalGeneration(
        T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2, decoder_start_token_id=0)
    )


def test_without_a_learning_rate_the_optimiser_keeps_its_own(bert: nn.Module) -> None:
    assert all("lr" not in group for group in parameter_groups(bert, weight_decay=0.0, learning_rate=None))


def test_a_custom_group_has_its_options(bert: nn.Module) -> None:
    custom = [{"params": ["classifier.weight", "classifier.bias"], "lr": 1e-2, "betas": (0.8, 0.9)}]
    groups = _groups(bert, custom_parameter_groups=custom)
    assert [group["params"] for group in groups[:2]] == [["classifier.weight"], ["classifier.bias"]]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.1, 0.0]
    assert [group["lr"] for group in groups] == [1e-2, 1e-2, 1e-3, 1e-3]
    assert [group.get("betas") for group in groups] == [(0.8, 0.9), (0.8, 0.9), None, None]


def test_a_custom_groups_weight_decay_is_for_all_it_names(bert: nn.Module) -> None:
    custom = [{"params": ["classifier.weight", "classifier.bias"], "weight_decay": 0.3}]
    groups = _groups(bert, custom_parameter_groups=custom)
    assert groups[0] == {"params": ["classifier.weight", "classifier.bias"], "lr": 1e-3, "weight_decay": 0.3}


def test_a_custom_layer_keeps_biases_from_decay(bert: nn.Module) -> None:
    groups = _groups(bert, custom_layer_parameters=[{"layer": 1, "lr": 5e-3, "weight_decay": 0.3}])
    layer = "bert.encoder.layer.1."
    assert _of(groups, f"{layer}output.dense.weight") == {"lr": 5e-3, "weight_decay": 0.3}
    assert _of(groups, f"{layer}output.dense.bias") == {"lr": 5e-3, "weight_decay": 0.0}
    assert _of(groups, f"{layer}output.LayerNorm.weight") == {"lr": 5e-3, "weight_decay": 0.0}
    assert _of(groups, "bert.encoder.layer.0.output.dense.weight") == {"lr": 1e-3, "weight_decay": 0.1}
    assert sum(name.startswith(layer) for group in groups[:2] for name in group["params"]) == 16


def test_a_custom_group_outranks_a_custom_layer(bert: nn.Module) -> None:
    name = "bert.encoder.layer.1.output.dense.weight"
    groups = _groups(
        bert,
        custom_parameter_groups=[{"params": [name], "lr": 7e-3}],
        custom_layer_parameters=[{"layer": 0, "lr": 4e-3}, {"layer": 1, "lr": 5e-3}],
    )
    assert _of(groups, name) == {"lr": 7e-3, "weight_decay": 0.1}
    assert _of(groups, "bert.encoder.layer.1.output.dense.bias") == {"lr": 5e-3, "weight_decay": 0.0}
    assert _of(groups, "bert.encoder.layer.0.output.dense.weight") == {"lr": 4e-3, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("model_class", "inside", "outside"),
    [
        ("modernbert", ["model.layers.1.mlp.Wi.weight"], ["model.layers.0.mlp.Wi.weight"]),
        ("gpt2", ["transformer.h.1.mlp.c_fc.weight"], ["transformer.h.0.mlp.c_fc.weight"]),
        (
            "t5",
            [
                "encoder.block.1.layer.0.SelfAttention.q.weight",
                "decoder.block.1.layer.0.SelfAttention.q.weight",
            ],
            ["encoder.block.0.layer.1.DenseReluDense.wi.weight", "shared.weight"],
        ),
    ],
)
def test_layers_of_other_architectures(model_class: str, inside: list[str], outside: list[str]) -> None:
    groups = _groups(_tiny(model_class), custom_layer_parameters=[{"layer": 1, "lr": 5e-3}])
    assert [_of(groups, name)["lr"] for name in inside] == [5e-3] * len(inside)
    assert [_of(groups, name)["lr"] for name in outside] == [1e-3] * len(outside)


def test_layers_that_share_their_parameters() -> None:
    config = AlbertConfig(**SMALL, embedding_size=4)
    message = (
        "custom_layer_parameters needs layers with parameters of their own, but this model shares its "
        "layers: all have the same parameters. Use custom_parameter_groups."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        _groups(AlbertForSequenceClassification(config), custom_layer_parameters=[{"layer": 0, "lr": 1.0}])


def test_tied_weights_go_by_either_name() -> None:
    model = BertForMaskedLM(BertConfig(**SMALL))
    both = ["cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"]
    for name in both:
        groups = _groups(model, custom_parameter_groups=[{"params": [name], "lr": 1e-2}])
        assert groups[0]["params"] == ["bert.embeddings.word_embeddings.weight"]
    with pytest.raises(ArgumentError, match=r"^custom_parameter_groups names 'bert.* twice\."):
        _groups(model, custom_parameter_groups=[{"params": both, "lr": 1e-2}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"custom_parameter_groups": [{"params": ["clasifier.weight"], "lr": 1.0}]},
            "custom_parameter_groups names 'clasifier.weight', which the model does not have. "
            "Did you mean 'classifier.weight'",
        ),
        (
            {"custom_parameter_groups": [{"params": ["@"], "lr": 1.0}]},
            "custom_parameter_groups names '@', which the model does not have. See model.named_parameters().",
        ),
        (
            {"custom_parameter_groups": [{"lr": 1.0}]},
            "custom_parameter_groups needs the key 'params' in each entry, but has {'lr': 1.0}. "
            'Write {"params": ["classifier.weight"], "lr": 1e-2}.',
        ),
        (
            {"custom_parameter_groups": [{"params": ["classifier.bias"]}, {"params": "classifier.bias"}]},
            "custom_parameter_groups names 'classifier.bias' twice. Name each parameter once.",
        ),
        (
            {"custom_layer_parameters": [{"layer": 2, "lr": 1.0}]},
            "custom_layer_parameters names layer 2, but the model has 2 layers. Use 0 to 1.",
        ),
        (
            {"custom_layer_parameters": [{"layer": 1, "lr": 1.0}, {"layer": 1, "lr": 2.0}]},
            "custom_layer_parameters names layer 1 twice. Name each layer once.",
        ),
        (
            {"custom_layer_parameters": [{"lr": 1.0}]},
            "custom_layer_parameters needs the key 'layer' in each entry, but has {'lr': 1.0}. "
            'Write {"layer": 10, "lr": 1e-4}.',
        ),
    ],
)
def test_custom_parameters_that_are_not_there(bert: nn.Module, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        _groups(bert, **options)


def test_a_model_without_numbered_layers() -> None:
    with pytest.raises(ArgumentError, match=r"^custom_layer_parameters needs a model with numbered layers, "):
        _groups(nn.Linear(2, 2), custom_layer_parameters=[{"layer": 0, "lr": 1.0}])


def test_the_callers_lists_stay_as_they_are(bert: nn.Module) -> None:
    groups = [{"params": ["classifier.weight"], "lr": 1e-2}]
    layers = [{"layer": 1, "lr": 5e-3}]
    before = copy.deepcopy((groups, layers))
    for _ in range(2):
        _groups(bert, custom_parameter_groups=groups, custom_layer_parameters=layers)
        freeze_others(bert, groups, layers)
    assert (groups, layers) == before


def test_frozen_parameters_are_in_no_group(bert: nn.Module) -> None:
    frozen = freeze_modules(bert, ["bert"])
    names = [name for group in _groups(bert) for name in group["params"]]
    assert names == ["classifier.weight", "classifier.bias"]
    assert len(frozen) + len(names) == len(list(bert.parameters()))


def test_freeze_others_leaves_the_custom_ones(bert: nn.Module) -> None:
    groups = [{"params": ["classifier.weight"], "lr": 1e-2}]
    frozen = freeze_others(bert, groups, [{"layer": 1, "lr": 1e-3}])
    free = [name for name, parameter in bert.named_parameters() if parameter.requires_grad]
    assert "classifier.weight" in free
    assert "classifier.bias" in frozen
    assert [name for name in free if not name.startswith("bert.encoder.layer.1.")] == ["classifier.weight"]
    assert len(free) == 17
    assert freeze_others(bert, groups, [{"layer": 1, "lr": 1e-3}]) == []


def test_freeze_others_needs_something_to_train(bert: nn.Module) -> None:
    with pytest.raises(ArgumentError, match=r"^train_custom_parameters_only needs custom_parameter_groups or "):
        freeze_others(bert)


def test_nothing_left_to_train(bert: nn.Module) -> None:
    freeze_modules(bert, ["bert", "classifier"])
    message = "No parameter is left to train: all of them are frozen. Freeze fewer."
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        _groups(bert)


@pytest.mark.parametrize("name", ["bert.encoder.layer.1", "encoder.layer.1", "encoder.layer.1."])
def test_freezing_by_the_start_of_a_name(bert: nn.Module, name: str) -> None:
    frozen = freeze_modules(bert, [name])
    assert len(frozen) == 16
    assert all(path.startswith("bert.encoder.layer.1.") for path in frozen)


def test_freezing_keeps_to_whole_names() -> None:
    model = nn.ModuleDict({f"layer{number}": nn.Linear(2, 2) for number in (1, 10)})
    assert freeze_modules(model, ["layer1"]) == ["layer1.weight", "layer1.bias"]
    assert freeze_modules(model, ["layer10.bias"]) == ["layer10.bias"]
    assert freeze_modules(model, []) == []


def test_freezing_what_is_not_there(bert: nn.Module) -> None:
    message = "freeze names 'clasifier', which the model does not have. Did you mean 'classifier'"
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        freeze_modules(bert, ["bert", "clasifier"])
    assert all(parameter.requires_grad for parameter in bert.parameters())


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("AdamW", "cpu", "adamw_torch_fused"),
        ("AdamW", "cuda", "adamw_torch_fused"),
        ("AdamW", "mps", "adamw_torch"),
        ("Adafactor", "cpu", "adafactor"),
        ("Adam8bit", "cuda", "adamw_bnb_8bit"),
        ("adamw_torch", "cpu", "adamw_torch"),
        ("sgd", "cuda", "sgd"),
    ],
)
def test_optimizer_names(name: str, device: str, expected: str) -> None:
    assert optimizer_name(name, device) == expected


def test_the_fused_step_runs_on_the_cpu() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    torch.optim.AdamW([parameter], lr=0.1, weight_decay=0.0, fused=True).step()
    assert parameter.tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant_schedule", "constant"),
        ("constant_schedule_with_warmup", "constant_with_warmup"),
        ("linear_schedule_with_warmup", "linear"),
        ("cosine_schedule_with_warmup", "cosine"),
        ("cosine_with_hard_restarts_schedule_with_warmup", "cosine_with_restarts"),
        ("polynomial_decay_schedule_with_warmup", "polynomial"),
        ("inverse_sqrt", "inverse_sqrt"),
    ],
)
def test_scheduler_names(name: str, expected: str) -> None:
    assert scheduler_name(name) == expected


def test_the_trainer_takes_the_names() -> None:
    names = {
        "optim": optimizer_name("AdamW", "cpu"),
        "lr_scheduler_type": scheduler_name("constant_schedule"),
    }
    arguments = TrainingArguments(output_dir="out", use_cpu=True, report_to="none", **names)
    assert (arguments.optim.value, arguments.lr_scheduler_type.value) == ("adamw_torch_fused", "constant")


def test_names_that_are_not_there() -> None:
    message = (
        "optimizer must be one of 'AdamW', 'Adafactor', 'Adam8bit' or a name of the Trainer's, but is "
        "'adamw'. Did you mean 'AdamW', "
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        optimizer_name("adamw", "cpu")
    with pytest.raises(ArgumentError, match=r"^scheduler must be one of .* but is 'linear_schedule'\. Did you mean"):
        scheduler_name("linear_schedule")
