"""Language models: trained on plain texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from easytx.config.generation import GenerationArgs
from easytx.config.model_args import ModelArgs
from easytx.core.calls import read_call
from easytx.core.results import Prediction
from easytx.data.frames import as_texts
from easytx.language_modeling import passages, preparing, scratch, writing
from easytx.language_modeling.args import LanguageModelingArgs
from easytx.language_modeling.task import LanguageTask


class LanguageModelingModel(LanguageTask):
    """Train a language model on texts: a pretrained one or a new one, on masked tokens or on the next one.

    Example:
        >>> model = LanguageModelingModel("starter")
        >>> model.train_model("train.txt")  # a text a line; or a list, a DataFrame with a column text ...
        >>> model.eval_model("eval.txt")["perplexity"]
    """

    args_class: ClassVar[type[ModelArgs]] = LanguageModelingArgs

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        generator_name: str | None = None,
        discriminator_name: str | None = None,
        train_files: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        retrieval_model: Any = None,
        adapter_name: str | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `CheckpointedModel`; without a model name, a new model of this architecture is made.

        Args:
            model_type: As there; "causal" for any model that predicts the next token.
            model_name: As there; None for a new model.
            generator_name: The generator of an ELECTRA.
            discriminator_name: Its discriminator.
            train_files: A path or a list of paths, from which a new model learns its vocabulary.
            args: As there.
            use_cuda: As there.
            retrieval_model: What finds passages with `rag`: a `RetrievalModel`, the folder of one, or an object whose
                `predict(queries, prediction_passages=..., passages_only=True)` returns texts for each query.
            adapter_name: A folder or hub name of a LoRA adapter for the model.
            cuda_device: As there.
            **kwargs: As there.
        """
        parts = (generator_name, discriminator_name)
        more: dict[str, Any] = {"args": args, "use_cuda": use_cuda, "cuda_device": cuda_device, **kwargs}
        more |= {"train_files": train_files, "adapter_name": adapter_name}
        super().__init__(model_type, model_name, parts=parts, **more)
        preparing.refuse_autoencoder(self.args)
        options = {"args": {"silent": self.args.silent}, "use_cuda": use_cuda, "cuda_device": cuda_device}
        self.retrieval_model = passages.opened(retrieval_model, **options)

    @override
    def predict(
        self,
        to_predict: Any,
        generation_args: GenerationArgs | Mapping[str, Any] | None = None,
        rag_queries: Any = None,
        knowledge_dataset: Any = None,
        user_role: str = "user",
        system_role: str = "system",
        system_prompt: str = "",
        apply_chat_template: bool = False,
        **kwargs: Any,
    ) -> Prediction:
        """Go on with each text, and return `responses, token_ids`: the new texts alone, in order.

        With `rag` a text is read behind the passages found for it, as "Context: ... text"; the result has `passages`.

        Args:
            to_predict: A text, a list of texts, a Series, a DataFrame with a column `text`, or a path of one.
            generation_args: How to write, as a `GenerationArgs` or a dict; lengths do not count the prompt.
            rag_queries: With `rag`, what to search for, one query a text; None for the texts themselves.
            knowledge_dataset: With `rag`, the passages to search; None for those of the retrieval model.
            user_role: What a chat calls the user.
            system_role: What a chat calls who says `system_prompt`.
            system_prompt: What each chat begins with.
            apply_chat_template: Make a chat of each text, as the tokenizer's template has it.
            **kwargs: `text_column=`, where it differs.

        Raises:
            ArgumentError: If the model fills in masked tokens.
        """
        find = passages.finder(self, rag_queries, knowledge_dataset)
        options = writing.generation_args(generation_args)
        call = read_call("predict", kwargs, data=to_predict, columns=self.columns.all())
        frame = as_texts(call.data, self.columns, name="to_predict", args=self.args, renames=call.renames)
        chat = writing.Chat(apply_chat_template, user_role, system_role, system_prompt)
        return writing.written(self, frame, options, chat, find=find, show=not self.args.silent)

    def train_tokenizer(
        self,
        train_files: Any,
        tokenizer_name: str | None = None,
        output_dir: str | Path | None = None,
        use_trained_tokenizer: bool = True,
    ) -> Any:
        """Learn a vocabulary from files, and return its tokenizer.

        Args:
            train_files: A path or a list of paths.
            tokenizer_name: Where to write it; the same as `output_dir`.
            output_dir: Where to write it; None writes nothing.
            use_trained_tokenizer: Whether this model takes it, which a new model alone can.
        """
        if use_trained_tokenizer:
            self.check_new()
        tokenizer = self.new_tokenizer(train_files)
        folder = output_dir or tokenizer_name
        if folder is not None:
            scratch.write_tokenizer_to(tokenizer, folder)
        if use_trained_tokenizer:
            self.take_tokenizer(tokenizer)
        return tokenizer

    def save_generator(self, output_dir: str | Path | None = None) -> None:
        """Write an ELECTRA's generator to `generator_model` under `output_dir`."""
        self.write_part(Path(output_dir or self.args.output_dir), "generator_model")

    def save_discriminator(self, output_dir: str | Path | None = None) -> None:
        """Write the discriminator of an ELECTRA to `discriminator_model` under `output_dir`."""
        self.write_part(Path(output_dir or self.args.output_dir), "discriminator_model")
