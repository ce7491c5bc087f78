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
# # Criteria
#
# At the end you will know when to say in words what makes a passage relevant, how to word it, and what it is worth:
# the same questions are measured with their criteria and without.

# %%
import json
import tempfile
from pathlib import Path

from searchkit import SearchKit
from searchkit.evaluation import Configuration, JudgedQueries, compare, read_judged

kit = SearchKit("handbook", path=tempfile.mkdtemp())
with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    kit.add(json.loads(line) for line in lines)

# %% [markdown]
# One question, three needs. The words of the question are the same, so stage 1 finds the same candidates; only stage
# 2 reads the criteria.

# %%
question = "how are hairdressers paid"
needs = (
    None,
    "A relevant passage states a yearly wage in dollars.",
    "A relevant passage states an amount in euros.",
    "A relevant passage says when the money arrives.",
)
results = kit.search_batch([question] * len(needs), criteria=needs, top_k=3)
for result in results:
    print(result.criteria)
    for hit in result:
        print(f"   {hit.score:.2f}  {hit.text}")
assert [result.criteria for result in results] == list(needs)

# %% [markdown]
# Write criteria as a sentence about the passage, with what can be seen in it: "states an amount in euros", not "good"
# or "recent". What is a fact of the metadata (a country, a year) belongs into a filter, which is exact and free.

# %%
everything = read_judged("handbook")
queries = tuple(query for query in everything.queries if query.criteria)
judged = JudgedQueries(name="criteria", queries=queries, qrels={one.id: everything.qrels[one.id] for one in queries})
report, _ = compare(
    kit,
    judged,
    [Configuration(rerank=False), Configuration(criteria=False), Configuration(criteria=True)],
    measures=["nDCG@10"],
    timed_count=0,
)

# %% [markdown]
# The measured result: the judged questions that have criteria, without and with them.

# %%
for system in report.systems:
    print(f"{system.measures['nDCG@10']:.3f}  {system.name}")
without, reading = (system.measures["nDCG@10"] for system in report.systems[1:])
print(f"criteria are worth {reading - without:+.3f} nDCG@10 on {len(judged)} questions")
assert reading > without
kit.close()
