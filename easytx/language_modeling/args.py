"""Arguments of language models."""

from __future__ import annotations

from typing import Any

from easytx.config.fields import arg, arguments
from easytx.config.model_args import ModelArgs

_NO_RAG = "the class does not retrieve passages"

# What a vocabulary of bytes begins with unless the user says otherwise.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@arguments
class LanguageModelingArgs(ModelArgs):
    """Arguments of `LanguageModelingModel`."""

    # What is learnt
    mlm: bool = arg(default=True, help="Learn to fill in masked tokens; False learns to predict the next one.")
    mlm_probability: float = arg(default=0.15, help="Share of the tokens that are masked.", above=0, high=1)
    whole_word_mask: bool = arg(default=False, help="Mask whole words rather than single tokens.")

    # From texts to blocks
    dataset_type: str = arg(
        default="simple",
        help="How a text file is read: 'text' as one running text, anything else with one text a line.",
        choices=("simple", "line_by_line", "text", "None"),
    )
    data_format: str = arg(
        default="text",
        help="What is in a file whose name does not say it: text, or a table with a column text.",
        choices=("text", "csv", "tsv", "json", "jsonl", "parquet"),
    )
    block_size: int = arg(
        default=-1, help="Tokens of a block; -1 for max_seq_length, or what the model reads where that is less.", low=-1
    )
    chunk_text: bool = arg(default=True, help="Go on with a long text in further blocks; without it texts are cut.")
    sliding_window: bool = arg(
        default=False, help="Let the blocks of a long text overlap, so that a token is predicted with more before it."
    )
    stride: float = arg(
        default=0.8, help="How far such a block moves on: a share of its length, or above 1 tokens.", above=0
    )
    stream_hf_datasets: bool = arg(
        default=False, help="Read training files bit by bit while training; needs max_steps."
    )

    # A new model
    config_name: str | None = arg(default=None, help="Configuration to use instead of the model's own.")
    vocab_size: int | None = arg(default=None, help="Tokens of a new vocabulary, at most.", low=1)
    min_frequency: int = arg(default=2, help="Times a token of a new vocabulary has to occur.", low=1)
    special_tokens: list[str] = arg(
        default=list(SPECIAL_TOKENS),
        help="First tokens of a new vocabulary of bytes: begin, padding, end, unknown, mask, and any others. A "
        "vocabulary of word pieces has BERT's, and of these the others.",
    )
    clean_text: bool = arg(default=True, help="New word pieces: drop control characters, and make all blanks spaces.")
    handle_chinese_chars: bool = arg(default=True, help="New word pieces: take each Chinese character as a word.")
    strip_accents: bool = arg(default=True, help="New word pieces: drop accents.")

    # ELECTRA
    generator_config: dict[str, Any] = arg(default={}, help="Fields to change in the generator's configuration.")
    discriminator_config: dict[str, Any] = arg(
        default={}, help="Fields to change in the discriminator's configuration."
    )
    discriminator_loss_weight: float = arg(
        default=50.0, help="Weight of the discriminator's loss beside the generator's.", low=0
    )
    tie_generator_and_discriminator_embeddings: bool = arg(
        default=True, help="Let generator and discriminator share their embeddings."
    )

    # Adapters
    peft: bool = arg(default=False, help="Train a LoRA adapter and leave the model's own weights as they are.")
    lora_config: dict[str, Any] = arg(default={}, help="Fields of peft.LoraConfig, such as r and target_modules.")
    qlora: bool = arg(default=False, help="Train an adapter over weights of 4 bits, by bitsandbytes.")
    nf4: bool = arg(default=False, help="With qlora: the 4 bits are NF4 rather than FP4.")
    loftq_bits: int = arg(default=4, help="With loftq_config: bits of the weights; 4, as of qlora.", low=2, high=8)
    loftq_config: dict[str, Any] = arg(
        default={}, help="With qlora: {'loftq_iter': 1} starts an adapter that makes up for what 4 bits lose."
    )

    # Accepted so that existing scripts run
    dataset_class: Any = arg(
        default=None, help="A class of datasets.", no_effect="train_model takes a datasets.Dataset itself"
    )
    rag: bool = arg(default=False, help="Retrieve passages; refused where True.")
    rag_replace_method: str = arg(default="prepend", help="Where passages go.", no_effect=_NO_RAG)
    use_autoencoder: bool = arg(default=False, help="An autoencoder of sentences; refused where True.")
