"""Train on a plan: resumable to the bit, two Python threads, bf16.

python -m benchmarks.default_model.train RUN [--threads N] [--minutes M]
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.default_model.network import build, score_batch
from benchmarks.default_model.planfile import GROUP, Plan

GROUPS_A_STEP = 16
AVERAGING = 0.995
BCE_WEIGHT = 0.5
WEIGHT_DECAY = 0.01
CHECKPOINT_S = 240
MICRO_BATCH_TOKENS = 5000
# A part of the listwise loss sees the logit beside the bi-encoder's cosine, as the blend does at search time: the model
# then learns most where stage 1 errs. The factor is the ratio of the two weights in the first model's fitted blend.
BESIDE_SHARE = 0.35
COSINE_WEIGHT = 10.0
TEACHER_SCALE = 20.0  # inverse temperature of the bi-encoder's distribution over a group
KEPT = 2


@dataclass
class State:
    """What a checkpoint holds."""

    model: Any
    optimizer: torch.optim.AdamW
    average: list[torch.Tensor]
    step: int = 0
    pairs: int = 0

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def new_state(base: Path) -> State:
    model = build(base)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return State(model, torch.optim.AdamW(groups, lr=1e-4), [parameter.detach().clone() for parameter in trained])


def save(state: State, run: Path) -> None:
    path = run / f"ck-{state.step:07d}.pt"
    part = path.with_suffix(".part")
    content = {
        "model": state.model.state_dict(),
        "opt": state.optimizer.state_dict(),
        "ema": state.average,
        "step": state.step,
        "pairs": state.pairs,
        "rng": torch.get_rng_state(),
    }
    torch.save(content, part)
    part.replace(path)
    for old in sorted(run.glob("ck-*.pt"))[:-KEPT]:
        old.unlink()


def newest_checkpoint(run: Path) -> Path | None:
    """Return the checkpoint of the most steps; its name has their number."""
    return max(run.glob("ck-*.pt"), default=None)


def restore(state: State, run: Path) -> None:
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        return
    content = torch.load(checkpoint, weights_only=True)
    state.model.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["opt"])
    for mine, stored in zip(state.average, content["ema"], strict=True):
        mine.copy_(stored)
    state.step, state.pairs = content["step"], content["pairs"]
    torch.set_rng_state(content["rng"])


def learning_rate(schedule: list[list[float]], pairs: int) -> float:
    """Linear between the points (pairs seen, rate); the file may be changed while the run goes on."""
    return float(np.interp(pairs, [point[0] for point in schedule], [point[1] for point in schedule]))


def micro_batches(lengths: np.ndarray) -> list[list[int]]:
    """Places sorted by length, cut where padding to the longest would exceed the budget."""
    batches: list[list[int]] = []
    current: list[int] = []
    for place in np.argsort(lengths, kind="stable"):
        if current and lengths[place] * (len(current) + 1) > MICRO_BATCH_TOKENS:
            batches.append(current)
            current = []
        current.append(int(place))
    return [*batches, current]


def backward(
    state: State, plan: Plan, items: np.ndarray, group_count: int, pair_count: int
) -> tuple[float, float, int]:
    """Add the gradients of some groups of the step; return their share of both losses and the groups won."""
    logits: list[torch.Tensor] = []
    order: list[int] = []
    with torch.autocast("cpu", torch.bfloat16):
        for batch in micro_batches(plan.lengths(items)):
            logits.append(score_batch(state.model, *plan.batch(items[batch])))
            order += batch
    restored = torch.empty(len(order), dtype=torch.long)
    restored[torch.tensor(order)] = torch.arange(len(order))
    scores = torch.cat(logits).float()[restored].view(-1, GROUP)
    labels = torch.from_numpy(plan.labels[items].astype(np.float32)).view(-1, GROUP)
    dense = torch.from_numpy(plan.dense[items].astype(np.float32)).view(-1, GROUP)
    taught = torch.from_numpy(plan.taught[items].astype(np.float32)).view(-1, GROUP)[:, 0]
    targets = _targets(labels, dense, taught)
    alone = torch.logsumexp(scores, 1) - (scores * targets).sum(1)
    blended = scores + COSINE_WEIGHT * dense.nan_to_num(0.0)
    beside = torch.logsumexp(blended, 1) - (blended * targets).sum(1)
    # Groups that the bi-encoder alone teaches have nothing left to learn beside it.
    share = BESIDE_SHARE * (taught < 1).float()
    listwise = ((1 - share) * alone + share * beside).sum() / group_count
    binary = functional.binary_cross_entropy_with_logits(scores, labels, reduction="sum") / pair_count
    (listwise + BCE_WEIGHT * binary).backward()
    won = int((scores.argmax(1) == labels.argmax(1)).sum())
    return float(listwise.detach()), float(binary.detach()), won


def _targets(labels: torch.Tensor, dense: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Return what each group's distribution should be, rows that sum to 1."""
    known = torch.softmax(TEACHER_SCALE * dense.nan_to_num(0.0), 1)
    share = (taught * (~dense.isnan().any(1)).float())[:, None]
    return (1 - share) * labels / labels.sum(1, keepdim=True).clamp(min=1e-6) + share * known


