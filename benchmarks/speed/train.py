"""How fast a MoCo step is: `searchengine train contriever` against a straightforward loop, as one ratio.

The loop is what one writes first: transformers' model, the batch padded to its longest text, float32 (and once more in
bfloat16), a deep copy as momentum encoder, a queue. The same model, texts, crop lengths, batch and queue. Prints
sequences/s (two a pair), JSON beside it with --json.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from benchmarks.lines import find_file, read_objects
from benchmarks.machine import machine_line
from indexer.encoders import pretrained
from indexer.encoders.cache import cache_root

WINDOW, QUEUE, TEMPERATURE = 256, 240, 0.05
TEXTS = 500  # of the collection: the command also evaluates, and need not do so on thousands


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a BEIR folder")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    texts = texts_of(chosen.data)
    rates = {"ours": ours(texts, chosen.batch, chosen.steps)}
    for name, bfloat16 in (("loop, bfloat16", True), ("loop, float32", False)):
        rates[name] = straightforward(texts, chosen.batch, chosen.steps, bfloat16=bfloat16)
    sys.stdout.write(f"{machine_line()}\nMoCo, batch {chosen.batch}, crops of {WINDOW} tokens, queue {QUEUE}\n")
    for name, rate in rates.items():
        sys.stdout.write(f"{name:<16}{rate:8.1f} sequences/s   ours is {rates['ours'] / rate:.2f}×\n")
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine_line(), "sequences_per_second": rates}, indent=1) + "\n")


def texts_of(data: Path) -> list[str]:
    """Read the first texts of a collection."""
    corpus, _ = find_file(data, "corpus.jsonl")
    if corpus is None:
        raise SystemExit(f"{data}: no corpus.jsonl")
    return [record["text"] for _, record in itertools.islice(read_objects(corpus), TEXTS)]


def ours(texts: list[str], batch: int, steps: int) -> float:
    """Run the command; its own log says how many examples a second each ten steps made. Median, sequences/s."""
    with tempfile.TemporaryDirectory() as folder:
        output, data = Path(folder) / "model", Path(folder) / "texts.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        settings = {"run.batch": batch, "run.steps": steps, "negatives.size": QUEUE, "run.dropout": 0.0}
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        program = Path(sys.executable).with_name("searchengine")
        command = [
            str(program),
            "train",
            "contriever",
            "--data",
            str(data),
            "--output",
            str(output),
            "--no-gate",
            *words,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (output / "training" / "log.jsonl").read_text().splitlines()]
    rates = [float(line["examples_per_second"]) for line in lines if "loss" in line]
    return 2 * statistics.median(rates)


def straightforward(texts: list[str], batch: int, steps: int, *, bfloat16: bool) -> float:
    """Train the same way with a loop of a screen's length; sequences/s, its median over tens of steps."""
    folder = pretrained.default_folder(cache_root())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    keys = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-5)
    tokens = [ids for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] if len(ids) >= 16]
    rng = np.random.default_rng(0)
    queue = torch.zeros(0, 384)

    def crop(ids: list[int]) -> list[int]:
        window = ids[:WINDOW]
        length = max(1, round(rng.uniform(0.05, 0.5) * len(window)))
        start = int(rng.integers(len(window) - length + 1))
        kept = [one for one in window[start : start + length] if rng.random() >= 0.1]
        return [tokenizer.cls_token_id, *(kept or window[start : start + 1]), tokenizer.sep_token_id]

    def vectors(encoder: torch.nn.Module, sides: list[list[int]]) -> torch.Tensor:
        fed = tokenizer.pad({"input_ids": sides}, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            states = encoder(**fed).last_hidden_state.float()
        mask = fed["attention_mask"][..., None].float()
        return functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)

    rates, started = [], time.monotonic()
    for step in range(steps):
        chosen = [tokens[number] for number in rng.integers(len(tokens), size=batch)]
        query = vectors(model, [crop(ids) for ids in chosen])
        with torch.no_grad():
            key = vectors(keys, [crop(ids) for ids in chosen])
        logits = torch.cat([query @ key.T, query @ queue.T], dim=1) / TEMPERATURE
        loss = functional.cross_entropy(logits, torch.arange(batch))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            for slow, fast in zip(keys.parameters(), model.parameters(), strict=True):
                slow.mul_(0.9995).add_(fast, alpha=0.0005)
        queue = torch.cat([queue, key])[-QUEUE:]
        if (step + 1) % 10 == 0:
            rates.append(20 * batch / (time.monotonic() - started))
            started = time.monotonic()
    return statistics.median(rates)


if __name__ == "__main__":
    main()
