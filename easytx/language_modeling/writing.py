"""Texts that a trained language model goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easytx.config.generation import GenerationArgs, generation_kwargs
from easytx.core.prompting import chat_prompts, prompt_rows, text_prompts
from easytx.core.results import Prediction
from easytx.data.checks import texts_of
from easytx.errors import ArgumentError
from easytx.language_modeling.passages import Finder, with_passages
from easytx.language_modeling.results import PredictionWithPassages

if TYPE_CHECKING:
    import pandas as pd

    from easytx.language_modeling.checkpoint import LanguageCheckpoint


@dataclass(frozen=True)
class Chat:
    """How texts become chats.

    Attributes:
        wanted: Whether they do.
        user_role: What the template calls the user.
        system_role: What it calls who says the system prompt.
        system_prompt: What each chat begins with.
    """

    wanted: bool = False
    user_role: str = "user"
    system_role: str = "system"
    system_prompt: str = ""


def generation_args(given: GenerationArgs | Mapping[str, Any] | None) -> GenerationArgs:
    """Return the caller's arguments of a generation as an object of our own.

    Raises:
        ArgumentError: For unknown arguments and values out of bounds.
    """
    return GenerationArgs().merged(given)


def written(
    model: LanguageCheckpoint,
    frame: pd.DataFrame,
    args: GenerationArgs,
    chat: Chat,
    *,
    find: Finder | None,
    show: bool,
) -> Prediction:
    """Return what the model goes on with for each text of a frame.

    Args:
        model: A model that predicts the next token.
        frame: With a column `text`.
        args: How to write.
        chat: How texts become chats.
        find: Finds the passages that go before the texts; None for none.
        show: Whether there is a bar, for more than a few texts.

    Raises:
        ArgumentError: If the model writes no texts, or a chat is wanted of a tokenizer without a template.
    """
    from easytx.core.running import write_texts

    if not model.objective.causal:
        raise ArgumentError(
            f"'{model.args.model_name}' fills in masked tokens and writes no texts. Train a model with mlm=False in "
            "args, or use transformers' pipeline('fill-mask')."
        )
    if chat.system_prompt and not chat.wanted:
        raise ArgumentError("system_prompt is for chats. Set apply_chat_template=True, or put it into the texts.")
    options = {**generation_kwargs(args), "pad_token_id": model.tokenizer.pad_token_id}
    texts = texts_of(frame, "text", name="to_predict")
    passages = None if find is None else find(texts)
    texts = texts if passages is None else with_passages(texts, passages)
    if chat.wanted:
        roles = {"user_role": chat.user_role, "system_role": chat.system_role, "system_prompt": chat.system_prompt}
        ids = chat_prompts(model.tokenizer, texts, **roles)
    else:
        ids = text_prompts(model.tokenizer, texts)
    prompts = prompt_rows(model, ids, new_tokens=options["max_new_tokens"], name="to_predict")
    tokens = write_texts(model, prompts, options, show=show)
    found: list[Any] = [model.tokenizer.batch_decode(list(row), skip_special_tokens=True) for row in tokens]
    if args.num_return_sequences == 1:
        found = [texts_of_row[0] for texts_of_row in found]
    prediction = Prediction(found, tokens, frame.assign(prediction=found))
    return prediction if passages is None else PredictionWithPassages(prediction, passages)
