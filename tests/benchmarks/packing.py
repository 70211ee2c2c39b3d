"""Layers without padding beside layers with it: first whether they compute the same, then tokens per second.

    python tests/benchmarks/packing.py                     # everything; takes about two minutes on a GPU
    python tests/benchmarks/packing.py --only same         # whether rows that share a pack are rows alone
    python tests/benchmarks/packing.py --only time --rounds 5 --steps 30

The same: for each architecture, random weights and the starter checkpoint, states and gradients of all weights of rows
in one pack beside those of each row alone, in bf16; beside it what padding differs by, which is rounding only. And
another row in the pack must not change a single bit of the rest.

The time: whole training steps (forward, backward, fused AdamW) and predictions, with padding and without, of rows in
groups of like lengths, as the library has them, and in random order. Tokens are those of the texts, without padding.
Each round runs every contestant once, beginning with another one each round; the table has the medians.

On a CPU, where attention alone has padding, it takes about ten minutes; batches are smaller.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from easytx.training import varlen
from easytx.training.batching import length_grouped_order, padded_share, token_budget_batches
from easytx.training.dropout import quick_dropout
from easytx.training.packing import packed

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
DTYPE = torch.bfloat16
TOLERANCE, GRADIENT_TOLERANCE = 2e-2, 5e-2

ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "albert")
FALLING_BACK = ("mpnet", "deberta-v2", "modernbert")
LENGTHS = (5, 120, 1, 33, 64, 90)
STARTER = "starter"
STARTER_SIZES = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


def starter() -> str | None:
    """Return the folder of the starter checkpoint, or None where it is not installed."""
    from easytx.core.starter import starter_folder
    from easytx.errors import MissingExtraError

    try:
        return str(starter_folder())
    except MissingExtraError:
        return None


STARTER_FOLDER = starter()


def network(name: str, *, head: bool = False, **sizes: Any) -> Any:
    """Return an encoder of this architecture, or the starter, on the device."""
    torch.manual_seed(0)
    auto: Any = AutoModelForSequenceClassification if head else AutoModel
    if name == STARTER and STARTER_FOLDER is not None:
        return auto.from_pretrained(STARTER_FOLDER).to(DEVICE)
    if name == STARTER:
        name, sizes = "bert", STARTER_SIZES
    config = AutoConfig.for_model(name)
    for field, value in sizes.items():
        setattr(config, config.attribute_map.get(field, field), value)
    return auto.from_config(config).float().to(DEVICE)


def autocast() -> AbstractContextManager[Any]:
    """Return the precision that is compared."""
    return torch.autocast(DEVICE.type, dtype=DTYPE)


def without_padding(model: Any, *, trains: bool) -> AbstractContextManager[Any]:
    """Return the context in which a model runs packed."""
    return packed(model, True, device=DEVICE, dtype=DTYPE, trains=trains)


# Whether it is the same


def made_up(model: Any, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of rows of several lengths."""
    chance = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(10, model.config.vocab_size, mask.shape, generator=chance)
    padding = model.config.pad_token_id
    return ids.masked_fill(~mask, 0 if padding is None else padding).to(DEVICE), mask.to(DEVICE)


