"""Training: from prepared rows to the best weights, saved."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from easytx.config.warn import warn_user
from easytx.core.calls import Call
from easytx.core.quantising import after_training, before_training
from easytx.core.results import TrainResult
from easytx.core.running import collator_of, wants_packing
from easytx.core.saving import check_output_dir, write_results
from easytx.core.tracking import TrackedTraining, local_checkpoint
from easytx.data.checks import warn_about_overlap
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError, NonFiniteLossError, OutOfMemoryError
from easytx.training.arguments import OneDeviceArguments, adafactor_options, trackers, training_arguments
from easytx.training.callbacks import Bar, BestModel, EpochSchedule, History
from easytx.training.checkpoints import to_resume
from easytx.training.dropout import quick_dropout
from easytx.training.first_token import first_token_only
from easytx.training.hooking import unhooked
from easytx.training.optimizers import freeze_modules, freeze_others, parameter_groups
from easytx.training.packing import packed
from easytx.training.precision import describe, kept_random_state, threads
from easytx.training.tracking import reporters, tracked
from easytx.training.tracking_record import read_run
from easytx.training.trainer import EasyTrainer, copied_weights

if TYPE_CHECKING:
    from easytx.config.model_args import ModelArgs
    from easytx.core.base_model import BaseModel

logger = logging.getLogger(__name__)


def fit(model: BaseModel, call: Call, *, output_dir: Path, show: bool) -> TrainResult:
    """Train a model on the rows of a call; afterwards it holds the best weights and they are saved.

    Raises:
        ArgumentError: If arguments contradict each other or the libraries beneath.
        DataError: If something is wrong with the rows; nothing has been loaded or written then.
    """
    args = model.args
    if args.onnx:
        raise ArgumentError(
            f"'{model.source()}' is an ONNX model, which cannot be trained. Train the model it was exported from, and "
            "call its convert_to_onnx() again."
        )
    wanted = local_checkpoint(call.options.get("resume_from_checkpoint"), on_cpu=model.device.type == "cpu")
    resume = to_resume(wanted, output_dir)
    if resume is None and not args.no_save:
        check_output_dir(output_dir, overwrite=args.overwrite_output_dir)
    if args.evaluate_during_training and call.evaluation is None:
        raise ArgumentError("evaluate_during_training is set, but no evaluation data was given. Give eval_df=...")
    before_training(model, evaluates=args.evaluate_during_training)
    callbacks = [*reporters(args), *call.options.get("callbacks", ())]
    settings = training_arguments(
        args,
        output_dir=output_dir,
        device=model.device,
        dtype=model.precision(),
        evaluates=args.evaluate_during_training,
        show=show and not args.silent,
        use_cache=None if args.gradient_checkpointing else getattr(model.config, "use_cache", None),
    )
    train, held_out = _rows(model, call)
    # What is wrong with its options is said before weights are loaded.
    model.loss()
    with threads(args.thread_count), kept_random_state():
        return _Run(model, train, held_out, call, settings, callbacks).train(resume)


def _rows(model: BaseModel, call: Call) -> tuple[TaskData, TaskData | None]:
    options = _options_of_rows(model, call)
    train = model.prepared(call.data, name="train_df", split="train", renames=call.renames, options=options["train"])
    if not model.args.evaluate_during_training:
        if call.evaluation is not None:
            warn_user("eval_df is not used: to evaluate while training, set evaluate_during_training=True in args.")
        return train, None
    held_out = model.prepared(
        call.evaluation, name="eval_df", split="eval", renames=call.renames, options=options["eval"]
    )
    compared = model.compared(train.frame)
    columns = [str(column) for column in compared.columns]
    if all(column in held_out.frame for column in columns):
        warn_about_overlap(compared, model.compared(held_out.frame), columns, names=("train_df", "eval_df"))
    return train, held_out


def _options_of_rows(model: BaseModel, call: Call) -> dict[str, dict[str, Any]]:
    """Return what the call says of the training rows, and of the evaluation rows."""

    def said(names: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
        return {name: call.options[prefix + name] for name in names if prefix + name in call.options}

    shared = said(model.data_options)
    return {"train": shared | said(model.train_options), "eval": shared | said(model.eval_options, "eval_")}


class _Run:
    """One training, with what it needs to remember."""

    def __init__(
        self,
        model: BaseModel,
        train: TaskData,
        held_out: TaskData | None,
        call: Call,
        settings: OneDeviceArguments,
        reporters: list[TrainerCallback],
    ) -> None:
        # Preparing the rows may have added to the arguments what was learnt from them.
        args = model.args
        self.model, self.args, self.train_data, self.held_out = model, args, train, held_out
        self.settings, self.metrics, self.reporters = settings, call.metrics, reporters
        self.output_dir = Path(str(settings.output_dir))
        self.best_dir = best_model_dir(args, self.output_dir)
        self.writes = settings.should_save
        self.history = History(self.output_dir if self.writes else None, verbose=args.evaluate_during_training_verbose)
        self.best = BestModel(
            args, save=self._keep_best if args.save_best_model else None, is_saved=self._best_is_saved
        )
        self.best_weights: dict[str, torch.Tensor] | None = None

    def train(self, resume: Path | None) -> TrainResult:
        started = time.monotonic()
        self.model.head_seed = self.settings.seed
        network = self.model.model
        # A model that has not been trained here begins again with the checkpoint it comes from.
        before = copied_weights(network) if self.model.trained else None
        self.trainer = self._trainer(network)
        self.report = TrackedTraining(self.model, self.train_data, self._description())
        earlier = None if resume is None else read_run(resume)
        with tracked(
            self.args,
            config=self.report.configuration,
            main_process=self.trainer.is_world_process_zero(),
            earlier=None if earlier is None else earlier.after_checkpoint(),
            sweeping=self.model.is_sweeping,
        ) as tracker:
            self.report.tracker = tracker
            self.model.run_record = tracker.record()
            for callback in self.report.callbacks(evaluates=self.held_out is not None):
                self.trainer.add_callback(callback)
            with _frozen(network, self.model), self._changed(network):
                try:
                    output = self.trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
                except (NonFiniteLossError, OutOfMemoryError):
                    # The weights are spoilt, or those of a training that has to begin again.
                    if before is None:
                        self.model.model = None
                    else:
                        network.load_state_dict(before)
                    raise
                finally:
                    self.trainer.release()
                    self.model.run_record = tracker.record()
            self.model.trained = True
            self._restore_best()
            if self.held_out is not None:
                after_training(self.model, self.held_out, self.metrics)
            self.report.concluded(self.best.best, self.best.best_step)
            if self.writes:
                self._save(self.output_dir, self.best.best or {})
            self.report.saved(self.output_dir if self.writes else None)
            self.model.run_record = tracker.record()
        self.trainer.accelerator.wait_for_everyone()
        details = dict(self.history.scores) if self.held_out is not None else output.training_loss
        info = {**self._description(), "seconds": time.monotonic() - started}
        if self.best.best is not None:
            info |= {
                "best_step": self.best.best_step,
                "best_score": self.best.best[self.best.metric],
                "restored": self.args.save_best_model,
            }
        return TrainResult(output.global_step, details, info)

    def _trainer(self, network: Any) -> EasyTrainer:
        args, settings, evaluates = self.args, self.settings, self.held_out is not None
        self.schedule = EpochSchedule(args, evaluates=evaluates, set_epoch=lambda epoch: trainer.set_epoch(epoch))
        collator, loss = collator_of(self.model), self.model.loss()
        course = self.model.course(self.train_data, collator.pad, loss)
        trainer = EasyTrainer(
            model=network,
            args=settings,
            train_dataset=self.train_data.dataset,
            eval_dataset=None if self.held_out is None else self.held_out.dataset,
            data_collator=collator,
            # The Trainer gives the model's configuration the special tokens of this one.
            processing_class=self.model.target_tokenizer,
            callbacks=[self.schedule, self.history, self.best, *([course] if course else []), *self.reporters],
            optimizer_cls_and_kwargs=_adafactor(args) if settings.optim == "adafactor" else None,
            loss_function=loss,
            evaluation=self._evaluate if evaluates else None,
            save_folder=self._save,
            weights_in=self.model.weights_in,
            keep=args.save_total_limit,
            batch_columns=self.model.batch_columns,
            course=course,
            compiles=args.torch_compile,
            parameter_groups=lambda net: parameter_groups(
                net,
                weight_decay=args.weight_decay,
                learning_rate=args.learning_rate,
                custom_parameter_groups=args.custom_parameter_groups,
                custom_layer_parameters=args.custom_layer_parameters,
            ),
        )
        # The Trainer's own reporters print every log line; ours go to the bar, the history and the trackers.
        trainer.remove_callback(PrinterCallback if settings.disable_tqdm else DEFAULT_PROGRESS_CALLBACK)
        if not settings.disable_tqdm:
            trainer.add_callback(Bar())
        return trainer

    @contextlib.contextmanager
    def _changed(self, network: Any) -> Iterator[None]:
        """Have a network compute the same sooner while it trains."""
        device, dtype = self.model.device, self.model.precision()
        with contextlib.ExitStack() as changes:
            changes.enter_context(packed(network, wants_packing(self.args), device=device, dtype=dtype, trains=True))
            # A compiled network draws its random numbers in code of its own.
            if not self.args.torch_compile:
                changes.enter_context(quick_dropout(network, device))
                # What is computed again from a layer's input has to be the whole layer.
                if not self.settings.gradient_checkpointing:
                    changes.enter_context(first_token_only(network, device=device, dtype=dtype))
            yield

    def _evaluate(self) -> dict[str, Any]:
        show = not (self.settings.disable_tqdm or self.args.evaluate_during_training_silent)
        data = self._held_out()
        with unhooked(self.model.model):
            result, answers = self.model.evaluated(data, self.metrics, show=show)
        state = self.trainer.state
        self.history.add(state.global_step, result)
        self.best.add(state.global_step, result, self.trainer.control, at_epoch_end=self.schedule.at_epoch_end)
        is_best = self.best.best_step == state.global_step
        self.report.evaluated(state, self.history.last_loss, result, answers, data, is_best=is_best)
        return result

    def _held_out(self) -> TaskData:
        if self.held_out is None:
            raise RuntimeError("there is no evaluation data")
        return self.held_out

    def _save(self, folder: Path, results: Mapping[str, Any] | None = None) -> None:
        self.model.run_record = self.report.tracker.record()
        self.model.save_model(folder, results=results or {})

    def _keep_best(self, result: dict[str, Any]) -> None:
        if self.args.no_save:
            self.best_weights = copied_weights(self.model.model)
        elif self.writes:
            self._save(self.best_dir, result)
            write_results(self.best_dir, result)

    def _best_is_saved(self, result: dict[str, Any]) -> bool:
        """Tell whether the folder of the best model holds the weights that had these scores."""
        path = self.best_dir / "eval_results.json"
        if self.args.no_save or not path.is_file():
            return False
        saved = json.loads(path.read_text("utf-8"))
        return bool(saved.get(self.best.metric) == result[self.best.metric])

    def _restore_best(self) -> None:
        if self.best.best is None or not self.args.save_best_model:
            return
        if self.best.best_step == self.trainer.state.global_step:
            return
        if self.best_weights is not None:
            self.model.model.load_state_dict(self.best_weights)
        else:
            self.trainer.accelerator.wait_for_everyone()
            self.model.model.load_state_dict(self.model.weights_in(self.best_dir))
        logger.info(
            "Restored the weights of step %s: %s = %s",
            self.best.best_step,
            self.best.metric,
            self.best.best[self.best.metric],
        )

    def _description(self) -> dict[str, Any]:
        return {
            "device": str(self.model.device),
            "precision": describe(self.model.device, self.model.precision()),
            "seed": self.settings.seed,
            "train_rows": len(self.train_data.frame),
            "eval_rows": 0 if self.held_out is None else len(self.held_out.frame),
            "trackers": trackers(self.args),
        }


def best_model_dir(args: ModelArgs, output_dir: Path) -> Path:
    """Return where the best model goes: under the folder of this training, unless the user has named a place."""
    return Path(args.best_model_dir) if args.is_set("best_model_dir") else output_dir / "best_model"


def _adafactor(args: Any) -> tuple[Any, dict[str, Any]]:
    from transformers import Adafactor

    return Adafactor, adafactor_options(args)


@contextlib.contextmanager
def _frozen(network: Any, model: BaseModel) -> Iterator[None]:
    """Keep parameters fixed while training, and leave them trainable again afterwards."""
    args = model.args
    before = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    try:
        freeze_modules(network, model.frozen_names())
        if args.train_custom_parameters_only:
            freeze_others(network, args.custom_parameter_groups, args.custom_layer_parameters)
        yield
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(before[name])
