"""Compiled networks: how many graphs there are, and that nothing of them stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from easytx.errors import ArgumentError, UnsupportedError
from easytx.training import compiling

from .conftest import NO_DROPOUT, rows, weights


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list that every graph is added to; graphs are run as they are."""
    made: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "BACKEND", backend)
    return made


def _logits(model: Any, texts: list[str]) -> np.ndarray:
    found: np.ndarray = model.predict(texts).raw_outputs
    return found


@pytest.mark.real
def test_one_graph_predicts_batches_of_all_lengths(classifier: Callable[..., Any], graphs: list[Any]) -> None:
    model = classifier(eval_batch_size=7)
    texts = rows(24)["text"].tolist()
    expected = _logits(model, texts)
    model.args.torch_compile = True
    assert graphs == []
    np.testing.assert_allclose(_logits(model, texts), expected, rtol=1e-5, atol=1e-6)
    for number in (2, 3, 7, 13):
        np.testing.assert_allclose(_logits(model, texts[-number:]), expected[-number:], rtol=1e-5, atol=1e-6)
    assert len(graphs) <= 2
    # Only a batch of one row has a graph of its own, whatever its length.
    for row in range(5):
        np.testing.assert_allclose(_logits(model, texts[row : row + 1]), expected[row : row + 1], rtol=1e-5, atol=1e-6)
    assert len(graphs) == 2
    assert type(model.model).__name__ == "BertForSequenceClassification"
    assert model.model._compiled_call_impl is None


@pytest.mark.real
def test_changed_weights_are_used_without_another_graph(classifier: Callable[..., Any], graphs: list[Any]) -> None:
    texts = rows(6)["text"].tolist()
    for bf16 in (None, True):
        model = classifier(torch_compile=True, bf16=bf16)
        before, made = _logits(model, texts), len(graphs)
        with torch.no_grad():
            for parameter in model.model.parameters():
                parameter.mul_(1.5)
        changed = _logits(model, texts)
        assert len(graphs) == made
        assert np.abs(changed - before).max() > 1e-3
        model.args.torch_compile = False
        np.testing.assert_allclose(changed, _logits(model, texts), rtol=1e-5, atol=1e-2 if bf16 else 1e-6)
        assert len(graphs) == made


@pytest.mark.real
def test_a_compiled_training_is_the_plain_one(
    classifier: Callable[..., Any], graphs: list[Any], tmp_path: Path
) -> None:
    # Three whole batches and one row that is left over.
    train = rows(19)
    plain = classifier(config=NO_DROPOUT, no_save=True, packing=False)
    compiled = classifier(config=NO_DROPOUT, torch_compile=True, output_dir=str(tmp_path / "out"))
    expected = plain.train_model(train).training_details
    assert graphs == []
    assert compiled.train_model(train).training_details == pytest.approx(expected, rel=1e-5)
    assert len(graphs) == 1
    for name, value in weights(plain).items():
        # Attention does not depend on what is added to all keys: its gradient is rounding, and Adam scales that up.
        tolerance = 1e-3 if name.endswith("key.bias") else 1e-5
        torch.testing.assert_close(weights(compiled)[name], value, rtol=1e-4, atol=tolerance)
    network = compiled.model
    assert type(network) is type(plain.model)
    assert "forward" not in vars(network)
    assert network._compiled_call_impl is None
    from safetensors import safe_open

    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as saved:
        assert set(saved.keys()) == set(network.state_dict())


@pytest.mark.real
def test_mixed_precision_and_evaluation_add_few_graphs(classifier: Callable[..., Any], graphs: list[Any]) -> None:
    args = {"bf16": True, "evaluate_during_training": True, "num_train_epochs": 2, "no_save": True}
    args |= {"config": NO_DROPOUT}
    train, held_out = rows(20), rows(9, start=100)
    plain, compiled = classifier(**args), classifier(torch_compile=True, **args)
    for _ in range(2):
        losses = [
            model.train_model(train, eval_data=held_out).training_details["eval_loss"] for model in (plain, compiled)
        ]
        assert losses[1] == pytest.approx(losses[0], rel=1e-2)
        # One for training and one for evaluation; the second training needs no others.
        assert len(graphs) == 2
    assert "_original_forward" not in vars(compiled.model)


@pytest.mark.real
def test_a_network_that_takes_several_graphs_is_compiled_where_warnings_are_errors(graphs: list[Any]) -> None:
    class Parted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            hidden = self.first(inputs)
            torch._dynamo.graph_break()
            return torch.as_tensor(self.second(hidden))

    network, values = Parted(), torch.randn(3, 8)
    torch.testing.assert_close(compiling.compiled(network)(inputs=values), network(values))
    assert len(graphs) == 2


@pytest.mark.real
def test_what_cannot_compile_says_what_to_do(classifier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, _: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand so on")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    message = (
        "torch_compile is set, but torch cannot compile the model here. The cause was: RuntimeError: No working C++ "
        "compiler found On a CPU it needs a C++ compiler, such as g++ (the environment variable CXX names another), on "
        "a GPU the package triton. Install it, or leave torch_compile out."
    )
    model = classifier(torch_compile=True, no_save=True)
    for call in (lambda: model.predict(["good", "bad"]), lambda: model.train_model(rows(6))):
        with pytest.raises(UnsupportedError, match=rf"^{re.escape(message)}$"):
            call()
    model.args.torch_compile = False
    assert len(model.predict(["good", "bad"]).predictions) == 2


def test_the_trainer_is_not_asked_to_compile_by_itself(classifier: Callable[..., Any]) -> None:
    model = classifier(trainer_kwargs={"torch_compile_mode": "max-autotune"})
    message = "trainer_kwargs holds 'torch_compile_mode', which easytx sets itself. Use torch_compile instead."
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        model.train_model(rows(6))


@pytest.mark.real
# torch's own, on the way to its compiler.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_inductor_computes_the_same_and_misses_its_compiler_in_our_words() -> None:
    import torch._inductor.config as inductor

    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.LayerNorm(8)).eval()
    network.forward = lambda inputs: torch.nn.Sequential.forward(network, inputs)  # type: ignore[method-assign]
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(UnsupportedError) as caught:
        compiling.compiled(network)(inputs=torch.ones(3, 8))
    assert "The cause was: InvalidCxxCompiler: No working C++ compiler found" in str(caught.value)
    for count in (2, 5):
        values = torch.randn(count, 8)
        torch.testing.assert_close(compiling.compiled(network)(inputs=values), network(values))
