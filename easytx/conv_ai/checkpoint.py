"""What a model of conversations is read from: a decoder, or an encoder with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.conv_ai import choosing
from easytx.conv_ai.reading import bundled
from easytx.conv_ai.rendering import ChatFormat
from easytx.core import loading
from easytx.core.generative_model import GenerativeModel
from easytx.core.prompting import check_writes

_END = "</s>"


class ChatCheckpoint(GenerativeModel):
    """A causal language model, with or without a head that chooses among candidates, or a seq2seq model.

    Attributes:
        chat: How a conversation becomes token ids.
    """

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `CheckpointedModel`; types are "gpt2", "gpt", "blender", "blender-small", "auto" and those of others."""
        super().__init__(model_type, model_name, args=args, use_cuda=use_cuda, cuda_device=cuda_device, **kwargs)
        self.chat = ChatFormat(self.tokenizer, self.config)

    @property
    def auto_class(self) -> str:  # type: ignore[override]
        """The Auto class of transformers for the model."""
        return "AutoModelForSeq2SeqLM" if self.config.is_encoder_decoder else "AutoModelForCausalLM"

    @property
    def chooses(self) -> bool:
        """Whether the model has a head that chooses among candidates."""
        return choosing.has_choices(self.config)

    def learn_to_choose(self) -> None:
        """Have a head that chooses among candidates; only a decoder can."""
        if self.chooses or self.config.is_encoder_decoder:
            return
        self.config.choice_head = True
        if self._model is not None:
            self._model = choosing.converted(self._model, seed=self.head_seed)

    @override
    def load_config(self, model_type: str | None) -> Any:
        config = super().load_config(model_type)
        needs = (
            f"{type(self).__name__} needs a causal language model, such as gpt2, or a seq2seq one, such as blenderbot."
        )
        check_writes(config, self._name, needs=needs)
        config.choice_head = choosing.has_choices(config)
        return config

    @override
    def load_tokenizer(self) -> Any:
        tokenizer = super().load_tokenizer()
        if tokenizer.eos_token is None:
            # The first GPT has none; without one no reply would end.
            tokenizer.add_special_tokens({"eos_token": _END})
        return tokenizer

    @override
    def load_network(self) -> Any:
        network = loading.load_weights(
            choosing.AutoModelForCausalLMWithChoices if self.chooses else self.auto_class,
            self.source(),
            self.config,
            seed=self.head_seed,
            options={**self._options, **choosing.loading_options(self.config)},
        )
        if len(self.tokenizer) > network.get_input_embeddings().num_embeddings:
            network.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        for config in (network.config, network.generation_config):
            for name in ("pad_token_id", "eos_token_id"):
                if getattr(config, name) is None:
                    setattr(config, name, getattr(self.tokenizer, name))
        return network

    @override
    def generation_options(self, *, labelled: bool) -> dict[str, Any]:
        options = super().generation_options(labelled=labelled)
        if self.config.is_encoder_decoder:
            return options
        own = self.model.generation_config.eos_token_id
        ends = {*([] if own is None else own if isinstance(own, list) else [own]), *self.chat.end[-1:]}
        return {**options, "eos_token_id": sorted(ends)}

    @override
    def eval_model(
        self,
        eval_data: Any = None,
        output_dir: str | Path | None = None,
        verbose: bool = True,
        silent: bool = False,
        wandb_log: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Score the model on conversations; see `BaseModel.eval_model`. Without any, on those that come with easytx."""
        if eval_data is None and not {"eval_df", "eval_file"} & {*kwargs}:
            eval_data = bundled()
        return super().eval_model(eval_data, output_dir, verbose, silent, wandb_log, **kwargs)
