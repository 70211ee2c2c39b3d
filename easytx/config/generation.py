"""How texts are generated: the arguments of all classes that write texts, declared once."""

from __future__ import annotations

from typing import Any

from easytx.config.args_object import ArgsObject
from easytx.config.fields import arg, arguments
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

_GROUPS = "transformers no longer has group beam search"
_CONTRASTIVE = "transformers no longer has contrastive search"


@arguments
class GenerationOptions(ArgsObject):
    """How a text is written, token by token. Lengths are in tokens and do not count the prompt."""

    do_sample: bool = arg(default=False, help="Draw tokens by chance; without it the likeliest ones are taken.")
    max_length: int = arg(default=20, help="Most tokens of a generated text.", low=1)
    max_new_tokens: int | None = arg(default=None, help="The same; where it is set, max_length is not read.", low=1)
    min_length: int = arg(default=0, help="Fewest tokens of a generated text.", low=0)
    num_beams: int | None = arg(default=1, help="Beams of a beam search; 1 or None for none.", low=1)
    num_return_sequences: int = arg(default=1, help="Texts per row.", low=1)
    length_penalty: float = arg(default=1.0, help="Beam search: above 0 prefers long texts, below 0 short ones.")
    early_stopping: bool | str = arg(
        default=False,
        help="Beam search: True ends once there are num_beams texts; 'never' searches on.",
        choices=(True, False, "never"),
    )
    repetition_penalty: float = arg(
        default=1.0, help="Above 1 makes tokens that are there already less likely.", above=0
    )
    no_repeat_ngram_size: int | None = arg(
        default=None, help="Runs of so many tokens occur once at most; None as the model says.", low=0
    )
    temperature: float = arg(default=1.0, help="Sampling: below 1 less chance, above 1 more.", above=0)
    top_k: int | None = arg(default=None, help="Sampling: draw from so many likeliest tokens; None from all.", low=0)
    top_p: float | None = arg(
        default=None, help="Sampling: draw from the likeliest tokens of this share; None from all.", above=0, high=1
    )


@arguments
class GenerationArgs(GenerationOptions):
    """Arguments of one generation, as `LanguageModelingModel.predict` takes them.

    Example:
        >>> GenerationArgs(max_length=50, do_sample=True, top_p=0.9).get_dict()["max_length"]
        50
    """

    top_k: int | None = arg(default=50, help="Sampling: draw from so many likeliest tokens; None from all.", low=0)
    top_p: float | None = arg(
        default=1.0, help="Sampling: draw from the likeliest tokens of this share; None from all.", above=0, high=1
    )
    min_new_tokens: int | None = arg(
        default=None, help="Fewest tokens; where it is set, min_length is not read.", low=0
    )
    max_time: float | None = arg(default=None, help="Seconds after which a batch gets no more tokens.", above=0)
    use_cache: bool = arg(default=True, help="Keep what was computed for earlier tokens.")
    num_beam_groups: int = arg(default=1, help="Groups of beams.", low=1, high=1, no_effect=_GROUPS)
    diversity_penalty: float = arg(default=0.0, help="Between groups of beams.", low=0, high=0, no_effect=_GROUPS)
    penalty_alpha: float | None = arg(default=None, help="Contrastive search.", low=0, high=0, no_effect=_CONTRASTIVE)

    def get_dict(self) -> dict[str, Any]:
        """Return the arguments that are not None."""
        return {name: value for name, value in self.to_dict().items() if value is not None}


@arguments
class GenerativeArgs(GenerationOptions, ModelArgs):
    """What the arguments of all classes that write texts have in common."""

    evaluate_generated_text: bool = arg(
        default=False, help="Generate texts when evaluating, and score them against the true ones."
    )
    text_metrics: list[str] = arg(
        default=["exact_match", "bleu", "rouge"],
        help="Scores of generated texts: exact_match, f1 (of words), bleu and rouge.",
    )
    skip_special_tokens: bool = arg(default=True, help="Leave special tokens out of generated texts.")


def generation_kwargs(args: GenerationOptions) -> dict[str, Any]:
    """Return the fields of a `transformers.GenerationConfig` for these arguments: only those that have an effect.

    Raises:
        ArgumentError: If more texts are wanted than the search can give.
    """
    _check_texts_per_row(args)
    values: dict[str, Any] = {
        "do_sample": args.do_sample,
        "max_new_tokens": args.max_new_tokens or args.max_length,
        "num_beams": args.num_beams or 1,
        "num_return_sequences": args.num_return_sequences,
        "repetition_penalty": args.repetition_penalty,
        "use_cache": args.get("use_cache", True),
    }
    shortest = args.min_length if args.get("min_new_tokens") is None else args["min_new_tokens"]
    if shortest:
        values["min_new_tokens"] = min(shortest, values["max_new_tokens"])
    if args.do_sample:
        # Left out, top_k would be what the model's own settings or, failing that, transformers says.
        values |= {"temperature": args.temperature, "top_k": args.top_k or 0, "top_p": args.top_p or 1.0}
    if values["num_beams"] > 1:
        values |= {"length_penalty": args.length_penalty, "early_stopping": args.early_stopping}
    if args.no_repeat_ngram_size is not None:
        values["no_repeat_ngram_size"] = args.no_repeat_ngram_size
    if args.get("max_time") is not None:
        values["max_time"] = args["max_time"]
    return values


def _check_texts_per_row(args: GenerationOptions) -> None:
    wanted, beams = args.num_return_sequences, args.num_beams or 1
    if wanted > 1 and beams == 1 and not args.do_sample:
        raise ArgumentError(
            f"num_return_sequences is {wanted}, but without sampling and beams there is one likeliest text. "
            f"Set do_sample=True, or num_beams={wanted}."
        )
    if wanted > beams > 1:
        raise ArgumentError(
            f"num_return_sequences is {wanted}, but {beams} beams end in {beams} texts. Set num_beams={wanted}."
        )
