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
# # Quick start
#
# At the end you will know how to index passages, search them in two stages, say in words what counts as relevant,
# filter, and read on the result what happened. Everything runs in this process: no server, no download.

# %%
import json
import tempfile
from pathlib import Path

from searchkit import SearchKit
from searchkit.evaluation import read_judged

with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    passages = [json.loads(line) for line in lines]
passages[0]

# %% [markdown]
# A passage is a string or a dict: `id` and `text`, everything else is metadata. The data of a kit lie in a folder.

# %%
kit = SearchKit("handbook", path=tempfile.mkdtemp())
report = kit.add(passages)
print(report.added, "added in", round(report.seconds, 1), "s")
assert report.added == len(passages)

# %% [markdown]
# Adding is idempotent: what is there with the same text and metadata is not encoded again.

# %%
assert kit.add(passages).unchanged == len(passages)

# %% [markdown]
# ## Search
# Stage 1 (a bi-encoder and BM25) finds candidates; stage 2 (a cross-encoder) reads each of them together with the
# question.


# %%
def show(result):
    for hit in result:
        print(f"{hit.rank}. {hit.score:.2f}  (stage 1: rank {hit.retrieval.rank})  {hit.text}")


result = kit.search("how are hairdressers paid", top_k=3)
show(result)
assert result.status == "reranked"

# %% [markdown]
# ## Criteria
# The same question, and what would make a passage a good answer to it. Only stage 2 reads the criteria.

# %%
wages = kit.search("how are hairdressers paid", criteria="A relevant passage states a yearly wage in dollars.", top_k=3)
show(wages)
assert wages.criteria

# %% [markdown]
# ## Filters and thresholds
# Filters are conditions on the metadata. `min_score` is a probability: where nothing is likely to be relevant,
# nothing comes.

# %%
german = kit.search("how are hairdressers paid", filter={"country": "DE", "year": {"gte": 2022}}, top_k=3)
show(german)
assert {hit.metadata["country"] for hit in german} == {"DE"}
nonsense = kit.search("how do volcanoes erupt", min_score=0.99)
print(len(nonsense), "hits above 0.99 for a question about volcanoes")

# %% [markdown]
# ## What happened
# The result tells which stages ran, on what, and how long each took.

# %%
print(result.status, "by", result.reranker, "on", result.engine)
print(result.candidate_count, "candidates,", result.scored_count, "scored,", result.truncated_count, "truncated")
milliseconds = {stage: round(result.timings[stage], 1) for stage in ("encode", "retrieve", "rerank", "total")}
print(milliseconds)
assert result.scored_count > 0

# %% [markdown]
# ## The measured result
# Beside the passages lie 24 judged questions. For how many of them does the first hit answer, with stage 1 alone and
# with both stages?

# %%
judged = read_judged("handbook")
questions = [query.text for query in judged.queries]
for rerank in (False, True):
    answers = zip(judged.queries, kit.search_batch(questions, rerank=rerank), strict=True)
    right = sum(judged.qrels[query.id].get(answer[0].id, 0) == 2 for query, answer in answers)
    print(f"{right} of {len(questions)} first hits answer", "after both stages" if rerank else "after stage 1")
    assert right > len(questions) / 3
kit.close()