def alone(model: Any, ids: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
    """Return the states of all tokens, from one row a call."""
    rows = zip(ids, LENGTHS, strict=True)
    return torch.cat([model(input_ids=row[None, :length]).last_hidden_state[0] for row, length in rows])


def together(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the states of all tokens, from one batch."""
    states: torch.Tensor = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return states[mask]


def states_and_gradients(model: Any, run: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the states of all tokens, and the gradients of all weights, one behind the other."""
    model.zero_grad()
    with autocast():
        states = run(model, *made_up(model)).float()
    chance = torch.Generator().manual_seed(1)
    (states * torch.randn(states.shape, generator=chance).to(states)).sum().backward()
    found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return states.detach(), torch.cat(found)


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the size of the difference relative to the size."""
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


def compare(name: str, label: str, **sizes: Any) -> bool:
    """Print a line on an architecture, and return whether it is as it should be."""
    model = network(name, **sizes).eval()
    rows = [states_and_gradients(model, run) for run in (alone, together)]
    with without_padding(model, trains=True):
        if model.config._attn_implementation != varlen.NAME:
            print(f"{label:28} runs with padding", flush=True)
            return name in FALLING_BACK
        rows.append(states_and_gradients(model, together))
        ids, mask = made_up(model)
        others = ids.clone()
        others[1] = made_up(model, seed=1)[0][1]
        with torch.no_grad(), autocast():
            first, second = together(model, ids, mask), together(model, others, mask)
    rest = torch.cat(
        [first[: LENGTHS[0]] == second[: LENGTHS[0]], first[sum(LENGTHS[:2]) :] == second[sum(LENGTHS[:2]) :]]
    )
    (single, gradient), *batched = rows
    padded_by, packed_by = ([distance(s, single), distance(g, gradient)] for s, g in batched)
    largest = float((batched[1][0] - single).abs().max())
    good = (
        packed_by[0] <= TOLERANCE
        and packed_by[1] <= GRADIENT_TOLERANCE
        and bool(rest.all())
        and name not in FALLING_BACK
    )
    print(
        f"{label:28} states {packed_by[0]:.1e} (padded {padded_by[0]:.1e}, largest {largest:.1e})  gradients "
        f"{packed_by[1]:.1e} (padded {padded_by[1]:.1e})  leak {'none' if rest.all() else 'YES'}  "
        f"{'good' if good else 'BAD'}",
        flush=True,
    )
    return good


def dropout_is_right() -> bool:
    """Tell whether the kernel drops as many weights as asked, scales the rest, and has the gradient of what is left."""
    rows, tokens, heads, size, chance = 64, 64, 4, 64, 0.25
    packing = varlen.Packing.of(torch.ones(rows, tokens, device=DEVICE))
    query, key = (torch.randn(rows * tokens, heads, size, device=DEVICE, dtype=DTYPE) for _ in range(2))
    # With the unit matrix for values a token's output is its row of the attention matrix.
    unit = torch.eye(tokens, size, device=DEVICE, dtype=DTYPE).repeat(rows, 1)[:, None].repeat(1, heads, 1)
    unit.requires_grad_()
    kernel = varlen.KERNELS[DEVICE.type]
    torch.manual_seed(0)
    left = kernel(query, key, unit, packing, chance, None)
    full = kernel(query, key, unit, packing, 0.0, None)
    torch.manual_seed(1)
    other = kernel(query, key, unit, packing, chance, None)
    signal = torch.randn_like(left)
    (gradient,) = torch.autograd.grad(left, unit, signal)
    weights, signals = (x.detach().float().view(rows, tokens, heads, -1) for x in (left, signal))
    wanted = torch.einsum("rqhk,rqhd->rkhd", weights, signals).flatten(0, 1)
    dropped = float((left == 0).float().mean())
    kept = left != 0
    scaled = distance(left[kept].float() * (1 - chance), full[kept].float())
    good = abs(dropped - chance) < 0.01 and scaled < 2e-2 and distance(gradient.float(), wanted) < 2e-2
    good = good and not torch.equal(left, other)
    print(
        f"{'attention dropout of 0.25':28} dropped {dropped:.3f}, scale off by {scaled:.1e}, gradient off by "
        f"{distance(gradient.float(), wanted):.1e}  {'good' if good else 'BAD'}",
        flush=True,
    )
    return good


def same() -> bool:
    """Compare all architectures."""
    tiny = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    kept = [compare(name, f"{name}, tiny", **tiny) for name in ARCHITECTURES]
    kept += [compare(STARTER, "starter" if STARTER_FOLDER else "of the starter's size")]
    if CUDA:
        kept += [compare(name, f"{name}, its default size") for name in ("bert", "roberta", "distilbert")]
    kept += [compare(name, f"{name}, tiny", **tiny) for name in FALLING_BACK]
    return all([*kept, dropout_is_right()])


# How fast it is


def lengths_of(kind: str, rows: int) -> np.ndarray:
    """Return lengths like those of sentence pairs, or of texts of a paragraph or two."""
    chance = np.random.default_rng(0)
    if kind == "pairs":
        return np.clip(chance.normal(46, 13, rows), 12, 128).astype(int)
    return np.clip(chance.lognormal(4.4, 0.8, rows), 8, 512).astype(int)


def collated(model: Any, lengths: np.ndarray, batches: list[np.ndarray]) -> list[dict[str, torch.Tensor]]:
    """Return padded batches, on the CPU."""
    made = []
    for batch in batches:
        sizes = torch.from_numpy(lengths[batch])
        mask = torch.arange(int(sizes.max())) < sizes[:, None]
        ids = torch.randint(10, model.config.vocab_size, mask.shape)
        labels = torch.randint(0, 2, (len(batch),))
        made.append({"input_ids": ids.masked_fill(~mask, 0), "attention_mask": mask.long(), "labels": labels})
    return made


def orders(lengths: np.ndarray, rows: int) -> dict[str, list[np.ndarray]]:
    """Return batches of so many rows, of like lengths and at random."""
    grouped = length_grouped_order(lengths, rows, generator=torch.Generator().manual_seed(0))
    shuffled = np.random.default_rng(1).permutation(len(lengths))
    return {
        name: [np.asarray(order[i : i + rows]) for i in range(0, len(order) - rows + 1, rows)]
        for name, order in (("grouped", grouped), ("random", shuffled))
    }


def train(model: Any, batches: list[dict[str, torch.Tensor]]) -> None:
    """Train on each batch once."""
    model.train()
    with quick_dropout(model, DEVICE):
        step_by_step(model, batches)


def step_by_step(model: Any, batches: list[dict[str, torch.Tensor]]) -> None:
    """Take a step for each batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    for batch in batches:
        with autocast():
            loss = model(**{name: value.to(DEVICE) for name, value in batch.items()}).loss
        if not torch.isfinite(loss):
            raise RuntimeError("the loss diverged")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def predict(model: Any, batches: list[dict[str, torch.Tensor]]) -> None:
    """Predict each batch once."""
    model.eval()
    with torch.no_grad(), autocast():
        for batch in batches:
            model(**{name: value.to(DEVICE) for name, value in batch.items() if name != "labels"}).logits.float().cpu()


Contestant = tuple[str, Callable[[], None], int, float]


def contestants(model: Any, kind: str, rows: int, steps: int) -> Iterator[Contestant]:
    """Return name, function, tokens and share of padding of what is timed."""
    lengths = lengths_of(kind, rows * steps)
    for order, batches in orders(lengths, rows).items():
        yield from twice(model, f"train {order}", train, lengths, batches)
    number, budget, many = (10000, 65536, 512) if CUDA else (400, 2048, 32)
    lengths = lengths_of(kind, number)
    yield from twice(model, "predict sorted", predict, lengths, token_budget_batches(lengths, budget))
    yield from twice(model, "predict random", predict, lengths, orders(lengths, many)["random"])


def twice(
    model: Any, name: str, run: Callable[..., None], lengths: np.ndarray, batches: list[np.ndarray]
) -> Iterator[Contestant]:
    """Return the same work with padding and without."""
    made, tokens = collated(model, lengths, batches), sum(int(lengths[batch].sum()) for batch in batches)
    share = padded_share(lengths, batches)

    def packs() -> None:
        with without_padding(model, trains=run is train):
            run(model, made)

    yield f"{name}, padded", lambda: run(model, made), tokens, share
    yield f"{name}, packed", packs, tokens, share


def synchronize() -> None:
    """Wait for the device."""
    if CUDA:
        torch.cuda.synchronize()


def timed(name: str, label: str, kind: str, rows: int, options: Any, **sizes: Any) -> None:
    """Print a table for a model, a kind of text and a batch size."""
    model = network(name, head=True, **sizes)
    before = copy.deepcopy(model.state_dict())
    all_of_them = list(contestants(model, kind, rows, options.steps))
    seconds: dict[str, list[float]] = {contestant: [] for contestant, *_ in all_of_them}
    for number in range(options.rounds + 1):
        shift = number % len(all_of_them)
        for contestant, run, _, _ in all_of_them[shift:] + all_of_them[:shift]:
            synchronize()
            started = time.perf_counter()
            run()
            synchronize()
            # The first round warms up.
            if number:
                seconds[contestant].append(time.perf_counter() - started)
        model.load_state_dict(before)
    print(f"\n{label}, {kind}, training batches of {rows}: thousand tokens of text per second")
    speeds = {contestant: tokens / statistics.median(seconds[contestant]) for contestant, _, tokens, _ in all_of_them}
    for contestant, _, _, share in all_of_them:
        beside = speeds[contestant.split()[0] + (" grouped" if "train" in contestant else " sorted") + ", padded"]
        print(
            f"  {contestant:24} {speeds[contestant] / 1000:9.0f}   {speeds[contestant] / beside:5.2f} of the library's "
            f"order with padding   {share:4.0%} padding in its batches",
            flush=True,
        )


def main() -> None:
    """Compare, measure, and end with an error if something is not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=("same", "time"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="training steps of a contestant and round")
    options = parser.parse_args()
    print(f"{torch.cuda.get_device_name() if CUDA else 'CPU'}, torch {torch.__version__}, bf16")
    good = same() if options.only != "time" else True
    small = "starter" if STARTER_FOLDER else "Of the starter's size, random weights"
    if options.only != "same" and CUDA:
        timed(STARTER, small, "pairs", 32, options)
        timed(STARTER, small, "texts", 128, options)
        timed("bert", "BERT base, random weights", "pairs", 32, options)
        timed("bert", "BERT base, random weights", "texts", 32, options)
    elif options.only != "same":
        timed(STARTER, small, "pairs", 8, options)
        timed(STARTER, small, "pairs", 32, options)
        timed(STARTER, small, "texts", 8, options)
    sys.exit(0 if good else "Packed rows are not what they are alone.")


if __name__ == "__main__":
    main()
