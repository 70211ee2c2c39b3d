"""Quality on real data with the starter checkpoint or from scratch, beside reference points of the bare Trainer.

    python tests/benchmarks/quality.py                      # every set
    python tests/benchmarks/quality.py mrpc stsb --seeds 0  # some sets, one seed
    python tests/benchmarks/quality.py stsb --bare          # measure the bare Trainer on it as well
    python tests/benchmarks/quality.py wikitext --bare      # a new language model; below the unigram perplexity

Reads the folder named by EASYTX_DATA, by default `../shared/data` beside the project. Prints a table and writes
`quality.json` into the current folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import quality_bare as bare
import quality_encoders as encoders
import quality_writers as writers
from quality_data import DATA, Scores

REFERENCE = {
    "mrpc": {"accuracy": 0.806, "f1": 0.866},
    "sst2": {"accuracy": 0.885},
    "goemotions": {"LRAP": 0.543, "f1_micro": 0.383},
    "conll2003": {"f1_score": 0.904, "precision": 0.897, "recall": 0.912},
    "squad": {"exact_match": 55.0, "f1": 67.2},
    "stsb": {},
    # Of five candidates one is right by chance in 0.2; perplexity is to fall below that of single tokens.
    "persona_chat": {"hits@1": 0.2},
    # The bare Trainer with seed 0; a unigram model has 644.
    "wikitext": {"perplexity": 300.2},
    # From scratch: at least so much.
    "dates": {"exact_match": 0.99},
    "multi30k": {"bleu": 90.0},
    # The most frequent answer to each question, which is all that a text alone can know.
    "easy_vqa": {"text_alone": 0.667},
    "stsb_vectors": {"spearman": 0.867},
    "squad_retrieval": {"recall_at_10 by hand": 0.919},
}

SETS: dict[str, Callable[[int, str], Scores]] = {
    "mrpc": encoders.mrpc,
    "sst2": encoders.sst2,
    "goemotions": encoders.goemotions,
    "conll2003": encoders.conll2003,
    "squad": encoders.squad,
    "stsb": encoders.stsb,
    "persona_chat": writers.persona_chat,
    "wikitext": writers.wikitext,
    "dates": writers.dates,
    "multi30k": writers.multi30k,
    "easy_vqa": encoders.easy_vqa,
    "stsb_vectors": encoders.stsb_vectors,
    "squad_retrieval": encoders.squad_retrieval,
}
# The Trainer of transformers alone, where it is measured beside ours.
BARE: dict[str, Callable[[int, str], Scores]] = {
    "mrpc": bare.mrpc,
    "sst2": bare.sst2,
    "goemotions": bare.goemotions,
    "stsb": bare.stsb,
    "wikitext": bare.wikitext,
}


def measure(name: str, run: Callable[[int, str], Scores], seeds: list[int]) -> list[dict[str, Any]]:
    """Return one record per seed."""
    records = []
    for seed in seeds:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            scores = run(seed, folder)
        records.append({"set": name, "seed": seed, "seconds": round(time.monotonic() - started), **scores})
        print(json.dumps(records[-1]), flush=True)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", nargs="*", help=f"some of {', '.join(SETS)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bare", action="store_true", help=f"measure the bare Trainer as well, on {', '.join(BARE)}")
    parser.add_argument("--out", default="quality.json")
    options = parser.parse_args()
    unknown = set(options.sets) - set(SETS)
    if unknown:
        parser.error(f"there is no set {sorted(unknown)}")
    if not DATA.is_dir():
        sys.exit(f"Skipped: there is no data at {DATA}. Set EASYTX_DATA.")
    records = []
    for name in options.sets or SETS:
        records += measure(name, SETS[name], options.seeds)
    for name in [name for name in options.sets or BARE if options.bare and name in BARE]:
        records += measure(f"{name}, bare Trainer", BARE[name], options.seeds)
    Path(options.out).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    table = pd.DataFrame(records).groupby("set", sort=False).mean(numeric_only=True).drop(columns="seed")
    print(table.round(4).to_string())
    print("reference:", json.dumps(REFERENCE))


if __name__ == "__main__":
    main()
