"""Arguments of `LanguageGenerationModel`."""

from __future__ import annotations

from easytx.config.fields import arg, arguments
from easytx.config.generation import GenerativeArgs


@arguments
class LanguageGenerationArgs(GenerativeArgs):
    """Arguments of `LanguageGenerationModel`."""

    do_sample: bool = arg(default=True, help="Draw tokens by chance; without it the likeliest ones are taken.")
    top_k: int | None = arg(default=50, help="Sampling: draw from so many likeliest tokens; None from all.", low=0)
    top_p: float | None = arg(
        default=0.95, help="Sampling: draw from the likeliest tokens of this share; None from all.", above=0, high=1
    )
    prompt: str = arg(default="", help="What to go on from where no prompt is given.")
    padding_text: str = arg(default="", help="Read before each prompt, and left out of the text that is returned.")
    stop_token: str | None = arg(default=None, help="A text at which to stop; it is left out.")
    stream: bool = arg(default=False, help="Show a text in the terminal while it is written.")
    xlm_language: str = arg(default="", help="Language of an XLM model that numbers its languages.")
    config_name: str | None = arg(default=None, help="Configuration to use instead of the model's own.")
