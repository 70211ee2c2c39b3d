"""Models as ONNX: exported by transformers, and run by ONNX Runtime behind the usual inference loop."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from easytx.core import saving
from easytx.errors import ArgumentError, CheckpointError, MissingExtraError

if TYPE_CHECKING:
    from easytx.core.checkpointed import CheckpointedModel

_MANIFEST = "export.json"
_HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


class OnnxNetwork(nn.Module):
    """An exported network in place of the one it was made from: the same inputs and outputs, but no training.

    Args:
        exported: An `ExportedModel` of transformers.
        config: The model's configuration.
        head: The end of its Auto class's name, such as "ForSequenceClassification", which decides the loss.
    """

    def __init__(self, exported: Any, config: Any, head: str) -> None:
        super().__init__()
        self.exported, self.config, self.head = exported, config, head
        self.inputs: set[str] = set(exported.components["model"].metadata.kwargs)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        bbox: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        start_positions: torch.Tensor | None = None,
        end_positions: torch.Tensor | None = None,
    ) -> Any:
        """Return what the network returns, with the loss where there are labels."""
        from transformers.loss.loss_utils import LOSS_MAPPING

        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        given["bbox"] = bbox
        outputs = self.exported(**{name: value for name, value in given.items() if name in self.inputs})
        loss: Any = LOSS_MAPPING[self.head]
        if start_positions is not None:
            outputs["loss"] = loss(outputs.start_logits, outputs.end_logits, start_positions, end_positions)
        elif labels is not None:
            logits = outputs.logits
            outputs["loss"] = loss(labels=labels, logits=logits, pooled_logits=logits, config=self.config)
        return outputs

    def num_parameters(self) -> int:
        """Return the number of numbers that the graph holds."""
        values = self.exported.program.graph.initializers.values()
        return sum(int(value.const_value.size) for value in values)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the graph, its weights and the configuration."""
        self.exported.save_pretrained(folder)


def runs_as_onnx(wanted: bool, source: str | None, provider: str | None = None) -> bool:
    """Tell whether a model is run by ONNX Runtime: where that is wanted, or it has no other weights.

    Raises:
        ArgumentError: If there is an execution provider for a model that is not.
        CheckpointError: If it is wanted of a folder without an exported model.
    """
    exported = source is not None and (Path(source) / _MANIFEST).is_file()
    if provider is not None and not (wanted or exported):
        raise ArgumentError(
            f"onnx_execution_provider is '{provider}', but '{source}' is run by torch. "
            "Give it for a folder that convert_to_onnx() has written."
        )
    if source is None or not Path(source).is_dir():
        return wanted
    if wanted and not exported:
        raise CheckpointError(
            f"args.onnx is set, but '{source}' holds no exported model ({_MANIFEST}). "
            "Open it without onnx, and write one with convert_to_onnx()."
        )
    others = [*Path(source).glob("*.safetensors"), *Path(source).glob("pytorch_model*.bin")]
    return wanted or (exported and not others)


def opened(model: CheckpointedModel, provider: str | None) -> OnnxNetwork:
    """Return the exported model in a model's folder, ready to run; with `dynamic_quantize` its weights become int8.

    Args:
        model: Tells where and of which class it is, and its arguments.
        provider: ONNX Runtime's execution provider; None takes that of the model's device where there is one.

    Raises:
        MissingExtraError: If a package is not installed.
        ArgumentError: If this ONNX Runtime has no such provider.
    """
    args = model.args
    exporters = _exporters()
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if provider not in (None, *available):
        raise ArgumentError(f"onnx_execution_provider must be one of {available}, but is '{provider}'.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.thread_count or torch.get_num_threads()
    where = {"providers": [provider]} if provider else {"device": "cpu" if model.device.type == "cpu" else None}
    with _quiet():
        exported = exporters.ExportedModel.from_pretrained(model.source(), session_options=options, **where)
        if args.dynamic_quantize and not args.quantized_model:
            part = exported.components["model"]
            part.program = _int8(exporters).quantize(part.program, {}, exported.export_format)
            exported.to(session_options=options, **where)
    return OnnxNetwork(exported, model.config, _head(model))


def export(model: CheckpointedModel, folder: Path, *, set_onnx_arg: bool) -> Path:
    """Write a model as ONNX, with tokenizer, configuration and arguments, to a folder that opens like any other.

    Raises:
        ArgumentError: If the model is run by ONNX Runtime already.
        CheckpointError: If the class has no single head, or transformers cannot export the architecture.
        MissingExtraError: If a package is not installed.
        OutputDirError: If the folder is not empty and `overwrite_output_dir` is not set.
    """
    name, head = type(model).__name__, _head(model)
    if model.args.onnx:
        raise ArgumentError(f"This {name} is run by ONNX Runtime already: '{model.source()}' is an exported model.")
    if head not in _HEADS:
        raise CheckpointError(f"{name} cannot be exported to ONNX: only classification, NER and QA models can.")
    saving.check_output_dir(folder, overwrite=model.args.overwrite_output_dir)
    exported = _exported(model, _exporters())
    network = OnnxNetwork(exported, exported.config, head)

    def write(where: Path) -> None:
        network.save_pretrained(where)
        saving.write_tokenizer(model.tokenizer, where)

    return saving.save_model(
        folder,
        write,
        args=model.args.merged({"onnx": set_onnx_arg}),
        size=(type(model.model).__name__, model.model.num_parameters()),
        results=model.results,
        labels=None if model.labels is None else model.labels.names,
        run=model.run_record,
    )


def _exported(model: CheckpointedModel, exporters: Any) -> Any:
    network = model.model.eval()
    # Two rows of several tokens: an axis of one would be taken for fixed.
    rows = model.tokenizer(["One row of words", "another"], padding=True, return_tensors="pt").to(model.device)
    if model.layout.page is not None:
        rows["bbox"] = torch.zeros((*rows["input_ids"].shape, 4), dtype=torch.long, device=model.device)
    quantizer = _int8(exporters) if model.args.quantized_model else None
    try:
        with _quiet(), torch.no_grad():
            config = exporters.OnnxConfig(dynamic=True, quantizer=quantizer)
            exported = exporters.OnnxExporter().export(network, dict(rows), config=config)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"transformers cannot export this {model.config.model_type} model to ONNX. "
            f"The cause was: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    exported.config = copy.deepcopy(network.config)
    exported.config.architectures = [type(network).__name__]
    return exported


def _head(model: CheckpointedModel) -> str:
    return model.auto_class.removeprefix("AutoModel")


def _int8(exporters: Any) -> Any:
    return exporters.OnnxRuntimeQuantizer(exporters.OnnxRuntimeDynamicConfig())


def _exporters() -> Any:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError.of(package, "onnx", "ONNX")
    if importlib.util.find_spec("transformers.exporters") is None:
        raise MissingExtraError("ONNX needs a transformers with exporters: pip install --upgrade transformers")
    return importlib.import_module("transformers.exporters")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the steps of the export, and the graph of one that fails, off the screen."""
    silenced, handlers = logging.root.manager.disable, logging.root.handlers[:]
    output = io.StringIO()
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silenced)
        # The first message to the root logger gives it a handler, for everyone.
        logging.root.handlers[:] = handlers
