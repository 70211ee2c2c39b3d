"""Arguments of retrieval."""

from __future__ import annotations

from typing import Any

from easytx.config.fields import arg, arguments, default_of, fields_of
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

# Methods of research that other libraries have: named here so that whoever sets one is told, not left alone.
_REFUSED = "RetrievalModel does not have this method, and refuses another value"
_MEASURED = "all metrics are computed, without further packages"
_RERANKED = "ClassificationModel.rerank ranks passages again"


def _refused(default: Any, what: str) -> Any:
    return arg(default=default, help=what, no_effect=_REFUSED)


@arguments
class RetrievalArgs(ModelArgs):
    """Arguments of `RetrievalModel`."""

    # The two encoders
    tie_encoders: bool = arg(default=False, help="One encoder for queries and passages.")
    pooling: str = arg(
        default="auto",
        help="Which vector a text gets; auto: as the checkpoint says, else that of its first token, of its last one in "
        "a decoder, and their mean in an encoder-decoder.",
        choices=("auto", "cls", "last", "mean"),
    )
    mean_pooling: bool = arg(default=False, help="The same as pooling='mean'.")
    similarity_function: str = arg(
        default="dot_product", help="How near two vectors are.", choices=("dot_product", "cosine")
    )
    similarity_scale: float | None = arg(
        default=None, help="What similarities are multiplied by in a softmax; None: 1, and 20 for one cosine.", above=0
    )
    query_config: dict[str, Any] = arg(default={}, help="Fields to change in the query encoder's configuration.")
    context_config: dict[str, Any] = arg(default={}, help="Fields to change in the passage encoder's configuration.")
    train_query_encoder: bool = arg(default=True, help="Whether training changes the query encoder.")
    train_context_encoder: bool = arg(default=True, help="Whether training changes the passage encoder.")

    # Rows
    data_format: str = arg(
        default="st",
        help="st: rows with a query and its passage; beir or msmarco: a folder in the layout of these data sets.",
        choices=("beir", "msmarco", "st"),
    )
    include_title: bool = arg(default=True, help="Read the column title before the passage, where there is one.")
    hard_negatives: bool = arg(default=False, help="Train on the column hard_negative too.")
    n_hard_negatives: int = arg(default=1, help="Hard negatives of a row that are used, at most.", low=1)
    hard_negatives_in_eval: bool = arg(default=False, help="Search among the hard negatives of eval_df too.")

    relevance_level: int = arg(
        default=1, help="Least gain of a passage that counts as right, where passages are judged by more than 1.", low=1
    )

    # Several vectors of a text
    multi_vector_query: bool = arg(
        default=False, help="Compare the vectors of all tokens of query and passage (late interaction, as ColBERT)."
    )
    query_vector_count: int = arg(
        default=50, help="With multi_vector_query: tokens of a query that are compared, its first ones.", low=1
    )
    multi_head_vectors: bool = arg(
        default=False, help="Split a text's vector into as many as the encoder has attention heads."
    )
    multi_head_vector_strategy: str = arg(
        default="maxsim",
        help="How these compare; maxsim: each of the query with the nearest, added up; minmax: with the nearest and "
        "the farthest; max: the nearest pair of all.",
        choices=("max", "maxsim", "minmax"),
    )

    larger_representations: bool = arg(
        default=False, help="A vector is those of the first token and of extra_cls_token_count more, in a row."
    )
    extra_cls_token_count: int = arg(default=0, help="Tokens behind the first one, that stand for all too.", low=0)
    extra_mask_token_count: int = arg(default=0, help="Mask tokens at the end of queries, whose vectors count.", low=0)

    # Losses; those that are included are added up
    include_nll_loss: bool = arg(
        default=True, help="The passage of a query against all others of the batch, by cross entropy."
    )
    nll_lambda: float = arg(default=1.0, help="Weight of that loss.", low=0)
    skip_hard_negatives_for_nll: bool = arg(default=False, help="Leave hard negatives out of that loss.")
    include_hard_negatives_for_triplets_only: bool = arg(default=False, help="The same as the argument before.")
    include_triplet_loss: bool = arg(
        default=False, help="A passage is to be nearer than the hard negatives of its row by triplet_margin."
    )
    triplet_margin: float = arg(default=1.0, help="That margin.", low=0)
    triplet_lambda: float = arg(default=1.0, help="Weight of that loss.", low=0)
    include_margin_mse_loss: bool = arg(
        default=False, help="The lead of a passage over each hard negative is to be that of the column teacher_scores."
    )
    margin_mse_lambda: float = arg(default=1, help="Weight of that loss.", low=0)
    mse_loss: bool = arg(default=False, help="Similarities are to be the teacher_scores themselves.")
    include_kl_div_loss: bool = arg(
        default=False, help="The softmax over a passage and its hard negatives is to be that of teacher_scores."
    )
    kl_div_lambda: float = arg(default=1.0, help="Weight of that loss.", low=0)

    # Pre-training on passages alone
    min_span_length: int = arg(
        default=10, help="PretrainRetrievalModel: tokens of a passage that become a query, at least.", low=1
    )
    max_span_length: int = arg(default=25, help="PretrainRetrievalModel: the same, at most.", low=1)
    span_kept: float = arg(
        default=0.1, help="PretrainRetrievalModel: share of these queries that stay in their passage.", low=0, high=1
    )

    # Searching
    retrieve_n_docs: int = arg(default=10, help="Passages that predict finds for a query.", low=1)
    embed_batch_size: int = arg(
        default=128, help="Passages of full length per inference batch, where it is another than 128.", low=1
    )
    retrieval_batch_size: int = arg(default=2048, help="Queries that are searched for at once.", low=1)
    faiss_index_type: str = arg(
        default="IndexFlatIP", help="IndexFlatIP searches exactly; else what faiss.index_factory takes, as 'HNSW32'."
    )
    save_passage_dataset: bool = arg(default=True, help="Save with the model the passages that it searches.")

    # Refused
    ance_training: bool = _refused(False, "Negatives that are searched for anew while training.")
    autoencoder_kl_div_loss: bool = _refused(False, "Loss of an autoencoder.")
    cluster_concatenated: bool = _refused(False, "Batches of like rows.")
    cluster_queries: bool = _refused(False, "Batches of like queries.")
    curriculum_clustering: bool = _refused(False, "Batches that become harder.")
    external_embeddings: bool = _refused(False, "Vectors from elsewhere.")
    include_bce_loss: bool = _refused(False, "Binary cross entropy.")
    include_multi_negatives_loss: bool = _refused(False, "Loss over several negatives.")
    include_quartet_loss: bool = _refused(False, "Loss over two negatives.")
    quartet_training_format: bool = _refused(False, "Rows with two negatives.")
    reranking_kl_div_loss: bool = _refused(False, "Distillation from a model that ranks again.")
    tas_clustering: bool = _refused(False, "Batches by topic.")
    unified_cross_rr: bool = _refused(False, "One network that retrieves and ranks.")
    unified_rr: bool = _refused(False, "One network that retrieves and ranks.")
    use_autoencoder: bool = _refused(False, "Shorter vectors.")

    # Accepted so that existing scripts run
    ance_refresh_n_epochs: int = arg(default=1, help="Epochs between searches.", no_effect=_REFUSED)
    autoencoder_mse_loss: bool = arg(default=True, help="Loss of an autoencoder.", no_effect="there is none")
    cluster_every_n_epochs: int = arg(default=1, help="Epochs between clusterings.", no_effect=_REFUSED)
    cluster_train_size: int | None = arg(default=None, help="Rows to cluster by.", no_effect=_REFUSED)
    ddp_training: bool = arg(default=False, help="Several GPUs.", no_effect="torchrun and accelerate launch set it")
    disable_datasets_caching: bool = arg(default=False, help="No cache.", no_effect="no_cache says it")
    evaluate_with_beir: bool = arg(default=False, help="Another evaluation.", no_effect=_MEASURED)
    faiss_clustering: bool = arg(default=True, help="How to cluster.", no_effect=_REFUSED)
    gradient_caching: bool = arg(default=False, help="Larger batches.", no_effect="no library reads it")
    gradient_caching_steps: int = arg(default=16, help="Larger batches.", no_effect="no library reads it")
    kmeans_k: int = arg(default=-1, help="Number of clusters.", no_effect=_REFUSED)
    minmax_multi_head_vectors: bool = arg(default=False, help="Several vectors.", no_effect="no library reads it")
    moving_average_loss_count: int = arg(
        default=10, help="Losses in a mean.", no_effect="logging_steps says how many losses are averaged"
    )
    multi_negatives: bool = arg(default=False, help="Several negatives.", no_effect="n_hard_negatives says it")
    nll_lambda_min: float | None = arg(default=None, help="Last weight.", no_effect="nll_lambda stays as it is")
    nll_lambda_start_decay: Any = arg(default=None, help="First decay.", no_effect="nll_lambda stays as it is")
    output_dropout: float = arg(
        default=0.1, help="Dropout behind the encoder.", no_effect="the encoder has its own, see query_config"
    )
    pytrec_eval_metrics: list[str] = arg(
        default=["recip_rank", "recall_100", "ndcg_cut_10", "ndcg"], help="Metrics.", no_effect=_MEASURED
    )
    quartet_lambda: float = arg(default=1.0, help="Weight of a loss.", no_effect=_REFUSED)
    remove_duplicates_from_eval_passages: bool = arg(
        default=False, help="Each passage once.", no_effect="equal passages always count as one"
    )
    repeat_high_loss_n: int = arg(default=0, help="Rows to repeat.", no_effect="each row is trained on once an epoch")
    rerank_batch_size: int = arg(default=256, help="Pairs per batch.", no_effect=_RERANKED)
    reranking_config: dict[str, Any] = arg(default={}, help="Configuration.", no_effect=_RERANKED)
    save_clustering_idx: bool = arg(default=False, help="Save clusters.", no_effect=_REFUSED)
    use_hf_datasets: bool = arg(default=True, help="Use datasets.", no_effect="datasets is always used")
    teacher_type: str = arg(default="colbert", help="Kind of teacher.", no_effect="teacher_scores come with the rows")
    use_pooler_output: bool = arg(
        default=False, help="The pooler's vector.", no_effect="that of DPR is the first token's, pooling='cls'"
    )


# Values of what is refused count for nothing; a switch that is on, or a number that is not the usual one, is an error.
REFUSED = tuple(
    name
    for name, (field, hint) in fields_of(RetrievalArgs).items()
    if field.metadata["no_effect"] == _REFUSED and default_of(field) in (False, 0) and hint in (bool, int)
)


def check_refused(args: ModelArgs) -> None:
    """Raise if a method is asked for that this library does not have.

    Raises:
        ArgumentError: Naming the argument, and what there is instead.
    """
    for name in REFUSED:
        if args[name]:
            raise ArgumentError(
                f"{name}={args[name]} asks for a method that RetrievalModel does not have. There are in-batch and hard "
                "negatives (hard_negatives, build_hard_negatives) and distillation from the column teacher_scores "
                "(include_margin_mse_loss, include_kl_div_loss, mse_loss)."
            )
