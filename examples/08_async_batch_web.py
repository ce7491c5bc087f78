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
# # Async and batch in a web app
#
# At the end you will know how to search from an event loop without stalling it, what a batch saves, and how to keep
# an answer within a time that you promised. `fastapi_app.py` beside this notebook is the endpoint.

# %%
import asyncio
import json
import tempfile
import time
from pathlib import Path

from searchkit import SearchKit

kit = SearchKit("handbook", path=tempfile.mkdtemp())
with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    kit.add(json.loads(line) for line in lines)
questions = [
    "how are hairdressers paid",
    "how long is a break",
    "can I get my money back",
    "what happens when I am ill",
    "my device was stolen",
    "when is the shop closed",
    "unused vacation at the end of the year",
    "keeping the tools hygienic",
]
kit.search(questions[0])  # models are loaded by the first search

# %% [markdown]
# ## Many users at once
# `asearch` runs the search in a thread; the loop keeps serving. A ticker beside it shows for how long the loop stood
# still.


# %%
async def longest_stall_ms(work):
    task, longest, last = asyncio.ensure_future(work), 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return await task, longest * 1000


results, stall_ms = await longest_stall_ms(asyncio.gather(*(kit.asearch(question, top_k=3) for question in questions)))
assert [result.query for result in results] == questions
print(f"{len(results)} concurrent searches, the loop stood still for {stall_ms:.0f} ms at most")

# %% [markdown]
# ## One batch
# Questions that are there at the same time (a list from an agent, sub-questions) share the batches of both stages.

# %%
batched = await kit.asearch_batch(questions, top_k=3)
assert [[hit.id for hit in result] for result in batched] == [[hit.id for hit in result] for result in results]

# %% [markdown]
# ## A deadline
# `deadline_s` bounds the whole search. What could not be done in time is said on the result, never left out silently.

# %%
hurried = await kit.asearch("how do I become a master", deadline_s=5.0, top_k=3)
print(hurried.status, "-", hurried.reason or "everything was scored", f"({hurried.timings.total:.0f} ms)")
assert hurried.status in {"reranked", "partial", "degraded"}

# %% [markdown]
# ## The measured result
# Eight questions one after the other, and in one batch. New questions, since scores of known pairs are remembered.

# %%
first = [f"{question} in the salon" for question in questions]
second = [f"{question} at work" for question in questions]
start = time.perf_counter()
alone = [kit.search(question) for question in first]
one_by_one_s = time.perf_counter() - start
start = time.perf_counter()
together = kit.search_batch(second)
batch_s = time.perf_counter() - start
print(f"{one_by_one_s / len(first) * 1000:.0f} ms a question alone, {batch_s / len(second) * 1000:.0f} ms in the batch")
assert all(result.cached_count == 0 for result in [*alone, *together])  # every score was computed
kit.close()
