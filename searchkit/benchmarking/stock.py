"""The strongest plain opponent on a GPU: the stock model in half precision with nothing of Python left in its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.benchmarking.contestants import Circumstances, NotRunError, Pair
from searchkit.models.device import device_kind
from searchkit.models.quiet import no_progress_bars

_ROWS = 256
_LENGTH_STEP = 16
_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of one padded shape; the last rows of the last batch repeat its first."""

    rows: NDArray[np.int64]
    length: int
    inputs: dict[str, Any]


class StockGraphed:
    """transformers' own model: pre-tokenized, sorted, padded to a multiple of 16 tokens, each shape one CUDA graph.

    Without CUDA it runs without graphs, which is good for nothing but testing.

    Args:
        circumstances: Model, device, threads and length.
        rows: Rows of a batch; ``None`` for 256.
    """

    name = "stock, batches ready, graphed"
    is_ours = False

    def __init__(self, circumstances: Circumstances, rows: int | None = None) -> None:
        self._circumstances = circumstances
        self._rows = rows or _ROWS
        self._is_cuda = device_kind(circumstances.device) == "cuda"
        self._model: Any = None
        self._tokenizer: Any = None
        self._batches: dict[int, list[_Batch]] = {}
        self._runs: dict[int, Callable[[dict[str, Any]], Any]] = {}

    @property
    def setup(self) -> str:
        """Library, precision and device."""
        precision = "fp16" if self._is_cuda else "fp32"
        return f"transformers sdpa {precision} {self._circumstances.device}, {self._rows} rows a batch"

    def load(self) -> None:
        """Load the model and its tokenizer."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = str(self._circumstances.folder)
        with no_progress_bars():
            model = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float16 if self._is_cuda else torch.float32,
                attn_implementation="sdpa",
            )
        self._model = model.to(self._circumstances.device).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Tokenize, sort, pad and capture; `score` knows the pairs by the object, so pass it the same."""
        queries, texts = (list(side) for side in zip(*pairs, strict=True))
        encoded = self._tokenizer(queries, texts, truncation="longest_first", max_length=self._circumstances.max_length)
        order = np.argsort([-len(ids) for ids in encoded["input_ids"]], kind="stable")
        starts = range(0, len(order), self._rows)
        batches = [self._padded(encoded, order[start : start + self._rows]) for start in starts]
        for batch in batches:
            if batch.length not in self._runs:
                self._runs[batch.length] = self._captured(batch) if self._is_cuda else self._forward
        self._batches = {id(pairs): batches}

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits of the pairs that were prepared last."""
        import torch

        if id(pairs) not in self._batches:
            raise NotRunError(f"{self.name} scores only what it was prepared for")
        batches = self._batches[id(pairs)]
        with torch.inference_mode():
            found = torch.cat([self._runs[batch.length](batch.inputs)[: len(batch.rows)] for batch in batches])
            values = found.float().cpu().numpy()
        logits = np.empty(len(pairs), dtype=np.float32)
        logits[np.concatenate([batch.rows for batch in batches])] = values
        return logits

    def _padded(self, encoded: Any, rows: NDArray[np.int64]) -> _Batch:
        import torch

        longest = max(len(encoded["input_ids"][row]) for row in rows)
        length = min(-(-longest // _LENGTH_STEP) * _LENGTH_STEP, self._circumstances.max_length)
        inputs: dict[str, Any] = {}
        for name in ("input_ids", "token_type_ids"):
            if name in encoded:
                array = np.zeros((self._rows, length), dtype=np.int64)
                for place in range(self._rows):
                    ids = encoded[name][rows[place % len(rows)]]
                    array[place, : len(ids)] = ids
                inputs[name] = self._pinned(torch.from_numpy(array))
        lengths = torch.tensor([len(encoded["input_ids"][rows[place % len(rows)]]) for place in range(self._rows)])
        # A mask of four dimensions is used as it is; transformers asks the device about one of two, which no graph can.
        mask = (torch.arange(length)[None, :] < lengths[:, None])[:, None, None, :]
        inputs["attention_mask"] = self._pinned(mask.contiguous())
        return _Batch(np.asarray(rows, dtype=np.int64), length, inputs)

    def _pinned(self, tensor: Any) -> Any:
        return tensor.pin_memory() if self._is_cuda else tensor

    def _forward(self, inputs: dict[str, Any]) -> Any:
        return self._model(**inputs).logits[:, 0]

    def _captured(self, batch: _Batch) -> Callable[[dict[str, Any]], Any]:
        import torch

        held = {name: value.to(self._circumstances.device) for name, value in batch.inputs.items()}
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
        aside.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._forward(held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            logits = self._forward(held)

        def replay(inputs: dict[str, Any]) -> Any:
            for name, value in inputs.items():
                held[name].copy_(value, non_blocking=True)
            graph.replay()
            return logits.clone()

        return replay
