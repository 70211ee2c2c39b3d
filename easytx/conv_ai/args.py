"""Arguments of conversation."""

from __future__ import annotations

from easytx.config.fields import arg, arguments
from easytx.config.generation import GenerativeArgs


@arguments
class ConvAIArgs(GenerativeArgs):
    """Arguments of `ConvAIModel`."""

    max_history: int = arg(default=2, help="Earlier exchanges that are read: of n, the last 2n + 1 utterances.", low=0)
    num_candidates: int = arg(
        default=2, help="Candidates per row that training chooses between, the true reply among them; 0 for all.", low=0
    )
    personality_permutations: int = arg(
        default=1,
        help="Times that a row is trained on, each with the lines of the personality in another order.",
        low=1,
    )
    lm_coef: float = arg(
        default=2.0, help="Weight of the loss of the reply's tokens, where there are candidates.", low=0
    )
    mc_coef: float = arg(
        default=1.0, help="Weight of the loss of choosing among candidates; 0 for no head that chooses.", low=0
    )
    do_sample: bool = arg(
        default=True, help="Draw tokens by chance; without it, and in evaluations, the likeliest ones are taken."
    )
    temperature: float = arg(default=0.7, help="Sampling: below 1 less chance, above 1 more.", above=0)
    top_k: int | None = arg(default=0, help="Sampling: draw from so many likeliest tokens; 0 from all.", low=0)
    top_p: float | None = arg(
        default=0.9, help="Sampling: draw from the likeliest tokens of this share; None from all.", above=0, high=1
    )
    min_length: int = arg(default=1, help="Fewest tokens of a reply.", low=0)
    evaluate_generated_text: bool = arg(
        default=True, help="Write replies when evaluating, and score them against the true ones."
    )
    text_metrics: list[str] = arg(
        default=["f1"], help="Scores of written replies: exact_match, f1 (of words), bleu and rouge."
    )
