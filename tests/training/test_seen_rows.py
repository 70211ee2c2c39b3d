"""AdamW by row: the same weights and moments as torch's, from sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from torch import nn

from easytx.training import seen_rows, trainer
from easytx.training.seen_rows import SeenRowsAdamW, clip_gradients, embeddings_by_row
from tests.training.conftest import NO_DROPOUT, changed, weights

OPTIONS: dict[str, Any] = {"lr": 1e-2, "fused": True}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the small tables of tests trained by row."""
    monkeypatch.setattr(seen_rows, "LEAST_ROWS", 10)


class _Net(nn.Module):
    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(50, 4, padding_idx=0, sparse=sparse)
        self.head = nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(ids).mean(1))


def _train(net: _Net, optimizer: Any, steps: range, clip: Callable[..., Any], *, late: bool = False) -> list[float]:
    norms = []
    for step in steps:
        chance = torch.Generator().manual_seed(step)
        # More and more of the words are seen.
        ids = torch.randint(0, 10 + step, (4, 6), generator=chance)
        labels = torch.randint(0, 3, (4,), generator=chance)
        for half in (slice(0, 2), slice(2, 4)):
            nn.functional.cross_entropy(net(ids[half]), labels[half]).backward()
        norms.append(float(clip(net.parameters(), 0.8, *([optimizer] if late else []))))
        optimizer.step()
        optimizer.zero_grad()
    return norms


