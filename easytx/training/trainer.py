"""The Trainer of transformers with our order of rows, our evaluation and its traps closed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import convert_to_fp32
from torch import nn
from transformers import TrainerCallback

from easytx.data.tokenise import lengths_of
from easytx.errors import NonFiniteLossError
from easytx.training.batching import LengthGroupedSampler
from easytx.training.checkpoints import rotate, seal, unseal
from easytx.training.compiling import compiled
from easytx.training.copies import forget_copies
from easytx.training.course import Course
from easytx.training.losses import LossFunction
from easytx.training.memory import keep_freed_memory
from easytx.training.recovery import RecoveringTrainer
from easytx.training.seen_rows import SeenRowsAdamW, clip_gradients, embeddings_by_row
from easytx.training.smaller import named_memory_errors

_ADVICE = "Try a lower learning_rate, max_grad_norm=1.0 or fp16=False, and look for extreme values among the labels."


def copied_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a network's weights, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


class EasyTrainer(RecoveringTrainer):
    """A Trainer whose losses are means over a batch, and whose evaluation is the caller's.

    Args:
        loss_function: Replaces the model's own loss.
        evaluation: Returns the scores of the evaluation data for the model as it is.
        save_folder: Writes a model folder.
        weights_in: Returns the weights that are in such a folder, by the names of the model.
        keep: Checkpoints to keep; None keeps all.
        batch_columns: Columns that the collator reads besides those that the model takes.
        compiles: Whether steps are computed by compiled code.
        parameter_groups: Splits a model's parameters into the optimiser's groups.
        course: What the task changes as the training goes on.
        **kwargs: For the Trainer.
    """

    def __init__(
        self,
        *,
        loss_function: LossFunction | None,
        evaluation: Callable[[], dict[str, Any]] | None,
        save_folder: Callable[[Path], None],
        weights_in: Callable[[Path], Mapping[str, torch.Tensor]] | None = None,
        keep: int | None,
        batch_columns: tuple[str, ...] = (),
        compiles: bool = False,
        parameter_groups: Callable[[nn.Module], list[dict[str, Any]]],
        course: Course | None = None,
        **kwargs: Any,
    ) -> None:
        self.use_cache = getattr(kwargs["model"].config, "use_cache", None)
        super().__init__(**kwargs)
        # Most heads return the mean of a batch whatever they are told of the number of items in it. Left on, the
        # Trainer would not divide by the accumulation steps and would multiply by the number of ranks.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self.loss_function = loss_function
        self.evaluation = evaluation
        self.save_folder = save_folder
        self.weights_in = weights_in
        self.keep = keep
        self.batch_columns = batch_columns
        self.compiles = compiles
        self.parameter_groups = parameter_groups
        self.course = course or Course()
        self.sampler: LengthGroupedSampler | None = None
        self.by_row: list[nn.Embedding] = []

    def set_epoch(self, epoch: int) -> None:
        """Have the sampler shuffle for this epoch."""
        if self.sampler is not None:
            self.sampler.set_epoch(epoch)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        taken: Any = self._signature_columns
        self._signature_columns: Any = [*dict.fromkeys([*taken, *self.batch_columns])]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.course.sampler is not None:
            return self.course.sampler
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        batch = self._train_batch_size * self.args.world_size
        # The given one has lost the columns that no model takes, the lengths among them.
        self.sampler = LengthGroupedSampler(lengths_of(self.train_dataset), batch, self.args.seed)
        return self.sampler

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        network: Any = self.model if model is None else model
        kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, network)
        # Optimisers that are made from the model itself group its parameters on their own.
        if (
            self.optimizer is not None
            or not isinstance(kind, type)
            or {"params", "model", "optimizer_dict"} & set(options)
        ):
            return super().create_optimizer(model)
        if self._can_train_by_row(kind, options):
            kind, self.by_row = SeenRowsAdamW, [each for each in embeddings_by_row(network) if not each.sparse]
            for embedding in self.by_row:
                embedding.sparse = True
        self.optimizer = kind(self.parameter_groups(network), **options)
        return self.optimizer

    def _can_train_by_row(self, optimizer: type, options: dict[str, Any]) -> bool:
        """Tell whether embeddings may have sparse gradients: where memory is slow, and nobody else looks at them."""
        alone = self.args.device.type == "cpu" and self.args.world_size == 1 and not self.compiles
        usual = optimizer is torch.optim.AdamW and bool(options.get("fused")) and not options.get("amsgrad")
        return alone and usual

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if self.by_row:
            optimizer: Any = None if self._shows_gradients() else getattr(self.optimizer, "optimizer", self.optimizer)
            return clip_gradients(model.parameters(), self.args.max_grad_norm, optimizer)
        clip: Callable[..., Any] = super()._clip_grad_norm
        return clip(model)

    def _shows_gradients(self) -> bool:
        """Tell whether a callback may look at gradients that are clipped."""
        unused = TrainerCallback.on_pre_optimizer_step
        return any(type(each).on_pre_optimizer_step is not unused for each in self.callback_handler.callbacks)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if self.by_row and grad_norm is None:
            return clip_gradients(model.parameters(), float("inf"))
        measure: Callable[..., Any] = super()._get_grad_norm
        return measure(model, grad_norm=grad_norm)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        network: Any = self.model
        forget_copies(network)
        with keep_freed_memory(self.args.device), named_memory_errors(self.args.device):
            return super()._inner_training_loop(*args, **kwargs)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        compute = functools.partial(super().training_step, model, inputs, num_items_in_batch)
        return compute() if self.course.repeats is None else self.course.repeats.computed(self, compute)

    def take_step(self) -> None:
        """Move the weights by the gradients that are waiting, in a step that is none of the schedule."""
        network: Any = self.model
        optimizer: Any = self.optimizer
        if self.args.max_grad_norm > 0:
            self._clip_grad_norm(network)
        optimizer.step()
        network.zero_grad()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        network = self._compiled(model, inputs) if self.compiles else model
        if self.loss_function is None:
            outputs = network(**inputs)
            loss = outputs["loss"]
        else:
            outputs = network(**{name: value for name, value in inputs.items() if name != "labels"})
            loss = self.loss_function(outputs["logits"], inputs["labels"])
        if not torch.isfinite(loss):
            step = f"{self.state.global_step + 1} of {self.state.max_steps}"
            raise NonFiniteLossError(f"The loss became {loss.item()} at step {step}. {_ADVICE}")
        return (loss, outputs) if return_outputs else loss

    def _compiled(self, model: nn.Module, inputs: Mapping[str, Any]) -> Callable[..., Any]:
        bare: Any = self.accelerator.unwrap_model(model)
        if vars(bare).pop("_original_forward", None) is not None:
            # Mixed precision wraps the forward anew for each training, and each wrapper would have a graph of its own.
            vars(bare).pop("forward")
        # A single row left over is not worth a graph of its own.
        left_over = len(next(iter(inputs.values()))) == 1 < self._train_batch_size
        network = model if left_over else compiled(model)

        def call(**given: Any) -> Any:
            with self.accelerator.autocast():
                return convert_to_fp32(network(**given))

        return call

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        if self.evaluation is None:
            raise RuntimeError("evaluate() was called without evaluation data")
        result = self.evaluation()
        numbers = {name: value for name, value in result.items() if isinstance(value, (int, float))}
        metrics = {
            name if name.startswith(f"{metric_key_prefix}_") else f"{metric_key_prefix}_{name}": value
            for name, value in numbers.items()
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:
            self.save_folder(Path(output_dir or str(self.args.output_dir)))

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        unseal(folder)
        super()._save_checkpoint(model, trial)
        # Every rank writes its random state into the folder.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            seal(folder)
            rotate(folder.parent, self.keep)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        # A model of several parts, or an adapter, is saved in a form of its own.
        if self.weights_in is None or any(folder.glob("model*.safetensors*")) or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        network: Any = self.model if model is None else model
        network.load_state_dict(self.weights_in(folder))

    def release(self) -> None:
        """Take back what training leaves on the model object."""
        model = self._unprepare()
        for embedding in self.by_row:
            embedding.sparse = False
        # The Trainer itself does this after a training that went well only.
        if (hook := getattr(self, "neftune_hook_handle", None)) is not None:
            hook.remove()
        if self.args.gradient_checkpointing:
            # Newer versions of transformers have both names, and warn of the second.
            disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
            disable()
            model.disable_input_require_grads()
        if self.use_cache is None:
            vars(model.config).pop("use_cache", None)
        else:
            model.config.use_cache = self.use_cache
        model.eval()

    def _unprepare(self) -> Any:
        """Return the bare model, as it was before a Trainer prepared it."""
        model: Any = self.accelerator.unwrap_model(self.model)
        # Mixed precision wraps the forward. Taking it off by accelerate would take off the model's own wrappers too.
        vars(model).pop("forward", None)
        vars(model).pop("_original_forward", None)
        # Another Trainer, or another precision, would not be prepared while this is set.
        model._is_accelerate_prepared = False
        model.zero_grad(set_to_none=True)
        return model
