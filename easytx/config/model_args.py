"""The arguments that every task shares."""

from __future__ import annotations

import importlib
import os
from typing import Any

from easytx.config.args_object import ArgsObject
from easytx.config.fields import arg, arguments

_ONE_PROCESS = "tokenisation runs in native threads, without worker processes"
_LAUNCHER = "torchrun and accelerate launch set it"


def _process_count() -> int:
    return max(1, (os.cpu_count() or 1) - 2)


@arguments
class ModelArgs(ArgsObject):
    """Arguments shared by all model classes.

    Give them as a dict or as an object; set them by attribute or by key. Batch sizes are in rows, lengths in
    tokens, intervals in optimiser steps.
    """

    # Optimisation
    train_batch_size: int = arg(
        default=8, help="Rows per optimiser micro-batch and device.", low=1, in_global_args=True
    )
    num_train_epochs: int | float = arg(default=1, help="Passes over the training rows.", above=0, in_global_args=True)
    max_steps: int = arg(default=-1, help="Optimiser steps; overrides num_train_epochs when positive.", low=-1)
    learning_rate: float = arg(default=4e-5, help="Highest learning rate.", low=0, in_global_args=True)
    optimizer: str = arg(default="AdamW", help="AdamW, Adafactor, Adam8bit or an optimiser name of transformers.")
    adam_betas: tuple[float, float] = arg(default=(0.9, 0.999), help="The two decay rates of Adam's moments.")
    adam_epsilon: float = arg(default=1e-8, help="Adam's term against division by zero.", low=0, in_global_args=True)
    weight_decay: float = arg(
        default=0.0, help="Weight decay, not applied to biases and norms.", low=0, in_global_args=True
    )
    scheduler: str = arg(default="linear_schedule_with_warmup", help="How the learning rate changes over the steps.")
    warmup_ratio: float = arg(
        default=0.06, help="Share of the steps to warm up in.", low=0, high=1, in_global_args=True
    )
    warmup_steps: int = arg(
        default=0,
        help="Steps to warm up in; overrides warmup_ratio when positive.",
        low=0,
        in_global_args=True,
    )
    cosine_schedule_num_cycles: float = arg(default=0.5, help="Waves of a cosine schedule.", above=0)
    polynomial_decay_schedule_lr_end: float = arg(
        default=1e-7, help="Last learning rate of a polynomial schedule.", low=0
    )
    polynomial_decay_schedule_power: float = arg(default=1.0, help="Power of a polynomial schedule.", above=0)
    adafactor_beta1: float | None = arg(default=None, help="Adafactor's momentum; None for none.")
    adafactor_clip_threshold: float = arg(
        default=1.0, help="Root mean square at which Adafactor clips an update.", above=0
    )
    adafactor_decay_rate: float = arg(default=-0.8, help="Exponent of Adafactor's second-moment decay.")
    adafactor_eps: tuple[float, float] = arg(default=(1e-30, 1e-3), help="Adafactor's two small constants.")
    adafactor_relative_step: bool = arg(default=False, help="Whether Adafactor chooses its step size itself.")
    adafactor_scale_parameter: bool = arg(
        default=False, help="Whether Adafactor scales steps by the size of the weights."
    )
    adafactor_warmup_init: bool = arg(default=False, help="Whether Adafactor's own step size warms up.")
    gradient_accumulation_steps: int = arg(
        default=1, help="Micro-batches per optimiser step.", low=1, in_global_args=True
    )
    max_grad_norm: float = arg(
        default=1.0, help="Gradient norm to clip at; 0 for no clipping.", low=0, in_global_args=True
    )
    label_smoothing_factor: float = arg(
        default=0.0, help="Probability mass taken from the true class.", low=0, high=0.999
    )
    neftune_noise_alpha: float | None = arg(
        default=None, help="Noise added to embeddings while training (NEFTune).", low=0
    )
    custom_layer_parameters: list[Any] = arg(
        default=[], help="Learning rate per encoder layer: [{'layer': 10, 'lr': 1e-4}]."
    )
    custom_parameter_groups: list[Any] = arg(
        default=[], help="Settings per parameter: [{'params': [names], 'lr': 1e-2}]."
    )
    train_custom_parameters_only: bool = arg(
        default=False, help="Train only the parameters of the two arguments above."
    )
    freeze: list[str] = arg(
        default=[], help="Beginnings of parameter names that are not trained, such as 'bert.embeddings'."
    )
    manual_seed: int | None = arg(
        default=None, help="Random seed; None draws one and reports it.", low=0, in_global_args=True
    )

    # Precision and devices
    fp16: bool = arg(
        default=True,
        help="Mixed precision, bf16 or fp16, where the hardware gains by it.",
        in_global_args=True,
    )
    bf16: bool | None = arg(
        default=None, help="True demands bf16, False forbids it, None leaves the choice to the hardware."
    )
    tf32: bool | None = arg(default=None, help="Allow TF32 matrix products on CUDA.")
    gradient_checkpointing: bool = arg(default=False, help="Recompute activations in the backward pass to save memory.")
    torch_compile: bool = arg(
        default=False,
        help="Run training steps and predictions by code that torch.compile makes; not for ONNX or written texts.",
    )
    auto_find_batch_size: bool = arg(
        default=False,
        help="Smaller batches where memory is short.",
        no_effect="batches that do not fit into memory are always made smaller",
    )
    packing: bool | None = arg(
        default=None,
        help="Run the layers without padding, one row behind the other: None where it gains, which is in training on a "
        "CPU and in prediction on CUDA; True always, with a warning where it cannot be; False never.",
    )
    thread_count: int | None = arg(default=None, help="Threads for torch on a CPU; None leaves torch's choice.", low=1)
    trainer_kwargs: dict[str, Any] = arg(default={}, help="Further fields of transformers.TrainingArguments.")

    # Evaluation while training, early stopping, best model
    eval_batch_size: int = arg(
        default=8,
        help="Rows of an inference batch at most, where it is set; else as many as the device does best.",
        low=1,
        in_global_args=True,
    )
    evaluate_during_training: bool = arg(default=False, help="Evaluate on eval_df while training.", in_global_args=True)
    evaluate_during_training_steps: int = arg(
        default=2000,
        help="Steps between evaluations; 0 or less evaluates at epoch ends only.",
        in_global_args=True,
    )
    evaluate_each_epoch: bool = arg(default=True, help="Evaluate at the end of each epoch too.")
    evaluate_during_training_verbose: bool = arg(
        default=False, help="Log the scores of each evaluation.", in_global_args=True
    )
    evaluate_during_training_silent: bool = arg(
        default=True, help="No bar for evaluations while training.", in_global_args=True
    )
    use_early_stopping: bool = arg(default=False, help="Stop when the metric no longer improves.", in_global_args=True)
    early_stopping_metric: str = arg(
        default="eval_loss", help="The score that names the best model.", in_global_args=True
    )
    early_stopping_metric_minimize: bool = arg(
        default=True, help="Whether a lower score is better.", in_global_args=True
    )
    early_stopping_delta: float = arg(default=0, help="Least change that counts as better.", low=0, in_global_args=True)
    early_stopping_patience: int = arg(
        default=3, help="Evaluations without improvement before stopping.", low=1, in_global_args=True
    )
    early_stopping_consider_epochs: bool = arg(
        default=False,
        help="Count evaluations at epoch ends towards the patience as well.",
        in_global_args=True,
    )

    # Folders and saving
    output_dir: str = arg(default="outputs/", help="Where the model and its checkpoints go.", in_global_args=True)
    overwrite_output_dir: bool = arg(default=False, help="Allow an output_dir that is not empty.", in_global_args=True)
    best_model_dir: str = arg(
        default="outputs/best_model",
        help="Where the best model goes; under output_dir unless set.",
        in_global_args=True,
    )
    save_steps: int = arg(default=2000, help="Steps between checkpoints; 0 or less for none.", in_global_args=True)
    save_model_every_epoch: bool = arg(default=True, help="Checkpoint at the end of each epoch.", in_global_args=True)
    save_eval_checkpoints: bool = arg(
        default=True, help="Checkpoint at each evaluation while training.", in_global_args=True
    )
    save_optimizer_and_scheduler: bool = arg(default=True, help="Checkpoints can be resumed from.", in_global_args=True)
    save_best_model: bool = arg(default=True, help="Save and restore the best model.", in_global_args=True)
    save_total_limit: int | None = arg(
        default=1, help="Checkpoints kept, beside the best model; None keeps all.", low=1
    )
    no_save: bool = arg(default=False, help="Write no model and no checkpoint.", in_global_args=True)
    not_saved_args: list[str] = arg(default=[], help="Arguments left out of model_args.json.")

    # Data
    max_seq_length: int = arg(default=128, help="Tokens per row, special tokens included.", low=4, in_global_args=True)
    train_sampling_strategy: str = arg(
        default="group_by_length",
        help="Order of training rows.",
        choices=("group_by_length", "random", "sequential"),
    )
    do_lower_case: bool = arg(default=False, help="Lower-case the texts.", in_global_args=True)
    encoding: str | None = arg(default=None, help="Encoding of data files; None for UTF-8.", in_global_args=True)
    special_tokens_list: list[str] = arg(default=[], help="Tokens added to the vocabulary and never split.")
    cache_dir: str = arg(
        default="cache_dir/",
        help="Where tokenised data is kept, when it is, and where large data lies while it is used.",
        in_global_args=True,
    )
    no_cache: bool = arg(default=False, help="Never keep tokenised data.", in_global_args=True)
    reprocess_input_data: bool = arg(
        default=True, help="Tokenise again rather than read kept data.", in_global_args=True
    )
    use_cached_eval_features: bool = arg(default=False, help="Read kept data for evaluation.", in_global_args=True)
    dataloader_num_workers: int = arg(default=0, help="Processes that assemble training batches.", low=0)
    lazy_loading: bool = arg(default=False, help="Read a data file by column positions (see lazy_delimiter).")
    lazy_loading_start_line: int = arg(default=1, help="Lines to skip at the top of such a file.", low=0)
    lazy_delimiter: str = arg(default="\t", help="Column delimiter of such a file.")

    # Model and tokenizer
    config: dict[str, Any] = arg(default={}, help="Fields to change in the model's configuration.", in_global_args=True)
    tokenizer_name: str | None = arg(default=None, help="Tokenizer to use instead of the model's own.")
    tokenizer_type: str | None = arg(
        default=None, help="Class name of the tokenizer; None reads it from the checkpoint."
    )
    trust_remote_code: bool = arg(default=False, help="Run code that comes with a model from the hub.")
    model_name: str | None = arg(default=None, help="Filled in: what the model was made from.")
    model_type: str | None = arg(default=None, help="Filled in: the architecture.")
    model_class: str | None = arg(default=None, help="Filled in: the class that wrote the folder.")
    dynamic_quantize: bool = arg(default=False, help="Predict on a CPU with int8 weights (dynamic quantisation).")
    quantize: bool = arg(
        default=False, help="Set dynamic_quantize after a training that evaluates, if the score allows it."
    )
    quantize_bound: float = arg(default=0.01, help="Share of the score that int8 weights may cost.", low=0)
    onnx: bool = arg(default=False, help="Run the model that convert_to_onnx has written, by ONNX Runtime.")
    quantized_model: bool = arg(default=False, help="Have convert_to_onnx write int8 weights.")

    # Reporting
    logging_steps: int = arg(default=50, help="Steps between log lines.", low=1, in_global_args=True)
    silent: bool = arg(default=False, help="No bars, no log lines.", in_global_args=True)
    wandb_project: str | None = arg(
        default=None, help="Weights & Biases project; None for no tracking.", in_global_args=True
    )
    wandb_kwargs: dict[str, Any] = arg(default={}, help="Arguments for wandb.init.", in_global_args=True)
    wandb_log_predictions: int = arg(
        default=0, help="Rows of eval_df shown with their predictions at each evaluation; 0 sends no text.", low=0
    )
    wandb_log_predictions_freq: int = arg(default=1, help="Evaluations between such tables.", low=1)
    wandb_log_model: str | None = arg(
        default=None,
        help="Weights sent as artifacts: at the end, or checkpoints too; None reads WANDB_LOG_MODEL.",
        choices=("false", "end", "checkpoint"),
    )
    tensorboard_dir: str | None = arg(default=None, help="Folder for TensorBoard; None for none.", in_global_args=True)
    report_to: list[str] = arg(default=[], help="Further trackers, by the names of transformers' report_to.")

    # Accepted so that existing scripts run
    fp16_opt_level: str = arg(default="O1", help="Apex level.", in_global_args=True, no_effect="Apex is not used")
    local_rank: int = arg(default=-1, help="Rank of this process.", in_global_args=True, no_effect=_LAUNCHER)
    n_gpu: int = arg(default=1, help="Number of GPUs.", in_global_args=True, no_effect=_LAUNCHER)
    use_multiprocessing: bool = arg(default=True, help="Worker processes.", in_global_args=True, no_effect=_ONE_PROCESS)
    use_multiprocessing_for_evaluation: bool = arg(default=True, help="Worker processes.", no_effect=_ONE_PROCESS)
    process_count: int = arg(
        default=_process_count(), help="Worker processes.", in_global_args=True, no_effect=_ONE_PROCESS
    )
    multiprocessing_chunksize: int = arg(
        default=500, help="Rows per worker.", in_global_args=True, no_effect=_ONE_PROCESS
    )
    batch_chunk_size: int | None = arg(
        default=None, help="Chunked sampling.", no_effect="rows are always batched by length"
    )
    use_hf_datasets: bool = arg(default=False, help="Use datasets.", no_effect="datasets is always used")
    dataset_cache_dir: str | None = arg(
        default=None, help="Cache of datasets.", no_effect="cache_dir is the only cache"
    )


def __getattr__(name: str) -> Any:
    """Return another task's args class, which scripts may import from here."""
    if not name.endswith("Args"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module("easytx"), name)
