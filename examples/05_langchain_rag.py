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
# # RAG with LangChain
#
# At the end you will have a chain that retrieves in two stages, with scores kept, criteria per call and one batch for
# many questions; and you will know how to put our second stage behind a retriever that you already have.
#
# The chat model is a fake one that repeats its prompt, so that this runs offline: put yours in its place.

# %%
import json
import tempfile
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool

from searchkit import SearchKit
from searchkit.evaluation import read_judged
from searchkit.integrations.langchain import SearchKitCompressor, SearchKitRetriever

kit = SearchKit("handbook", path=tempfile.mkdtemp())
with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    kit.add(json.loads(line) for line in lines)

# %% [markdown]
# ## The retriever
# A document keeps its id, its metadata and its score, a probability between 0 and 1.

# %%
retriever = SearchKitRetriever(kit=kit, k=3)
for document in retriever.invoke("how are hairdressers paid"):
    print(document.id, round(document.metadata["relevance_score"], 2), document.page_content)

# %% [markdown]
# Everything that a search takes can be given at construction, and most of it per call.

# %%
for document in retriever.invoke(
    "how are hairdressers paid",
    k=2,
    criteria="A relevant passage states an amount in euros.",
    filter={"country": "DE"},
):
    print(document.id, document.page_content)
    assert document.metadata["country"] == "DE"

# %% [markdown]
# ## The chain


# %%
def join(documents: list[Document]) -> str:
    return "\n".join(f"[{document.id}] {document.page_content}" for document in documents)


prompt = ChatPromptTemplate.from_template("Answer from these passages alone.\n{context}\n\nQuestion: {question}")
model = RunnableLambda(lambda value: "(the model would answer from)\n" + value.to_string())  # your chat model
chain = {"context": retriever | join, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
print(chain.invoke("what do I do when dye gets into an eye"))

# %% [markdown]
# Many questions are one batch in both stages, also through the chain. `await chain.ainvoke(...)` does not block the
# loop.

# %%
questions = ["when are wages paid", "how long is a break", "may I carry over holiday"]
answers = chain.batch(questions)
assert len(answers) == 3
assert "[hours-break]" in await chain.ainvoke("how long is a break")

# %% [markdown]
# ## A tool for an agent

# %%
tool = create_retriever_tool(retriever, "handbook", "Searches the handbook of the salons.")
print(tool.invoke({"query": "how long is a break"}).splitlines()[0])

# %% [markdown]
# ## Behind a retriever of yours
# `SearchKitCompressor` reranks what any retriever found. It fits into LangChain's `ContextualCompressionRetriever`;
# here it is called directly. It returns copies and leaves your documents alone.

# %%
found = SearchKitRetriever(kit=kit, k=20, rerank=False).invoke("can I get my money back")
compressor = SearchKitCompressor(top_n=2)
best = compressor.compress_documents(found, "can I get my money back")
for document in best:
    print(round(document.metadata["relevance_score"], 2), document.page_content)

# %% [markdown]
# ## The measured result
# The 24 judged questions of the handbook in one batch each: for how many of them the first document answers, with the
# first stage alone, with its best 4 reranked (what LangChain's defaults do) and with its best 50; and how many
# documents carry a score. Twenty-four questions tell only large differences apart.

# %%
judged = read_judged("handbook")
questions = [query.text for query in judged.queries]
ways = {
    "first stage": SearchKitRetriever(kit=kit, rerank=False),
    "best 4 reranked": SearchKitRetriever(kit=kit, candidate_depth=4),
    "best 50 reranked": SearchKitRetriever(kit=kit),
}
for name, way in ways.items():
    found = dict(zip((query.id for query in judged.queries), way.batch(questions), strict=True))
    right = sum(judged.qrels[query].get(documents[0].id, 0) == 2 for query, documents in found.items())
    scored = sum("relevance_score" in document.metadata for documents in found.values() for document in documents)
    print(f"{name}: {right} of {len(questions)} first documents answer, {scored} documents carry a score")
    assert scored == sum(len(documents) for documents in found.values())
    assert right > len(questions) / 3
kit.close()
