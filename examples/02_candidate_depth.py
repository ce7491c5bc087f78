# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Choose the candidate depth
#
# At the end you will know what `candidate_depth` costs and buys: stage 2 can only promote what stage 1 hands over,
# and reads every passage that it is handed.

# %%
import json
import tempfile
from pathlib import Path

from searchkit import SearchKit
from searchkit.evaluation import Configuration, compare, read_judged

kit = SearchKit("handbook", path=tempfile.mkdtemp())
with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    kit.add(json.loads(line) for line in lines)
judged = read_judged("handbook")
print(kit.count(), "passages,", len(judged), "judged questions")

# %% [markdown]
# One configuration a depth. `timed_count` questions of each are searched one at a time and timed, the others in
# batches.

# %%
depths = (2, 5, 20, 50)
report, _ = compare(
    kit, judged, [Configuration(candidate_depth=depth) for depth in depths], measures=["nDCG@10"], timed_count=4
)

# %% [markdown]
# `pool_recall` is the share of the relevant passages that reached stage 2; `oracle_ceiling` the nDCG@10 if stage 2
# were perfect. No reranker gets above it: where the ceiling is low, raise the depth before you change the model.

# %%
for depth, system in zip(depths, report.systems, strict=True):
    print(
        f"depth {depth:>2}: nDCG@10 {system.measures['nDCG@10']:.3f} of at most {system.oracle_ceiling:.3f},"
        f" recall of the candidates {system.pool_recall:.2f}, p50 {system.latency.p50_ms:.0f} ms"
    )
recalls = [system.pool_recall for system in report.systems]
assert recalls == sorted(recalls)
assert all(system.measures["nDCG@10"] <= system.oracle_ceiling + 1e-9 for system in report.systems)

# %% [markdown]
# The measured result: how much of what is relevant the shallowest and the deepest pool hold, and what the depth
# costs.

# %%
shallow, deep = report.systems[0], report.systems[-1]
print(f"recall {shallow.pool_recall:.2f} -> {deep.pool_recall:.2f}")
print(f"p50 {shallow.latency.p50_ms:.0f} ms -> {deep.latency.p50_ms:.0f} ms")
assert deep.pool_recall > shallow.pool_recall
kit.close()
