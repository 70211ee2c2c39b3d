"""Arguments of the classes that turn one text into another."""

from __future__ import annotations

from typing import Any

from easytx.config.fields import arg, arguments
from easytx.config.generation import GenerativeArgs

_ONE_CALL = "texts are decoded in one batched call"
_MARIAN = "the tokenizer is saved with the model"


@arguments
class TextToTextArgs(GenerativeArgs):
    """What the arguments of `Seq2SeqModel` and `T5Model` have in common."""

    early_stopping: bool | str = arg(
        default=True,
        help="Beam search: True ends once there are num_beams texts; 'never' searches on.",
        choices=(True, False, "never"),
    )
    length_penalty: float = arg(default=2.0, help="Beam search: above 0 prefers long texts, below 0 short ones.")
    max_target_length: int | None = arg(
        default=None, help="Tokens of a true text, special tokens included; None for max_seq_length.", low=2
    )
    dataset_class: Any = arg(
        default=None, help="A class of datasets.", no_effect="train_model takes a datasets.Dataset itself"
    )
    use_multiprocessed_decoding: bool = arg(default=False, help="Worker processes.", no_effect=_ONE_CALL)


@arguments
class Seq2SeqArgs(TextToTextArgs):
    """Arguments of `Seq2SeqModel`."""

    src_lang: str = arg(default="en_XX", help="Language code of the inputs, where the tokenizer has such codes.")
    tgt_lang: str = arg(default="ro_RO", help="Language code of the texts to write, where there are such codes.")
    base_marian_model_name: str | None = arg(default=None, help="Where a tokenizer came from.", no_effect=_MARIAN)

    # Models that look up passages
    split_text_n: int = arg(default=100, help="Words of a passage, at most: longer texts are cut into several.", low=1)
    split_text_character: str = arg(default=" ", help="What parts the words of such a text.")
    include_title_in_corpus: bool = arg(default=True, help="Whether a passage is read with the title of its text.")
    rag_embed_batch_size: int = arg(
        default=16, help="Passages of full length that get their vectors at once, where it is another than 16.", low=1
    )
    faiss_index_type: str = arg(
        default="IndexFlatIP",
        help="IndexFlatIP searches exactly, IndexHNSWFlat along links; else what faiss.index_factory takes.",
    )
    faiss_m: int = arg(default=128, help="Links of a passage in an IndexHNSWFlat.", low=2)
    faiss_d: int = arg(
        default=768, help="Numbers of a vector, to be checked where it is another than 768; encoders say it.", low=1
    )
    save_knowledge_dataset: bool = arg(default=True, help="Save passages, vectors and index with the model.")
    save_knowledge_dataset_with_checkpoints: bool = arg(default=False, help="Save them with checkpoints too.")
