"""Our torch engine with one part after the other switched on: what each of them is worth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from searchkit.benchmarking.contestants import Circumstances
from searchkit.benchmarking.tokens import EngineAlone
from searchkit.models.tokenizer import load_transformers_tokenizer
from searchkit.reranking.loading import LoadedModel
from searchkit.reranking.pairing import PairTokenizer

if TYPE_CHECKING:
    from searchkit.reranking.engines.torch_engine import LayoutName, TorchEngine


class Ablation(EngineAlone):
    """One way to run the model on torch, its batches ready.

    Args:
        circumstances: Model, device, threads and length.
        name: What reports call it.
        layout: See `searchkit.reranking.engines.torch_engine.TorchEngine`.
        uses_graphs: Whether the fast path may use CUDA graphs.
        uses_triton: Whether it may use Triton kernels.
        batch_invariant: Whether scores must not depend on batch mates.
    """

    def __init__(
        self,
        circumstances: Circumstances,
        name: str,
        layout: LayoutName,
        *,
        uses_graphs: bool = False,
        uses_triton: bool = False,
        batch_invariant: bool = False,
    ) -> None:
        super().__init__(circumstances)
        self.name = name
        self._layout: LayoutName = layout
        self._uses_graphs, self._uses_triton = uses_graphs, uses_triton
        self._batch_invariant = batch_invariant
        self._torch: TorchEngine | None = None

    @property
    def setup(self) -> str:
        """Library, precision, device, layout, and what the layout found out about itself."""
        return f"{self.model.engine.name} {json.dumps(self._torch.details)}" if self._torch is not None else ""

    def load(self) -> None:
        """Load the model."""
        from searchkit.reranking.engines.fast_model import FastSettings
        from searchkit.reranking.engines.tiles import InvariantEngine
        from searchkit.reranking.engines.torch_engine import TorchEngine

        here = self._circumstances
        facts = load_transformers_tokenizer(here.folder)
        pairing = PairTokenizer(facts.tokenizer, here.max_length, facts.truncation_side)
        settings = FastSettings(uses_graphs=self._uses_graphs, uses_triton=self._uses_triton)
        engine = TorchEngine(here.folder, facts, here.device, layout=self._layout, settings=settings)
        self._torch = engine
        runs = InvariantEngine(engine, engine.tiling(here.max_length)) if self._batch_invariant else engine
        self._model = LoadedModel(pairing, runs)


def ablations(circumstances: Circumstances) -> list[Ablation]:
    """Return the ways to run a BERT, each with one part more than the one before it, and the batch-invariant mode."""
    return [
        Ablation(circumstances, "padded", "padded"),
        Ablation(circumstances, "generic packed", "packed"),
        Ablation(circumstances, "bert-fast", "bert-fast"),
        Ablation(circumstances, "bert-fast, triton", "bert-fast", uses_triton=True),
        Ablation(circumstances, "bert-fast, graphs", "bert-fast", uses_graphs=True),
        Ablation(circumstances, "bert-fast, graphs, triton", "bert-fast", uses_graphs=True, uses_triton=True),
        Ablation(circumstances, "batch-invariant", "bert-fast", uses_graphs=True, batch_invariant=True),
    ]
