"""The same weights in other libraries, set up as their users do; each returns logits.

Traps that would make the comparison a lie: a model saved in half precision is run in half precision by
sentence-transformers unless told otherwise; sentence-transformers applies the activation that the model declares and
FlashRank always a sigmoid; FlashRank takes every core whatever the process may use.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchkit.benchmarking.contestants import Circumstances, Contestant, NotRunError, Pair
from searchkit.benchmarking.peer_files import PeerFolder
from searchkit.models.device import device_kind
from searchkit.models.quiet import no_progress_bars


class SentenceTransformersPeer:
    """``sentence_transformers.CrossEncoder`` on torch.

    Args:
        circumstances: Model, device, threads and length.
        precision: "fp32", "fp16" or "bf16"; ``None`` is fp32 on a CPU and fp16 on an accelerator.
    """

    is_ours = False

    def __init__(self, circumstances: Circumstances, precision: str | None = None) -> None:
        is_cpu = device_kind(circumstances.device) == "cpu"
        self._circumstances = circumstances
        self._precision = precision or ("fp32" if is_cpu else "fp16")
        self._is_default = precision is None
        self._model: Any = None
        self.batch_size = 32
        self.batch_sizes: tuple[int, ...] = (8, 16, 32, 64) if is_cpu else (32, 64, 128, 256, 512)

    @property
    def name(self) -> str:
        """What reports call it."""
        return "sentence-transformers" if self._is_default else f"sentence-transformers {self._precision}"

    @property
    def setup(self) -> str:
        """Library, precision, device and batch size."""
        return f"torch {self._precision} {self._circumstances.device}, batch {self.batch_size}"

    def load(self) -> None:
        """Load the model with Identity as its activation, whatever it declares.

        Raises:
            NotRunError: sentence-transformers is not installed.
        """
        _require("sentence_transformers", "sentence-transformers")
        import torch
        from sentence_transformers import CrossEncoder

        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[self._precision]
        with no_progress_bars():
            self._model = CrossEncoder(
                str(self._circumstances.folder),
                device=self._circumstances.device,
                max_length=self._circumstances.max_length,
                activation_fn=torch.nn.Identity(),
                local_files_only=True,
                model_kwargs={"dtype": dtype},
            )

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits."""
        # A list of lists of str is what its own `rank` passes; a FlashRank in the process may have switched INFO on.
        found = self._model.predict(list(pairs), batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)


class FastEmbedPeer:
    """``fastembed.rerank.cross_encoder.TextCrossEncoder`` on the CPU, with the same weights as a custom ONNX model.

    Args:
        circumstances: Model, device, threads and length.
        files: Where the ONNX export lies.
    """

    name = "fastembed"
    is_ours = False

    def __init__(self, circumstances: Circumstances, files: PeerFolder) -> None:
        self._circumstances = circumstances
        self._files = files
        self._model: Any = None
        self.batch_size = 64
        self.batch_sizes: tuple[int, ...] = (8, 16, 32, 64)

    @property
    def setup(self) -> str:
        """Library, precision, device and batch size."""
        return f"onnxruntime fp32 cpu, batch {self.batch_size}"

    def load(self) -> None:
        """Register the export under a name of its own and load it.

        Raises:
            NotRunError: fastembed is not installed, or the run is not about the CPU.
        """
        _require_cpu(self._circumstances)  # first: installing it would not help
        _require("fastembed", "fastembed")
        from fastembed.common.model_description import ModelSource
        from fastembed.rerank.cross_encoder import TextCrossEncoder

        name = f"searchkit/benchmark-{uuid.uuid4().hex}"  # a name can be registered once in a process
        folder = self._files.made()
        TextCrossEncoder.add_custom_model(model=name, sources=ModelSource(hf=name), model_file=PeerFolder.MODEL_FILE)
        self._model = TextCrossEncoder(
            name, specific_model_path=str(folder), threads=self._circumstances.threads, cuda=False
        )

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits, which is what fastembed's scores are."""
        return np.fromiter(self._model.rerank_pairs(list(pairs), batch_size=self.batch_size), dtype=np.float32)


class FlashRankPeer:
    """``flashrank.Ranker`` on the CPU, with the same weights. It scores all passages of a query in one batch.

    Args:
        circumstances: Model, device, threads and length.
        files: Where the ONNX export lies.
    """

    name = "FlashRank"
    is_ours = False

    def __init__(self, circumstances: Circumstances, files: PeerFolder) -> None:
        self._circumstances = circumstances
        self._files = files
        self._ranker: Any = None

    @property
    def setup(self) -> str:
        """Library, precision, device, and what was done to its scores."""
        return "onnxruntime fp32 cpu, one batch a query; logits from its sigmoid"

    def load(self) -> None:
        """Load the export, in a session that keeps to the threads of the run.

        Raises:
            NotRunError: FlashRank is not installed, or the run is not about the CPU.
        """
        _require_cpu(self._circumstances)  # first: installing it would not help
        _require("flashrank", "FlashRank")
        import onnxruntime
        from flashrank import Ranker
        from flashrank.Config import model_file_map

        folder = self._files.made()
        model_file_map[folder.name] = PeerFolder.MODEL_FILE
        with _root_logger_untouched():
            self._ranker = Ranker(folder.name, cache_dir=str(folder.parent), max_length=self._circumstances.max_length)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._circumstances.threads
        self._ranker.session = onnxruntime.InferenceSession(str(folder / PeerFolder.MODEL_FILE), options)

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the logits, recovered from FlashRank's probabilities (float32: exact to 1e-4 below a logit of 7)."""
        from flashrank import RerankRequest

        probabilities = np.empty(len(pairs), dtype=np.float64)
        for query, group in itertools.groupby(enumerate(pairs), key=lambda entry: entry[1][0]):
            passages = [{"id": row, "text": text} for row, (_, text) in group]
            for passage in self._ranker.rerank(RerankRequest(query=query, passages=passages)):
                probabilities[passage["id"]] = passage["score"]
        return _logits(probabilities)


def peers(circumstances: Circumstances, files: PeerFolder) -> list[Contestant]:
    """Return every library that can be compared with, installed or not."""
    return [
        SentenceTransformersPeer(circumstances),
        FastEmbedPeer(circumstances, files),
        FlashRankPeer(circumstances, files),
    ]


def _logits(probabilities: NDArray[np.float64]) -> NDArray[np.float32]:
    tiny = float(np.finfo(np.float32).eps) / 2  # what float32 can tell from 1
    kept = np.clip(probabilities, tiny, 1 - tiny)
    return (np.log(kept) - np.log1p(-kept)).astype(np.float32)


def _require(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise NotRunError(f"{package} is not installed: pip install {package}")


def _require_cpu(circumstances: Circumstances) -> None:
    if device_kind(circumstances.device) != "cpu":
        raise NotRunError(f"it is measured on the CPU only, and this run is about {circumstances.device}")


@contextmanager
def _root_logger_untouched() -> Iterator[None]:
    """FlashRank calls ``logging.basicConfig``, which does nothing where the root logger has a handler already."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