@pytest.mark.parametrize("late", [False, True], ids=["clipped before", "clipped in the step"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_weights_moments_and_norms_are_those_of_torch(weight_decay: float, late: bool) -> None:
    dense, sparse = _Net(sparse=False), _Net(sparse=True)
    theirs = torch.optim.AdamW(dense.parameters(), weight_decay=weight_decay, **OPTIONS)
    ours = SeenRowsAdamW(sparse.parameters(), weight_decay=weight_decay, **OPTIONS)
    expected = _train(dense, theirs, range(20), nn.utils.clip_grad_norm_)
    assert _train(sparse, ours, range(20), clip_gradients, late=late) == pytest.approx(expected)
    assert max(expected) > 0.8 > min(expected)
    assert sparse.words.weight.grad is None
    torch.testing.assert_close(sparse.state_dict(), dense.state_dict())
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    # Words that were never seen have not moved, but for their decay.
    unseen = _Net(sparse=True).words.weight[29:] * (1 - 1e-2 * weight_decay) ** 20
    torch.testing.assert_close(sparse.words.weight[29:], unseen)


@pytest.mark.parametrize("first", [torch.optim.AdamW, SeenRowsAdamW])
def test_a_state_goes_from_one_to_the_other(first: Any) -> None:
    second = SeenRowsAdamW if first is torch.optim.AdamW else torch.optim.AdamW
    expected = _Net(sparse=False)
    _train(expected, torch.optim.AdamW(expected.parameters(), **OPTIONS), range(20), nn.utils.clip_grad_norm_)
    net, state = _Net(sparse=True), None
    for kind, steps in ((first, range(10)), (second, range(10, 20))):
        net.words.sparse = kind is SeenRowsAdamW
        optimizer = kind(net.parameters(), **OPTIONS)
        if state is not None:
            optimizer.load_state_dict(state)
        _train(net, optimizer, steps, clip_gradients)
        state = optimizer.state_dict()
    torch.testing.assert_close(net.state_dict(), expected.state_dict())


def test_gradients_may_be_dense_now_and_then() -> None:
    expected, net = _Net(sparse=False), _Net(sparse=True)
    _train(expected, torch.optim.AdamW(expected.parameters(), **OPTIONS), range(20), nn.utils.clip_grad_norm_)
    optimizer = SeenRowsAdamW(net.parameters(), **OPTIONS)
    for step in range(20):
        net.words.sparse = step % 3 != 1
        _train(net, optimizer, range(step, step + 1), clip_gradients)
    torch.testing.assert_close(net.state_dict(), expected.state_dict())


def test_which_embeddings_are_trained_by_row() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(50, 4), nn.Linear(4, 50, bias=False)
            self.out.weight = self.words.weight
            self.encoder = self.decoder = nn.Embedding(20, 4)
            self.twin = nn.Embedding(20, 4)
            self.twin.weight = self.encoder.weight
            self.positions, self.bounded = nn.Embedding(9, 4), nn.Embedding(20, 4, max_norm=1.0)
            self.frozen = nn.Embedding(20, 4).requires_grad_(False)

    net = Tied()
    found = embeddings_by_row(net)
    assert [id(module) for module in found] == [id(net.encoder), id(net.twin)]


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of rows that steps by row have had gradients for."""
    seen: list[int] = []
    move = SeenRowsAdamW._move_rows

    def noting(self: SeenRowsAdamW, parameter: Any, gradient: torch.Tensor, group: Any) -> None:
        seen.append(len(gradient.indices()[0]))
        move(self, parameter, gradient, group)

    monkeypatch.setattr(SeenRowsAdamW, "_move_rows", noting)
    return seen


@pytest.mark.parametrize("max_grad_norm", [0.5, 0.0])
def test_a_training_ends_with_the_same_weights(
    max_grad_norm: float,
    moved: list[int],
    monkeypatch: pytest.MonkeyPatch,
    classifier: Callable[..., Any],
    train_df: pd.DataFrame,
) -> None:
    found = []
    for least in (10, 10**6):
        monkeypatch.setattr(seen_rows, "LEAST_ROWS", least)
        model = classifier(config=NO_DROPOUT, no_save=True, max_grad_norm=max_grad_norm, weight_decay=0.1)
        moved.clear()
        details = model.train_model(train_df).training_details
        assert bool(moved) is (least == 10)
        assert not any(module.sparse for module in model.model.modules() if isinstance(module, nn.Embedding))
        # Keys have a bias without effect, whose gradients are rounding.
        found.append((details, {name: value for name, value in weights(model).items() if "key.bias" not in name}))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


class _Watch(transformers.TrainerCallback):
    """Looks at the gradients before each step."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_pre_optimizer_step(self, *_given: Any, model: Any, **_more: Any) -> None:
        gradients = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
        self.norms.append(float(nn.utils.get_total_norm(gradients)))


def test_a_callback_sees_clipped_gradients(
    moved: list[int], classifier: Callable[..., Any], train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, clip, watch, found = [], clip_gradients, _Watch(), []

    def noting(parameters: Any, max_norm: float, optimizer: Any) -> torch.Tensor:
        late.append(optimizer is not None)
        return clip(parameters, max_norm, optimizer)

    monkeypatch.setattr(trainer, "clip_gradients", noting)
    for callbacks in ([watch], []):
        model = classifier(config=NO_DROPOUT, no_save=True, max_grad_norm=0.1)
        model.train_model(train_df, callbacks=callbacks)
        found.append({name: value for name, value in weights(model).items() if "key.bias" not in name})
    assert moved
    assert watch.norms == pytest.approx([0.1] * len(watch.norms), abs=1e-5)
    assert late == [False] * len(watch.norms) + [True] * len(watch.norms)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_training_goes_on_from_a_checkpoint(
    tmp_path: Path, moved: list[int], classifier: Callable[..., Any], train_df: pd.DataFrame
) -> None:
    ours, again = (classifier(save_steps=1, save_total_limit=None) for _ in range(2))
    ours.train_model(train_df, output_dir=tmp_path / "out")
    expected = weights(ours)
    folder = min((tmp_path / "out").glob("checkpoint-*"))
    again.train_model(train_df, output_dir=tmp_path / "out", resume_from_checkpoint=str(folder))
    assert moved
    assert changed(expected, weights(again)) == set()


@pytest.mark.parametrize("args", [{"optimizer": "Adafactor"}, {"torch_compile": True}], ids=str)
def test_other_optimisers_and_compiled_steps_have_dense_gradients(
    args: dict[str, Any],
    moved: list[int],
    monkeypatch: pytest.MonkeyPatch,
    classifier: Callable[..., Any],
    train_df: pd.DataFrame,
) -> None:
    monkeypatch.setattr(trainer, "compiled", lambda network: network)
    classifier(no_save=True, **args).train_model(train_df)
    assert not moved
