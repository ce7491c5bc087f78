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
# # Attach to an existing collection
#
# At the end you will know how to search a collection that another tool wrote, in two stages, without indexing
# anything again; what is detected, what you are asked for where it cannot be, and how to write to it.
#
# The collection here is written the way langchain-qdrant writes it, with plain qdrant-client, so that this runs
# without that package. In-memory; `url="http://..."` works the same.

# %%
import json
import uuid
from pathlib import Path

from qdrant_client import QdrantClient, models

from searchkit import SearchKit, SentenceEncoder
from searchkit.errors import CollectionError

with Path("handbook/passages.jsonl").open(encoding="utf-8") as lines:
    passages = [json.loads(line) for line in lines]
client = QdrantClient(":memory:")
encoder = SentenceEncoder()
size = models.VectorParams(size=encoder.dimension, distance=models.Distance.COSINE)
vectors = encoder.encode_passages([passage["text"] for passage in passages])


def write(name, payload_of):
    client.create_collection(name, vectors_config=size)
    points = [
        models.PointStruct(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, passage["id"])), vector=vector.tolist(), payload=payload_of(passage)
        )
        for passage, vector in zip(passages, vectors, strict=True)
    ]
    client.upsert(name, points)


def metadata_of(passage):
    return {key: value for key, value in passage.items() if key not in {"id", "text"}}


write("theirs", lambda passage: {"page_content": passage["text"], "metadata": metadata_of(passage)})

# %% [markdown]
# ## Attach
# Layout and vectors are detected, and a few texts are encoded again to make sure that the encoder is the one that
# wrote the vectors. Nothing is written unless you ask.

# %%
kit = SearchKit.attach("theirs", client=client, encoder=encoder)
print(kit)
result = kit.search("how are hairdressers paid", top_k=3)
for hit in result:
    print(hit.rank, round(hit.score, 2), hit.id[:8], hit.text)
assert result.status == "reranked"
assert result.mode == "dense"  # there is no BM25 vector in this collection, and the result says so

# %% [markdown]
# Filters name your metadata keys, wherever the layout keeps them (here under `metadata.`).

# %%
german = kit.search("how are hairdressers paid", filter={"country": "DE"}, top_k=3)
assert {hit.metadata["country"] for hit in german} == {"DE"}
print(kit.count({"country": "DE"}), "passages from Germany")

# %% [markdown]
# ## When it cannot be known
# An unknown layout is refused, with what was found and the argument that settles it. So is an encoder that wrote
# other vectors; a search over them would return noise without an error.

# %%
write("plain", lambda passage: {"body": passage["text"], **metadata_of(passage)})
try:
    SearchKit.attach("plain", client=client, encoder=encoder)
except CollectionError as error:
    print(error)
plain = SearchKit.attach("plain", client=client, encoder=encoder, text_field="body")
assert plain.search("how long is a break")[0].metadata["topic"] == "hours"

# %% [markdown]
# ## Writing
# With `read_only=False` passages can be added and deleted. The tool that owns the collection reads them as its own;
# where our points would be unlike the others (another encoder, a vector that we cannot write), attaching is refused.

# %%
with SearchKit.attach("theirs", client=client, encoder=encoder, read_only=False) as writable:
    point = str(uuid.uuid5(uuid.NAMESPACE_URL, "tea"))
    report = writable.add([{"id": point, "text": "Guests are offered tea and water.", "country": "DE"}])
    print(report.added, "added:", client.retrieve("theirs", [point])[0].payload)
    assert writable.search("what do guests drink")[0].id == point
    assert writable.delete([point]) == 1

# %% [markdown]
# ## The measured result
# Both kits answer alike: the same passages in the same order, one through each layout.

# %%
questions = ["how are hairdressers paid", "how long is a break", "can I get my money back"]
pairs = zip(kit.search_batch(questions, top_k=5), plain.search_batch(questions, top_k=5), strict=True)
same = sum([hit.text for hit in one] == [hit.text for hit in other] for one, other in pairs)
print(same, "of", len(questions), "answers are the same through both layouts")
assert same == len(questions)
assert client.count("theirs").count == len(passages)
kit.close()
plain.close()
