"""Arguments by position, in the order in which scripts of Simple Transformers give them."""

from __future__ import annotations

import importlib
import inspect

import pytest

ORDERS = {
    "language_modeling.LanguageModelingModel": {
        "__init__": "model_type model_name generator_name discriminator_name train_files args use_cuda "
        "retrieval_model adapter_name cuda_device",
        "train_model": "_ output_dir show_running_loss args _ verbose",
        "eval_model": "_ output_dir evaluate_generated_text verbose silent",
        "predict": "to_predict generation_args rag_queries knowledge_dataset user_role system_role system_prompt "
        "apply_chat_template",
        "train_tokenizer": "train_files tokenizer_name output_dir use_trained_tokenizer",
        "save_generator": "output_dir",
        "save_discriminator": "output_dir",
    },
    "language_generation.LanguageGenerationModel": {
        "__init__": "model_type model_name args use_cuda cuda_device",
        "generate": "prompt args verbose",
    },
    "t5.T5Model": {
        "__init__": "model_type model_name args tokenizer use_cuda cuda_device",
        "train_model": "_ output_dir show_running_loss args _",
        "eval_model": "_ output_dir verbose silent",
        "predict": "to_predict reranking_eval",
    },
    "seq2seq.Seq2SeqModel": {
        "__init__": "encoder_type encoder_name decoder_name encoder_decoder_type encoder_decoder_name "
        "additional_special_tokens_encoder additional_special_tokens_decoder",
        "train_model": "_ output_dir show_running_loss args _ verbose",
        "eval_model": "_ output_dir verbose silent",
        "predict": "to_predict",
    },
    "classification.MultiModalClassificationModel": {
        "__init__": "model_type model_name multi_label label_list num_labels pos_weight args use_cuda cuda_device",
        "train_model": "_ files_list image_path text_label labels_label images_label image_type_extension "
        "data_type_extension auto_weights output_dir show_running_loss args _ verbose",
        "eval_model": "_ files_list image_path text_label labels_label images_label image_type_extension "
        "data_type_extension output_dir verbose silent",
        "predict": "to_predict image_path image_type_extension",
    },
    "conv_ai.ConvAIModel": {
        "__init__": "model_type model_name args use_cuda cuda_device",
        "train_model": "_ output_dir show_running_loss args _ verbose",
        "eval_model": "_ output_dir verbose silent",
        "interact": "personality",
        "interact_single": "message history personality encode_history",
    },
    "language_representation.RepresentationModel": {
        "__init__": "model_type model_name args use_cuda cuda_device",
        "encode_sentences": "text_list combine_strategy batch_size",
    },
    "pretrain_retrieval.PretrainRetrievalModel": {
        "__init__": "model_type model_name context_encoder_name query_encoder_name context_encoder_tokenizer "
        "query_encoder_tokenizer prediction_passages args use_cuda cuda_device",
        "train_model": "_ output_dir show_running_loss args _",
        "build_hard_negatives": "queries passage_dataset retrieve_n_docs",
    },
    "retrieval.RetrievalModel": {
        "__init__": "model_type model_name context_encoder_name query_encoder_name context_encoder_tokenizer "
        "query_encoder_tokenizer reranking_model_name prediction_passages teacher_model_name teacher_tokenizer_name "
        "autoencoder_model clustering_model args use_cuda cuda_device",
        "train_model": "_ output_dir show_running_loss args _",
        "predict": "to_predict prediction_passages retrieve_n_docs",
        "build_hard_negatives": "queries passage_dataset retrieve_n_docs",
    },
}
METHODS = [(place, method, order) for place, methods in ORDERS.items() for method, order in methods.items()]


@pytest.mark.parametrize(("place", "method", "order"), METHODS, ids=[f"{p.split('.')[1]}.{m}" for p, m, _ in METHODS])
def test_a_method_takes_its_arguments_in_this_order(place: str, method: str, order: str) -> None:
    package, name = place.split(".")
    function = getattr(getattr(importlib.import_module(f"easytx.{package}"), name), method)
    given = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    by_position = [p.name for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    wanted = order.split()
    # The names of the data differ from class to class, and all of them are taken as keywords.
    assert [ours for ours, theirs in zip(by_position, wanted, strict=False) if theirs != "_"] == [
        theirs for theirs in wanted if theirs != "_"
    ]
