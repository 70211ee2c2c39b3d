"""Arguments of retrieval."""

from __future__ import annotations

from typing import Any

from easytx.config.fields import arg, arguments, default_of, fields_of
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

# Methods of research that other libraries have: named here so that whoever sets one is told, not left alone.
_REFUSED = "RetrievalModel does not have this method, and refuses another value"
_MEASURED = "all metrics are computed, without further packages"


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
    nll_lambda_start_decay: int | None = arg(
        default=None, help="The step from which that weight falls evenly, to nll_lambda_min at the last one.", low=0
    )
    nll_lambda_min: float | None = arg(default=None, help="Where it falls to; None: to 0.", low=0)
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
    include_bce_loss: bool = arg(
        default=False, help="Each query with each passage of the batch is a pair that belongs together or does not."
    )
    include_multi_negatives_loss: bool = arg(
        default=False, help="The same of the passage and the hard negatives of a query alone."
    )
    include_quartet_loss: bool = arg(
        default=False,
        help="The softmax over the batch is to be that of teacher_scores over the passage and its hard negatives.",
    )
    quartet_lambda: float = arg(default=1.0, help="Weight of that loss.", low=0)
    quartet_training_format: bool = arg(
        default=False,
        help="Rows of two queries, two passages and four scores of a teacher; so with include_quartet_loss.",
    )
    reranking_kl_div_loss: bool = arg(
        default=False,
        help="The softmax over the batch is to be that of the teacher, teacher_model_name, over all of it.",
    )
    teacher_type: str = arg(
        default="colbert", help="What teacher_model_name is.", choices=("bi_encoder", "colbert", "cross_encoder")
    )

    # Training
    output_dropout: float = arg(default=0.0, help="Dropout of the vectors while training.", low=0, high=0.99)
    repeat_high_loss_n: int = arg(
        default=0, help="Steps more, at most, for a batch whose loss is above the mean of those before.", low=0
    )
    moving_average_loss_count: int = arg(default=10, help="Batches that this mean is over.", low=1)
    ance_training: bool = arg(
        default=False, help="Search hard negatives anew while training, n_hard_negatives of the first retrieve_n_docs."
    )
    ance_refresh_n_epochs: int = arg(default=1, help="Epochs from one such search to the next.", low=1)

    # Batches of like rows; train_model takes clustered_training=True for batches of like passages
    cluster_queries: bool = arg(default=False, help="Batches of like queries.")
    cluster_concatenated: bool = arg(
        default=False, help="Batches of rows that are alike in query and passage together."
    )
    tas_clustering: bool = arg(
        default=False,
        help="Batches of like queries, clustered once, and hard negatives balanced by a teacher's margin.",
    )
    curriculum_clustering: bool = arg(
        default=False, help="Begin with rows at random, and end, after three quarters of the epochs, with like ones."
    )
    cluster_every_n_epochs: int = arg(default=1, help="Epochs from one clustering to the next.", low=1)
    cluster_train_size: int | float | None = arg(
        default=None, help="Rows that clusters are looked for among, below 1 as a share; None: all.", above=0
    )
    kmeans_k: int = arg(default=-1, help="Number of clusters; -1: as many as whole batches.", low=-1)
    faiss_clustering: bool = arg(default=True, help="Cluster by faiss, if it is installed, else by scikit-learn.")
    save_clustering_idx: bool = arg(default=False, help="Write clusters and batches to clustering_idx in output_dir.")

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
        default=128, help="Passages or queries of an inference batch at most, where it is set.", low=1
    )
    retrieval_batch_size: int = arg(default=2048, help="Queries that are searched for at once.", low=1)
    faiss_index_type: str = arg(
        default="IndexFlatIP", help="IndexFlatIP searches exactly; else what faiss.index_factory takes, as 'HNSW32'."
    )
    rerank_batch_size: int = arg(
        default=256, help="Pairs of a batch of the reranker or teacher at most, where it is set.", low=1
    )
    reranking_config: dict[str, Any] = arg(default={}, help="Fields to change in the reranker's configuration.")
    save_passage_dataset: bool = arg(default=True, help="Save with the model the passages that it searches.")

    # Refused
    autoencoder_kl_div_loss: bool = _refused(False, "Loss of an autoencoder.")
    external_embeddings: bool = _refused(False, "Vectors from elsewhere.")
    unified_cross_rr: bool = _refused(False, "A second network that ranks from vectors.")
    unified_rr: bool = _refused(False, "One network that retrieves and ranks.")
    use_autoencoder: bool = _refused(False, "Shorter vectors.")

    # Accepted so that existing scripts run
    autoencoder_mse_loss: bool = arg(default=True, help="Loss of an autoencoder.", no_effect="there is none")
    ddp_training: bool = arg(default=False, help="Several GPUs.", no_effect="torchrun and accelerate launch set it")
    disable_datasets_caching: bool = arg(default=False, help="No cache.", no_effect="no_cache says it")
    evaluate_with_beir: bool = arg(default=False, help="Another evaluation.", no_effect=_MEASURED)
    gradient_caching: bool = arg(default=False, help="Larger batches.", no_effect="no library reads it")
    gradient_caching_steps: int = arg(default=16, help="Larger batches.", no_effect="no library reads it")
    minmax_multi_head_vectors: bool = arg(default=False, help="Several vectors.", no_effect="no library reads it")
    multi_negatives: bool = arg(default=False, help="Several negatives.", no_effect="n_hard_negatives says it")
    pytrec_eval_metrics: list[str] = arg(
        default=["recip_rank", "recall_100", "ndcg_cut_10", "ndcg"], help="Metrics.", no_effect=_MEASURED
    )
    remove_duplicates_from_eval_passages: bool = arg(
        default=False, help="Each passage once.", no_effect="equal passages always count as one"
    )
    use_hf_datasets: bool = arg(default=True, help="Use datasets.", no_effect="datasets is always used")
    use_pooler_output: bool = arg(
        default=False, help="The pooler's vector.", no_effect="that of DPR is the first token's, pooling='cls'"
    )


# Values of what is refused count for nothing; a switch that is on, or a number that is not the usual one, is an error.
REFUSED = tuple(
    name
    for name, (field, hint) in fields_of(RetrievalArgs).items()
    if field.metadata["no_effect"] == _REFUSED and default_of(field) in (False, 0) and hint in (bool, int)
)


# What to do in place of some of it.
_INSTEAD = {
    "external_embeddings": "train_context_encoder=False keeps the vectors of the passages as they are while training.",
    "use_autoencoder": "Its weights were changed by no training: pooling makes one vector of all tokens, and learns.",
    "unified_rr": "A cross-encoder puts what was found in a new order: name one as reranking_model_name.",
    "unified_cross_rr": "A cross-encoder puts what was found in a new order: name one as reranking_model_name.",
}
_METHODS = (
    "There are in-batch and hard negatives (hard_negatives, build_hard_negatives, ance_training), batches of like rows "
    "(tas_clustering) and distillation from the column teacher_scores or from a teacher_model_name."
)


def check_refused(args: ModelArgs) -> None:
    """Raise if a method is asked for that this library does not have.

    Raises:
        ArgumentError: Naming the argument, and what there is instead.
    """
    for name in REFUSED:
        if args[name]:
            raise ArgumentError(
                f"{name}={args[name]} asks for a method that RetrievalModel does not have. "
                f"{_INSTEAD.get(name, _METHODS)}"
            )
