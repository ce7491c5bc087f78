"""Vectors of the pools' texts from the bi-encoder, for negatives and for what the first stage would say.

python -m benchmarks.default_model.embeddings POOLS FILE [--more FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.default_model.network import build, encode_batch
from benchmarks.default_model.pools import DENSE_POOLS, read_pools
from benchmarks.default_model.written import read_written
from searchkit.models.lookup import find_model
from searchkit.models.tokenizer import load_tokenizer

TOKENS = 96
BATCH_TOKENS = 4096


def key(text: str) -> str:
    """Return what a text's vector is found by."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Vectors:
    """Unit vectors in half precision by text."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as stored:
            self._rows = {name: row for row, name in enumerate(stored["keys"].tolist())}
            self._vectors = stored["vectors"]

    def __contains__(self, text: str) -> bool:
        return key(text) in self._rows

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 vectors, shape ``(len(texts), 384)``."""
        return self._vectors[[self._rows[key(text)] for text in texts]].astype(np.float32)

    def complete(self, texts: Iterable[str]) -> None:
        """Encode those of ``texts`` that are not known yet."""
        missing = [text for text in dict.fromkeys(texts) if text not in self]
        if missing:
            start = len(self._vectors)
            self._vectors = np.concatenate([self._vectors, encode(missing)])
            self._rows |= {key(text): start + place for place, text in enumerate(missing)}


def encode(texts: Sequence[str], threads: int = 2) -> np.ndarray:
    """Return the unit vectors of texts in bf16 arithmetic, shape ``(len(texts), 384)``, float16."""
    base = find_model("all-MiniLM-L6-v2").path
    tokenizer, model = load_tokenizer(base), build(base).eval().to(torch.bfloat16)
    tokenizer.enable_truncation(TOKENS)
    ids = [np.array(row.ids, np.int64) for row in tokenizer.encode_batch_fast([text[: TOKENS * 8] for text in texts])]
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    batches: list[list[int]] = [[]]
    for place in order:
        if batches[-1] and len(ids[place]) * (len(batches[-1]) + 1) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(place)
    found = np.zeros((len(texts), 384), np.float16)
    started = time.monotonic()

    def work(batch: list[int]) -> None:
        longest = max(len(ids[place]) for place in batch)
        padded = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, place in enumerate(batch):
            padded[row, : len(ids[place])] = torch.from_numpy(ids[place])
            mask[row, : len(ids[place])] = True
        with torch.inference_mode():
            found[batch] = _unit(encode_batch(model, padded, mask)).numpy()

    with ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(work, batches)):
            if done % 50 == 0:
                print(f"{done}/{len(batches)} batches, {time.monotonic() - started:.0f} s", flush=True)
    return found


def _unit(vectors: Any) -> Any:
    return torch.nn.functional.normalize(vectors.float(), dim=1).half()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--more", type=Path, help="a folder of further pools")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts: dict[str, None] = {}
    pools = read_pools(options.pools, options.more)
    texts |= dict.fromkeys(query.text for query in read_written(pools))
    for name, examples in pools.items():
        if name in DENSE_POOLS:
            texts |= dict.fromkeys(text for example in examples for text in (example.query, example.positive))
    print(f"{len(texts)} texts")
    np.savez(options.file, keys=np.array([key(text) for text in texts]), vectors=encode(list(texts)))


if __name__ == "__main__":
    main()
