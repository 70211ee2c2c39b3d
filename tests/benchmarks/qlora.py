"""What weights of 4 bits save, what they cost of the answers, and whether an adapter over them is trained and kept.

    python tests/benchmarks/qlora.py                          # on CUDA where there is one, else on the CPU
    python tests/benchmarks/qlora.py --device cpu --layers 2

A Llama with random weights is trained on one set of texts in full, by an adapter over its weights, and by adapters over
weights of 4 bits, from one start or another. Needs peft and bitsandbytes, and neither a network nor data.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

LORA = {"r": 16, "lora_alpha": 16, "target_modules": "all-linear"}
KINDS: dict[str, dict[str, Any]] = {
    "full": {"learning_rate": 2e-4},
    "peft": {"peft": True, "lora_config": LORA},
    "fp4": {"qlora": True, "lora_config": LORA},
    "nf4": {"qlora": True, "nf4": True, "lora_config": LORA},
    "nf4, float32": {"qlora": True, "nf4": True, "lora_config": LORA, "fp16": False},
    "nf4, LoftQ": {"qlora": True, "nf4": True, "lora_config": LORA, "loftq_config": {"loftq_iter": 1}},
    "nf4, Adam8bit": {"qlora": True, "nf4": True, "lora_config": LORA, "optimizer": "Adam8bit"},
}


def texts() -> list[str]:
    """Return sentences that are not so many that a model could not learn them."""
    subjects = (
        "The cat",
        "A teacher",
        "Our neighbour",
        "The old ship",
        "My sister",
        "Nobody",
        "The committee",
        "A robot",
    )
    verbs = ("sees", "follows", "forgets", "paints", "carries", "hears", "repairs", "asks for")
    objects = ("the red house.", "a letter from home.", "three green apples.", "the last train.", "a quiet song.")
    return [" ".join(words) for words in itertools.product(subjects, verbs, objects)]


def held(network: Any) -> float:
    """Return the memory of a network's weights, in MB, with what belongs to weights of 4 bits."""
    state = network.state_dict().values()
    return sum(value.nbytes for value in {value.data_ptr(): value for value in state}.values()) / 1e6


def logits(network: Any, rows: Any) -> torch.Tensor:
    """Return what a network says of a batch of texts, in float32."""
    network.eval()
    with torch.no_grad():
        return network(**rows.to(network.device)).logits.float().cpu()


def distance(found: torch.Tensor, expected: torch.Tensor) -> str:
    """Return how far logits are from others, as a part of these."""
    return f"{float((found - expected).norm() / expected.norm()):.1e}"


def by_peft_alone(base: Path, folder: str, settings: dict[str, Any], dtype: torch.dtype, device: Any) -> Any:
    """Return the network of a saved adapter as one opens it without easytx."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {"device_map": {"": device}, "dtype": torch.float32}
    if settings.get("qlora"):
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4" if settings.get("nf4") else "fp4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    network = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **options), folder)
    for layer in network.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            # On such CPUs bitsandbytes would round the scales of the weights once more.
            layer.support_avx512bf16_for_cpu = False
    return network


def main() -> None:
    """Train each kind, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, help="of 16 texts")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import bitsandbytes
    import peft
    import transformers

    transformers.utils.logging.disable_progress_bar()
    import easytx
    from easytx.testing import tiny_checkpoint

    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft, bitsandbytes)}
    print(", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    on_cuda = options.device == "cuda"
    if on_cuda:
        print(torch.cuda.get_device_name())
    with tempfile.TemporaryDirectory() as place:
        size = {"hidden_size": options.width, "intermediate_size": 4 * options.width}
        heads = {"num_attention_heads": 8, "num_key_value_heads": 8, "num_hidden_layers": options.layers}
        base = tiny_checkpoint(Path(place) / "base", "llama", **size, **heads)
        file = Path(place) / "train.txt"
        file.write_text("\n".join(texts()), encoding="utf-8")
        whole: torch.Tensor | None = None
        for name, settings in KINDS.items():
            folder = str(Path(place) / name)
            args = {
                "silent": True,
                "manual_seed": 1,
                "max_seq_length": 32,
                "train_batch_size": 16,
                "output_dir": folder,
            }
            args |= {"learning_rate": 2e-3, "max_steps": options.steps, "num_train_epochs": 99, "cache_dir": place}
            args |= {"save_model_every_epoch": False, "evaluate_during_training": True, **settings}
            began = time.perf_counter()
            model = easytx.LanguageModelingModel("causal", str(base), args=args, use_cuda=on_cuda)
            rows = model.tokenizer(texts()[::40], padding=True, return_tensors="pt")
            start = logits(model.model, rows)
            whole = start if whole is None else whole
            size_held, off_whole = held(model.model), distance(start, whole)
            frozen = {n: p.detach().clone() for n, p in model.model.named_parameters() if not p.requires_grad}
            before = model.eval_model(str(file), output_dir=place).result
            if on_cuda:
                torch.cuda.reset_peak_memory_stats()
            trained = model.train_model(str(file), eval_file=str(file))
            peak = f", peak of training {torch.cuda.max_memory_allocated() / 1e6:.0f} MB" if on_cuda else ""
            after = model.eval_model(str(file), output_dir=place).result
            during = trained.training_details["eval_loss"][-1]
            changed = sum(not torch.equal(p, frozen[n]) for n, p in model.model.named_parameters() if n in frozen)
            end = logits(model.model, rows)
            opened = easytx.load(folder, args={"silent": True}, use_cuda=on_cuda)
            lines = {"easytx.load": logits(opened.model, rows)}
            if settings.get("peft") or settings.get("qlora"):
                dtype = model.precision() or torch.float32
                alone = by_peft_alone(base, folder, settings, dtype, model.device)
                lines["peft alone"] = logits(alone, rows)
                del alone
                opened.merge_adapter()
                lines["merged"] = logits(opened.model, rows)
            print(
                f"{name}: weights {size_held:.1f} MB{peak}; loss {before['eval_loss']:.3f} -> {after['eval_loss']:.3f} "
                f"(last evaluation in training {during:.3f}); logits at the start {off_whole} from full precision; "
                f"after a round trip by {', '.join(f'{k} {distance(v, end)}' for k, v in lines.items())}; "
                f"frozen weights changed: {changed} of {len(frozen)}; {time.perf_counter() - began:.1f} s",
                flush=True,
            )
            del model, opened


if __name__ == "__main__":
    main()
