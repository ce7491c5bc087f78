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
# # Evaluate on your own queries
#
# At the end you will know how to write judgments, compare ways to search on them, and read the recommendation, which
# may be not to rerank at all.

# %%
import json
import tempfile
from pathlib import Path

from searchkit import SearchKit
from searchkit.evaluation import Configuration, compare, read_judged, write_html

kit = SearchKit("handbook", path=tempfile.mkdtemp())
with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    kit.add(json.loads(line) for line in lines)

# %% [markdown]
# ## Judgments
# Two files: questions as your users ask them, and for each the ids of the passages that answer (2) or help (1). Write
# the questions before you look at what a search finds, fifty or more of them. Twenty-four, as here, tell only large
# differences apart.

# %%
print(Path("handbook/queries.jsonl").read_text(encoding="utf-8").splitlines()[0])
print(Path("handbook/qrels.tsv").read_text(encoding="utf-8").splitlines()[:3])
judged = read_judged("handbook")
assert len(judged) == 24

# %% [markdown]
# ## Compare

# %%
ways = [
    Configuration(mode="sparse", rerank=False),
    Configuration(mode="dense", rerank=False),
    Configuration(mode="hybrid", rerank=False),
    Configuration(mode="hybrid", candidate_depth=20),
]
report, runs = compare(kit, judged, ways, timed_count=4)
for system in report.systems:
    print(f"{system.measures['nDCG@10']:.3f}  {system.latency.p50_ms:>6.0f} ms  {system.name}")

# %% [markdown]
# ## Believe it?
# The lint says what makes the numbers smaller or less certain than they need be. Each difference to the best way
# without reranking comes with its confidence interval.

# %%
for note in report.lint:
    print("-", note.message)
for system in report.systems:
    if system.difference is not None:
        print(f"{system.name}: {system.difference.low:+.3f} .. {system.difference.high:+.3f}")

# %% [markdown]
# ## The measured result

# %%
for sentence in report.recommendation.sentences:
    print(sentence)
page = Path(tempfile.mkdtemp()) / "report.html"
write_html(report, page)
print("the whole report:", page.stat().st_size // 1024, "KiB of HTML")
assert report.recommendation.system in {system.name for system in report.systems}
kit.close()
