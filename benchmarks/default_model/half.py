"""The reranker in bf16 on a shared CPU: four times as fast as single precision where AVX-512 has it.

For choosing between checkpoints only; what is reported is measured in single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from benchmarks.default_model.network import build, score_batch
from benchmarks.default_model.train import micro_batches
from searchkit import CrossEncoderReranker
from searchkit.deadline import Deadline
from searchkit.stages import PairScores

_THREADS = 2


class HalfReranker(CrossEncoderReranker):
    """Scores pairs with the training code's network: one Python thread a core, torch's own threads off."""

    def score_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        deadline: Deadline | None = None,  # noqa: ARG002  # nobody waits for this one
        tokens: Sequence[str | None] | None = None,  # noqa: ARG002  # texts are tokenised anew
    ) -> PairScores:
        """Score all pairs, whatever the deadline."""
        torch.set_num_threads(1)
        if not hasattr(self, "_network"):
            self._network = build(self.model_path).eval().to(torch.bfloat16)
        encoded = self._loaded.get().pairing.encode([(query, text) for query, text in pairs])
        lengths = np.array([len(pair.ids) for pair in encoded])
        logits = np.zeros(len(encoded), np.float32)

        def work(batch: list[int]) -> None:
            shape = (len(batch), int(lengths[batch].max()))
            ids, types, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
            for row, place in enumerate(batch):
                ids[row, : lengths[place]], types[row, : lengths[place]] = encoded[place].ids, encoded[place].type_ids
                mask[row, : lengths[place]] = True
            with torch.inference_mode():
                found = score_batch(self._network, *(torch.from_numpy(array) for array in (ids, types, mask)))
            logits[batch] = found.float().numpy()

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(work, micro_batches(lengths)))
        truncated = np.array([pair.truncated_tokens for pair in encoded], dtype=np.int64)
        return PairScores(logits, truncated, "bf16")


def reranker_of(model: str, precision: str) -> CrossEncoderReranker:
    """Return the reranker of a model in "bf16" or, as users get it on a CPU, in "fp32"."""
    if precision == "bf16":
        return HalfReranker(model, device="cpu", engine="torch")
    return CrossEncoderReranker(model, device="cpu")
