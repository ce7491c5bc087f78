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
# # RAG with LlamaIndex
#
# At the end you will have a query engine that retrieves in two stages, with criteria and filters per question, and
# you will know how to put our second stage behind a retriever that you already have.
#
# The language model is LlamaIndex's `MockLLM`, which repeats its prompt, so that this runs offline.

# %%
import asyncio
import json
import tempfile
from pathlib import Path

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from searchkit import SearchKit
from searchkit.evaluation import read_judged
from searchkit.integrations.llamaindex import SearchKitQuery, SearchKitRerank, SearchKitRetriever

kit = SearchKit("handbook", path=tempfile.mkdtemp())
with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    kit.add(json.loads(line) for line in lines)

# %% [markdown]
# ## The retriever
# Scores lie beside the node, never in its metadata: they do not reach the prompt, and a passage has one hash.

# %%
retriever = SearchKitRetriever(kit=kit, similarity_top_k=3)
for node in retriever.retrieve("how are hairdressers paid"):
    print(node.node_id, round(node.score, 2), f"(stage 1: rank {node.retrieval_rank})", node.text)
    assert "score" not in node.metadata

# %% [markdown]
# A `SearchKitQuery` carries criteria and a filter wherever LlamaIndex takes a query. Filters may be LlamaIndex's own.

# %%
query = SearchKitQuery(
    "how are hairdressers paid",
    criteria="A relevant passage states an amount in euros.",
    filter=MetadataFilters(filters=[MetadataFilter(key="country", value="DE")]),
)
for node in retriever.retrieve(query):
    print(node.node_id, node.text)
    assert node.metadata["country"] == "DE"

# %% [markdown]
# ## The query engine

# %%
engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
response = engine.query("what do I do when dye gets into an eye")
print([(node.node_id, round(node.score, 2)) for node in response.source_nodes])
assert len((await engine.aquery(query)).source_nodes) == 3

# %% [markdown]
# ## Fusion
# Two retrievers over the same kit agree on what a passage is, so that fusion merges instead of doubling.

# %%
legs = [SearchKitRetriever(kit=kit, similarity_top_k=10, mode=mode, rerank=False) for mode in ("dense", "sparse")]
fused = QueryFusionRetriever(legs, llm=MockLLM(), mode="reciprocal_rerank", num_queries=1, similarity_top_k=20)
nodes = fused.retrieve("can I get my money back")
assert len({node.node_id for node in nodes}) == len(nodes)
print(len(nodes), "passages from two retrievers, each once")

# %% [markdown]
# ## Behind a retriever of yours
# `SearchKitRerank` is a node postprocessor. It ranks on the text, returns copies, and keeps the first stage's score.

# %%
rerank = SearchKitRerank(top_n=2)
best = rerank.postprocess_nodes(nodes, query_str="can I get my money back")
for node in best:
    print(f"{node.score:.2f}  was number {node.retrieval_rank} with {node.retrieval_score:.3f}:  {node.text}")
again = SearchKitRerank.from_dict(rerank.to_dict())
assert again.top_n == 2
assert all(node.logit is not None for node in best)

# %% [markdown]
# ## The measured result
# The 24 judged questions of the handbook, all at once: for how many of them the first node answers, with the first
# stage alone, with its best 2 reranked (what LlamaIndex's defaults do) and with its best 50. Twenty-four
# questions tell only large differences apart.

# %%
judged = read_judged("handbook")
ways = {
    "first stage": SearchKitRetriever(kit=kit, rerank=False),
    "best 2 reranked": SearchKitRetriever(kit=kit, similarity_top_k=2, candidate_depth=2),
    "best 50 reranked": SearchKitRetriever(kit=kit),
}
for name, way in ways.items():
    found = await asyncio.gather(*(way.aretrieve(query.text) for query in judged.queries))
    pairs = zip(judged.queries, found, strict=True)
    right = sum(judged.qrels[query.id].get(nodes[0].node_id, 0) == 2 for query, nodes in pairs)
    print(f"{name}: {right} of {len(judged)} first nodes answer")
    assert right > len(judged) / 3
kit.close()
