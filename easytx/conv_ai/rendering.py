"""How a personality, what was said and a reply become the tokens that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Between what a template puts before a reply and behind it.
_REPLY = "reply to be replaced"

# How the lines of a conversation are kept apart where there is no template: as these models were trained.
_BLENDER = {"blenderbot": "  ", "blenderbot-small": "\n"}


@dataclass(frozen=True)
class Turn:
    """What a reply is given to.

    Attributes:
        personality: Lines about the one who replies.
        history: What was said, by turns, the last one by the other.
    """

    personality: tuple[str, ...]
    history: tuple[str, ...]


class ChatFormat:
    """Turns and replies as token ids.

    A tokenizer with a chat template uses it: the personality is the system's message, "Your persona: ...", the other is
    the user and the one who replies the assistant. A template that refuses a system's message gets the personality at
    the beginning of the first message, and one that wants the user to begin gets an empty message of theirs.

    Without a template, the models of the Blenderbot family get what they were trained on: `your persona: ` before each
    line of the personality, then what was said, all in lines of their own. All others get

        Persona: I love cats. I live in Rome.
        Them: Hi, how are you?
        You: Fine, and you?
        Them: What do you do?
        You:

    where a decoder goes on with the reply and its end token.

    Args:
        tokenizer: With an end token.
        config: The model's.
    """

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self.tokenizer = tokenizer
        self.reads_apart = bool(config.is_encoder_decoder)
        self.separator = _BLENDER.get(config.model_type)
        self.has_template = bool(getattr(tokenizer, "chat_template", None))
        self.takes_system = self.takes_own_start = True
        if self.has_template:
            self.takes_system = self._accepts(Turn(("a",), ("b",)))
            self.takes_own_start = self._accepts(Turn((), ("a", "b")))
        self.begin = [] if self.has_template or self.reads_apart else self._begin()
        self.end = [] if self.reads_apart else self._end()

    def prompts(self, turns: Sequence[Turn]) -> list[list[int]]:
        """Return what an encoder reads, or a decoder continues, for each turn."""
        texts = [self.text(turn) for turn in turns]
        if not texts:
            return []
        found = self.tokenizer(texts, add_special_tokens=self.reads_apart, verbose=False)["input_ids"]
        return [[*self.begin, *ids] for ids in found]

    def replies(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what a model is to write for each reply, the end token included."""
        if not texts:
            return []
        if not self.reads_apart:
            space = "" if self.has_template else " "
            spaced = [f"{space}{text.strip()}" for text in texts]
            return [[*ids, *self.end] for ids in self._ids(spaced)]
        eos = self.tokenizer.eos_token_id
        found = self.tokenizer(text_target=list(texts), verbose=False)["input_ids"]
        return [list(ids) if eos is None or ids[-1:] == [eos] else [*ids, eos] for ids in found]

    def text(self, turn: Turn) -> str:
        """Return a turn as the text that is read."""
        if self.has_template:
            return self._rendered(turn)
        if self.separator is not None:
            return self.separator.join([*(f"your persona: {line}" for line in turn.personality), *turn.history])
        persona = [f"Persona: {' '.join(turn.personality)}"] if turn.personality else []
        said = [
            f"{who}: {text}"
            for who, text in zip(_speakers(len(turn.history), "You", "Them"), turn.history, strict=True)
        ]
        return "\n".join([*persona, *said, "You:"])

    def reply(self, text: str) -> str:
        """Return a reply as it was written, without what a decoder lets the other say next."""
        if not self.has_template and not self.reads_apart:
            for who in ("\nThem:", "\nYou:"):
                text = text.split(who)[0]
        return text.strip()

    def _rendered(self, turn: Turn, reply: str | None = None) -> str:
        persona = f"Your persona: {' '.join(turn.personality)}" if turn.personality else ""
        history = list(turn.history)
        if not self.takes_own_start and len(history) % 2 == 0:
            history.insert(0, "")
        if persona and not self.takes_system:
            history[0] = f"{persona}\n\n{history[0]}".strip()
        roles = _speakers(len(history), "assistant", "user")
        chat = [{"role": role, "content": text} for role, text in zip(roles, history, strict=True)]
        if persona and self.takes_system:
            chat.insert(0, {"role": "system", "content": persona})
        if reply is not None:
            chat.append({"role": "assistant", "content": reply})
        text: str = self.tokenizer.apply_chat_template(chat, add_generation_prompt=reply is None, tokenize=False)
        return text

    def _accepts(self, turn: Turn) -> bool:
        from jinja2.exceptions import TemplateError

        try:
            self._rendered(turn)
        except TemplateError:
            return False
        return True

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def _begin(self) -> list[int]:
        """Return the id that begins a text, where the tokenizer puts one."""
        first = self.tokenizer("a", verbose=False)["input_ids"][0]
        return [first] if first == self.tokenizer.bos_token_id else []

    def _end(self) -> list[int]:
        """Return what ends a reply: what the template puts behind it, up to a special token, or the end token."""
        own = [self.tokenizer.eos_token_id]
        if not self.has_template:
            return own
        behind = self._rendered(Turn((), ("a",)), _REPLY).rsplit(_REPLY, 1)[-1]
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        ids = self._ids([behind])[0] if behind else []
        ends = [place for place, token in enumerate(ids) if token in special]
        return ids[: ends[0] + 1] if ends else own


def _speakers(number: int, own: str, other: str) -> list[str]:
    """Return who says each of so many utterances, the last of which is the other's."""
    return [other if (number - place) % 2 else own for place in range(number)]
