"""Replies in a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd
import torch
from datasets import Dataset
from typing_extensions import override

from easytx.config.generation import GenerationOptions
from easytx.config.model_args import ModelArgs
from easytx.conv_ai import interaction, preparing
from easytx.conv_ai.args import ConvAIArgs
from easytx.conv_ai.checkpoint import ChatCheckpoint
from easytx.conv_ai.data import Collator, true_features
from easytx.conv_ai.judging import ChatAnswers, ranking, with_places
from easytx.conv_ai.reading import COLUMNS, as_turns
from easytx.core.calls import Metric
from easytx.core.generative_model import TextOutputs
from easytx.core.results import Scores
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.training.inference import Outputs
from easytx.training.judged import Judged
from easytx.training.losses import LossFunction


class ConvAIModel(ChatCheckpoint):
    """Reply to what was said, in the person of somebody.

    Example:
        >>> model = ConvAIModel("gpt2", "gpt2", args={"num_train_epochs": 3})
        >>> model.train_model("personachat.json")  # or a DataFrame with history, reply and personality
        >>> reply, history = model.interact_single("Hi, how are you?", [], personality=["I love cats."])
    """

    args_class: ClassVar[type[ModelArgs]] = ConvAIArgs
    columns: Columns = COLUMNS
    target_column: ClassVar[str] = "reply"
    batch_columns: ClassVar[tuple[str, ...]] = ("replies",)
    data_remedy: ClassVar[str] = (
        "give a path to persona-chat JSON, a list of its conversations, or a DataFrame with the columns history, reply "
        "and personality, as the first argument; easytx.samples.load('chats') has a few"
    )

    def interact(self, personality: Sequence[str] | str | None = None) -> list[str]:
        """Talk at the terminal, until the end of the input or /quit, and return what was said.

        Args:
            personality: Lines about the one who replies.

        Raises:
            ArgumentError: Without a terminal, as in a notebook.
        """
        interaction.check_terminal()
        lines = [personality] if isinstance(personality, str) else [*(personality or [])]
        return interaction.talk(lambda message, history: self.interact_single(message, history, lines), lines)

    def interact_single(
        self,
        message: str,
        history: Sequence[Any] | None = None,
        personality: Sequence[str] | str | None = None,
        encode_history: bool = True,
    ) -> tuple[str, list[Any]]:
        """Return a reply, and the history with the message and the reply behind it.

        Args:
            message: What is replied to.
            history: What was said before, by turns: texts, or token ids with `encode_history=False`. It stays as it is.
            personality: As for `interact`.
            encode_history: Whether the history is one of texts.
        """
        earlier = list(history or [])
        row = {"personality": personality, "history": [*interaction.said(self.tokenizer, earlier), message]}
        answer = self.predict([row])[0]
        new = [message, answer if isinstance(answer, str) else answer[0]]
        return new[1], [*earlier, *(new if encode_history else self.tokenizer(new, verbose=False)["input_ids"])]

    # The hooks

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        return as_turns(rows, name=name, split=split, args=self.args, renames=renames)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        if split == "train" and preparing.offers_choice(frame, self.args):
            self.learn_to_choose()
        return preparing.prepared(self, frame, split, name)

    @override
    def collator(self) -> Collator:
        args, apart, pad = self.args, self.chat.reads_apart, self.tokenizer.pad_token_id
        smoothing = [args.label_smoothing_factor] if args.label_smoothing_factor else []
        weights = (args["lm_coef"], args["mc_coef"], *smoothing) if self.chooses else None
        first = self.config.decoder_start_token_id if apart and self.loss() is not None else None
        return Collator(pad, reads_apart=apart, weights=weights, first=first)

    @override
    def loss(self) -> LossFunction | None:
        return None if self.chooses else preparing.loss_of_replies(self.args, shifts=not self.chat.reads_apart)

    @override
    def prompts(self, data: TaskData) -> Dataset:
        return data.dataset.select(true_features(data.dataset))

    @override
    def generation_args(self, *, labelled: bool) -> GenerationOptions:
        # Scores are not to depend on chance.
        return super().generation_args(labelled=labelled).merged({"do_sample": False} if labelled else {})

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return preparing.kept(outputs, batch["labels"], shifts=not self.chat.reads_apart)

    @override
    def outputs(self, data: TaskData, *, show: bool) -> TextOutputs:
        found = super().outputs(data, show=show)
        if not found.values:
            return found
        ranked = ranking(found.values, data.features_of_rows())
        return replace(found, loss=ranked.weighted(self.args["lm_coef"], self.args["mc_coef"]))

    @override
    def texts(self, tokens: Sequence[Sequence[Any]]) -> list[list[str]]:
        return [[self.chat.reply(text) for text in row] for row in super().texts(tokens)]

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> ChatAnswers:
        ranked = ranking(outputs.values, data.features_of_rows()) if outputs.values else None
        tokens = outputs.tokens if isinstance(outputs, TextOutputs) else None
        losses = None if ranked is None else ranked.losses
        return ChatAnswers(None if tokens is None else self.texts(tokens), tokens, losses, ranked)

    @override
    def score(self, answers: Any, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        return {**answers.ranking.scores(), **super().score(answers, data, metrics)}

    @override
    def evaluation(self, result: dict[str, Any], answers: Any, data: TaskData) -> Scores:
        return Scores(result, with_places(super().evaluation(result, answers, data).frame, answers))

    @override
    def judged(self, answers: Any, data: TaskData) -> Judged:
        return super().judged(answers, replace(data, frame=preparing.readable(data.frame)))
