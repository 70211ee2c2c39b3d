"""Texts that go on from a prompt."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core import loading
from easytx.core.generative_model import GenerativeModel, TextAnswers
from easytx.core.prompting import at_terminal, check_writes, prompt_rows, text_prompts
from easytx.core.results import TextPrediction
from easytx.data.checks import texts_of
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError
from easytx.language_generation.args import LanguageGenerationArgs

logger = logging.getLogger(__name__)


class LanguageGenerationModel(GenerativeModel):
    """Have a causal language model write.

    Example:
        >>> model = LanguageGenerationModel("gpt2", "gpt2", args={"max_length": 50})
        >>> model.generate("Once upon a time")  # a list: the prompt and what follows
    """

    args_class: ClassVar[type[ModelArgs]] = LanguageGenerationArgs
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    columns: Columns = Columns(texts=(("prompt",),), labels=())

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `CheckpointedModel`; as `model_type`, "causal" is any causal language model."""
        kind = "auto" if model_type == "causal" and model_name is not None else model_type
        super().__init__(kind, model_name, args=args, use_cuda=use_cuda, cuda_device=cuda_device, **kwargs)

    def generate(
        self, prompt: str | Sequence[str] | None = None, args: Mapping[str, Any] | ModelArgs | None = None,
        verbose: bool = True,
    ) -> list[Any]:  # fmt: skip
        """Return the prompt and what follows it, `num_return_sequences` times.

        Args:
            prompt: A text; or a list of texts, for which there is one text each, or one list of them. None takes
                `args.prompt`, and where that is empty asks at a terminal.
            args: Arguments to change, for this and later calls.
            verbose: False logs nothing.

        Raises:
            ArgumentError: If there is no prompt and no terminal to ask at.
        """
        self.args = self.args.merged(args)
        prompts = self._asked() if prompt is None else prompt
        texts: TextPrediction = self.predict([prompts] if isinstance(prompts, str) else list(prompts))
        if isinstance(prompts, str) and self.args["num_return_sequences"] > 1:
            texts = TextPrediction(texts[0], texts.raw_outputs, texts.to_frame())
        if verbose and not self.args.silent:
            for text in texts:
                logger.info("%s", text)
        return texts

    @override
    def load_config(self, model_type: str | None) -> Any:
        args = self.args
        if args["config_name"] is None:
            config = super().load_config(model_type)
        else:
            name = loading.resolve_name(args["config_name"])
            config = loading.load_config(name, options=self._options, changes=args.config)
        needs = f"{type(self).__name__} needs a causal language model, such as gpt2."
        check_writes(config, self._name, needs=needs)
        if args["xlm_language"]:
            numbers = getattr(config, "lang2id", None) or {}
            if args["xlm_language"] not in numbers:
                raise ArgumentError(
                    f"xlm_language is '{args['xlm_language']}', but '{self._name}' has the languages {sorted(numbers)}."
                )
            config.lang_id = numbers[args["xlm_language"]]
        return config

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        if split != "predict":
            raise ArgumentError(
                "LanguageGenerationModel writes texts and is not trained. Use LanguageModelingModel('causal', ...), "
                "whose folders open here."
            )
        return super().read(rows, name=name, split=split, renames=renames)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        options = self.generation_options(labelled=False)
        texts = [self.args["padding_text"] + text for text in texts_of(frame, "prompt", name=name)]
        ids = text_prompts(self.tokenizer, texts)
        return prompt_rows(self, ids, new_tokens=options["max_new_tokens"], name=name)

    @override
    def generation_options(self, *, labelled: bool) -> dict[str, Any]:
        stop = self.args["stop_token"]
        return {**super().generation_options(labelled=labelled), **({"stop_strings": [stop]} if stop else {})}

    @override
    def written(self, data: TaskData, *, show: bool, **extras: Any) -> list[list[Any]]:
        args = self.args
        if args["stop_token"]:
            extras["tokenizer"] = self.tokenizer
        if args["stream"]:
            from transformers import TextStreamer

            if len(data.frame) > 1 or args["num_return_sequences"] > 1 or (args["num_beams"] or 1) > 1:
                raise ArgumentError("stream shows one text while it is written. Give one prompt, without beams.")
            extras["streamer"] = TextStreamer(self.tokenizer, skip_special_tokens=args["skip_special_tokens"])
        return super().written(data, show=show, **extras)

    @override
    def prediction(self, answers: TextAnswers, data: TaskData) -> TextPrediction:
        """Return each prompt with what follows it, up to the stop token."""
        stop = self.args["stop_token"]
        rows = zip(data.frame["prompt"].astype(str), answers.texts or [], strict=True)
        texts = [[prompt + (text.split(stop)[0] if stop else text) for text in found] for prompt, found in rows]
        return super().prediction(TextAnswers(texts, answers.tokens), data)

    def _asked(self) -> str:
        """Return `args.prompt`, or what is typed at a terminal."""
        if self.args["prompt"]:
            return str(self.args["prompt"])
        if not at_terminal():
            raise ArgumentError(
                "generate needs a prompt, and there is no terminal to ask at. Give one, as generate('...') or as "
                "prompt in args."
            )
        return input("Prompt: ")