def take_step(state: State, plan: Plan, pool: ThreadPoolExecutor, threads: int, rate: float) -> tuple[float, ...]:
    first = state.step * GROUPS_A_STEP
    groups = np.arange(first, first + GROUPS_A_STEP)
    heaviest = groups[np.argsort(-plan.group_tokens(groups), kind="stable")]
    # Dealt out like cards, there and back, so that every thread gets about the same number of tokens.
    turns = [*range(threads), *reversed(range(threads))]
    hands = [
        [group for place, group in enumerate(heaviest) if turns[place % len(turns)] == hand] for hand in range(threads)
    ]
    parts = list(
        pool.map(
            lambda hand: backward(
                state, plan, plan.items(np.sort(np.array(hand))), GROUPS_A_STEP, GROUPS_A_STEP * GROUP
            ),
            [hand for hand in hands if hand],
        )
    )
    norm = torch.nn.utils.clip_grad_norm_(state.parameters, 1.0)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.pairs += GROUPS_A_STEP * GROUP
    keep = min(AVERAGING, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        torch._foreach_lerp_(state.average, [parameter.detach() for parameter in state.parameters], 1 - keep)
    listwise, binary, won = (sum(column) for column in zip(*parts, strict=True))
    return listwise + BCE_WEIGHT * binary, listwise, binary, float(norm), won / GROUPS_A_STEP


def run_training(run: Path, base: Path, threads: int, minutes: float) -> None:
    plan = Plan.read(run / "plan.npz")
    state = new_state(base)
    restore(state, run)
    started = saved = logged = time.monotonic()
    recent: list[tuple[float, ...]] = []
    with ThreadPoolExecutor(threads) as pool, (run / "log.jsonl").open("a", encoding="utf-8") as log:
        while state.step < plan.group_count // GROUPS_A_STEP and time.monotonic() - started < minutes * 60:
            rate = learning_rate(json.loads((run / "schedule.json").read_text(encoding="utf-8")), state.pairs)
            recent.append(take_step(state, plan, pool, threads, rate))
            if state.step % 10 == 0:
                loss, listwise, binary, norm, won = np.mean(recent, axis=0)
                line = {"step": state.step, "pairs": state.pairs, "loss": loss, "ce": listwise, "bce": binary}
                line |= {"grad_norm": norm, "group_acc": won, "lr": rate}
                line |= {"pairs_per_s": len(recent) * GROUPS_A_STEP * GROUP / (time.monotonic() - logged)}
                log.write(json.dumps({name: round(value, 8) for name, value in line.items()}) + "\n")
                log.flush()
                recent, logged = [], time.monotonic()
            if time.monotonic() - saved > CHECKPOINT_S:
                save(state, run)
                saved = time.monotonic()
    save(state, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder with plan.npz and schedule.json")
    parser.add_argument("--base", default="all-MiniLM-L6-v2", help="weights to start from; a reranker of ours goes on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9)
    options = parser.parse_args()
    from searchkit.models.lookup import find_model

    torch.set_num_threads(1)
    run_training(options.run, find_model(options.base).path, options.threads, options.minutes)


if __name__ == "__main__":
    main()
