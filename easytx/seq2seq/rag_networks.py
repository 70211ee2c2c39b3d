"""Transformers' networks that look up passages, with logits that say how likely a token is, whatever the passage."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
import transformers
from torch.nn import functional as F
from transformers import RagConfig
from transformers.models.rag.modeling_rag import RetrievAugLMMarginOutput
from typing_extensions import override

from easytx.core import loading
from easytx.seq2seq.lookup import Lookup, batched
from easytx.training.generation import generating

IGNORED = -100


class _LooksUp:
    """Adds to a network of transformers that it searches passages for the questions that it is given.

    Attributes:
        lookup: Finds passages.
    """

    # As an Auto class says which architectures it opens.
    _model_mapping: ClassVar[Any] = (RagConfig,)
    supports_gradient_checkpointing: ClassVar[bool] = True
    lookup: Lookup
    rag: Any

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        doc_scores: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return marginal logits of shape (questions, tokens, vocabulary), normalised, and the scores of passages.

        Where scores are given, contexts or states of an encoder are given too, and it is as in transformers.

        Args:
            input_ids: Of questions, of shape (questions, tokens).
            attention_mask: Which of them are no padding.
            decoder_input_ids: What the decoder is told, of shape (questions, tokens).
            doc_scores: Of passages that were found already.
            labels: For transformers; ours are compared with the logits by the caller.
            **kwargs: For transformers.
        """
        if doc_scores is not None:
            ours = {"decoder_input_ids": decoder_input_ids, "doc_scores": doc_scores, "labels": labels}
            return super().forward(input_ids, attention_mask, **ours, **kwargs)  # type: ignore[misc]
        vectors = self.rag.question_encoder(input_ids, attention_mask=attention_mask, return_dict=True).pooler_output
        contexts, theirs = self._looked_up(vectors, input_ids)
        # By hand, as autocast would round the scores to three digits.
        scores = (vectors.float().unsqueeze(1) * theirs).sum(dim=-1)
        outputs = self.rag(
            context_input_ids=contexts["input_ids"],
            context_attention_mask=contexts["attention_mask"],
            doc_scores=scores,
            decoder_input_ids=decoder_input_ids,
            n_docs=scores.shape[1],
            use_cache=False,
        )
        return RetrievAugLMMarginOutput(
            logits=self.marginal(outputs.logits, scores, decoder_input_ids), doc_scores=scores
        )

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _looked_up(self, vectors: torch.Tensor, input_ids: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        found, theirs = self.lookup.search(vectors.detach().float().cpu().numpy(), input_ids)
        contexts = batched(found.contexts, self.lookup.pad_id)
        on_device = {name: value.to(vectors.device) for name, value in contexts.items()}
        return on_device, torch.from_numpy(theirs).to(vectors.device)

    def marginal(self, logits: torch.Tensor, scores: torch.Tensor, told: Any) -> torch.Tensor:
        """Return the logarithm of each token's probability, of shape (questions, tokens, vocabulary).

        Args:
            logits: Of the generator, of shape (questions x passages, tokens, vocabulary).
            scores: Of the passages, of shape (questions, passages).
            told: What the decoder was told, of shape (questions, tokens).
        """
        raise NotImplementedError


class RagTokenForGeneration(_LooksUp, transformers.RagTokenForGeneration):
    """Each token may come from another passage (Lewis et al. 2020, "Retrieval-Augmented Generation", section 2.1)."""

    @override
    def marginal(self, logits: torch.Tensor, scores: torch.Tensor, told: Any) -> torch.Tensor:
        marginalize: Any = self.marginalize
        probabilities: torch.Tensor = marginalize(logits.float(), scores, scores.shape[1])
        return probabilities

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, doc_scores: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Return the ids of texts, `num_return_sequences` for each question, one after the other.

        Args:
            input_ids: Of contexts, of shape (questions x passages, tokens).
            attention_mask: Which of them are no padding.
            doc_scores: Of shape (questions, passages).
            **kwargs: For transformers.
        """
        config, number = self.generation_config, doc_scores.shape[1]
        # Without beams transformers draws one text for each question.
        copies = 1 if (config.num_beams or 1) > 1 else config.num_return_sequences or 1
        if copies > 1:
            questions = torch.arange(len(doc_scores), device=doc_scores.device).repeat_interleave(copies)
            rows = (questions.unsqueeze(1) * number + torch.arange(number, device=questions.device)).flatten()
            input_ids, attention_mask, doc_scores = input_ids[rows], attention_mask[rows], doc_scores[questions]
        write: Any = super().generate
        # It does not read max_new_tokens; the id that starts the decoder counts.
        ids: torch.Tensor = write(
            context_input_ids=input_ids,
            context_attention_mask=attention_mask,
            doc_scores=doc_scores,
            n_docs=number,
            max_length=config.max_new_tokens + 1,
            **kwargs,
        )
        return ids


class RagSequenceForGeneration(_LooksUp, transformers.RagSequenceForGeneration):
    """All tokens of a text come from one passage (the same paper and section)."""

    @override
    def marginal(self, logits: torch.Tensor, scores: torch.Tensor, told: Any) -> torch.Tensor:
        # The probability of a text is the sum over passages z of p(z) times the product of p(y_t | z, y_<t). It is also
        # the product of p(y_t | y_<t), in which z has the weight p(z | y_<t): what it had at first, times how likely
        # it has made the tokens before. So the cross entropy of the tokens adds up to that of the text.
        each = F.log_softmax(logits.float(), dim=-1).view(*scores.shape, *logits.shape[1:])
        before = told[:, None, 1:, None].expand(-1, scores.shape[1], -1, -1)
        said = F.pad(each[:, :, :-1].gather(-1, before).squeeze(-1).cumsum(dim=-1), (1, 0))
        weights = (F.log_softmax(scores, dim=1).unsqueeze(-1) + said).log_softmax(dim=1)
        return (each + weights.unsqueeze(-1)).logsumexp(dim=1)

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, doc_scores: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Return the ids of texts as `RagTokenForGeneration.generate` does.

        The generator writes texts for each passage alone, and those that are likeliest given all passages are kept:
        the paper's thorough decoding (section 2.5).
        """
        config, (questions, number) = copy.deepcopy(self.generation_config), doc_scores.shape
        wanted, generator = config.num_return_sequences or 1, self.rag.generator
        config.num_return_sequences = max(config.num_beams or 1, wanted)
        with generating(generator, config):
            ids = generator.generate(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        states = generator.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        best = []
        for question, written in enumerate(ids.view(questions, -1, ids.shape[1])):
            own = slice(question * number, (question + 1) * number)
            scores = self._scores(written, states[own], attention_mask[own], doc_scores[question])
            best.append(written[_best(written, scores, wanted)])
        return torch.cat(best)

    def _scores(
        self, ids: torch.Tensor, states: torch.Tensor, mask: torch.Tensor, doc_scores: torch.Tensor
    ) -> torch.Tensor:
        """Return the logarithm of the probability of each text, of shape (texts,)."""
        texts, number = len(ids), len(doc_scores)
        told = ids[:, :-1]
        logits = self.rag.generator(
            encoder_outputs=(states.repeat(texts, 1, 1),),
            attention_mask=mask.repeat(texts, 1),
            decoder_input_ids=told.repeat_interleave(number, dim=0),
            use_cache=False,
        ).logits
        found = self.marginal(logits, doc_scores.expand(texts, -1), told)
        labels = self._labels(ids[:, 1:])
        return -F.cross_entropy(found.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).sum(dim=1)

    def _labels(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the tokens that count: up to the one that ends a text, and not one that all texts have to begin with.

        The latter is as in transformers.
        """
        config: Any = self.generation_config
        generator: Any = self.config.generator
        ending = [] if config.eos_token_id is None else config.eos_token_id
        ends = torch.isin(ids, torch.as_tensor(ending, dtype=ids.dtype, device=ids.device))
        labels = ids.masked_fill(ends.cumsum(dim=1) - ends.long() > 0, IGNORED)
        first = generator.bos_token_id
        if first is not None and bool((ids[:, 0] == first).all()):
            labels[:, 0] = IGNORED
        return labels


def _best(ids: torch.Tensor, scores: torch.Tensor, wanted: int) -> torch.Tensor:
    """Return the places of the likeliest texts, each once; those that are there again come last."""
    _, same = torch.unique(ids, dim=0, return_inverse=True)
    order = scores.argsort(descending=True, stable=True)
    seen: set[int] = set()
    again = []
    for place in order.tolist():
        again.append(int(same[place]) in seen)
        seen.add(int(same[place]))
    late = torch.tensor(again, device=ids.device)
    return torch.cat([order[~late], order[late]])[:wanted]


NETWORKS: dict[str, Any] = {"rag-token": RagTokenForGeneration, "rag-sequence": RagSequenceForGeneration}


def put_together(kind: str, config: Any, names: tuple[str, str], *, seed: int, options: Any) -> Any:
    """Return a network made of a question encoder and a generator.

    Args:
        kind: A type of `NETWORKS`.
        config: Its configuration.
        names: Where the two come from, folders or hub names.
        seed: For what is new.
        options: For `from_pretrained`.
    """
    encoder = question_encoder(config, names[0], seed=seed, options=options)
    generator = loading.load_weights("AutoModelForSeq2SeqLM", names[1], config.generator, seed=seed, options=options)
    with loading.quiet():
        return NETWORKS[kind](config=config, question_encoder=encoder, generator=generator)


def question_encoder(config: Any, name: str, *, seed: int, options: Any) -> Any:
    """Return the encoder of questions of a folder or hub name."""
    return loading.load_weights("AutoModel", name, config.question_encoder, seed=seed, options=options)
