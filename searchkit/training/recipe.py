"""The recipe: every number that decides what a training run does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from searchkit.settings import Settings


class Recipe(Settings):
    """How a cross-encoder is trained. The defaults are those of the model card that this project grew from.

    31,000 pairs (1,000 queries, each with one positive and thirty mined negatives) at these settings are 5,814
    steps.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Pairs a step.
        learning_rate: Peak of the schedule.
        schedule: "linear" falls to zero at the last step; "constant" stays at the peak; "cosine" falls as half a wave.
        warmup_ratio: Share of the steps over which the rate rises to its peak.
        weight_decay: AdamW's decoupled decay.
        adam_beta1: AdamW's decay of the gradient's mean.
        adam_beta2: AdamW's decay of the gradient's square.
        adam_epsilon: AdamW's term against division by zero.
        max_grad_norm: Gradients longer than this are cut to it.
        positive_weight: Factor on the loss of relevant pairs; ``None`` weighs all pairs alike, which keeps the logits
            near the log-odds of the training pairs.
        max_length: Longest pair in tokens, special tokens included; the passage's end is cut first.
        seed: Seeds the shuffling, the dropout and the new classification layer.
        precision: "fp32" everywhere; "bf16" and "fp16" compute in half precision and keep the weights in fp32.
        logging_steps: Steps between two lines of the training log.
        save_steps: Steps between two checkpoints.
        kept_checkpoints: Older checkpoints are deleted.
    """

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    schedule: Literal["linear", "constant", "cosine"] = "linear"
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    adam_epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    positive_weight: float | None = Field(default=None, gt=0)
    max_length: int = Field(default=512, ge=8)
    seed: int = Field(default=42, ge=0, lt=2**32)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    logging_steps: int = Field(default=500, ge=1)
    save_steps: int = Field(default=500, ge=1)
    kept_checkpoints: int = Field(default=2, ge=1)

    def step_count(self, pair_count: int) -> int:
        """Return how many optimizer steps ``pair_count`` pairs take; the last batch of an epoch may be short."""
        return self.epochs * -(-pair_count // self.batch_size)
