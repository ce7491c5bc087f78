"""The reranker's token ids, from `add` to the score: the whole kit with a real tokenizer and a tiny random model."""

from __future__ import annotations

import subprocess
import sys

from qdrant_client import QdrantClient

from searchkit import CrossEncoderReranker, SearchKit, SearchKitConfig
from searchkit.config import IngestConfig
from searchkit.testing import FakeEncoder

LONG = " ".join(f"In {1900 + n} the people of berlin counted {n} and more." for n in range(60))
PASSAGES = [
    {"id": "berlin", "text": "Berlin had a population of 3,520,031 people in 2016."},
    {"id": "paris", "text": "Paris had fewer people in 2016, naïve café 你好."},
    {"id": "long", "text": LONG},
    {"id": "other", "text": "The dollar fell."},
]
QUERIES = ["how many people live in berlin", "people " * 90]


def tiny(folder) -> CrossEncoderReranker:
    """One pair a batch: in which batch a pair lands depends on time, and in its last bit a score on the batch."""
    return CrossEncoderReranker(folder, device="cpu", engine="torch", token_budget=1)


def answers(kit):
    """What must not depend on stored token ids, of two queries, one with criteria."""
    results = [kit.search(query, criteria=criteria) for query, criteria in zip(QUERIES, (None, "in 2016"), strict=True)]
    assert {result.status for result in results} == {"reranked"}
    return [[(hit.id, hit.logit, hit.snippet, hit.truncated_tokens) for hit in result] for result in results], results


def test_scores_with_stored_token_ids_equal_those_without_to_the_last_bit(place, cross_encoder_folder):
    folder = cross_encoder_folder("bert", max_position_embeddings=128)
    off = SearchKitConfig(ingest=IngestConfig(store_tokens=False))
    found = []
    for name, config in (("with", SearchKitConfig()), ("without", off)):
        reranker = tiny(folder)
        with SearchKit(name, **place, encoder=FakeEncoder(max_tokens=256), reranker=reranker, config=config) as kit:
            kit.add(PASSAGES)
            found.append(answers(kit))
    (with_tokens, results), (without, others) = found
    assert with_tokens == without
    assert any(len({hit.snippet for hit in result}) > 1 for result in results), "no long passage was cut into windows"
    assert all(result.tokens_used_count >= 3 and result.tokens_refused_count == 0 for result in results)
    assert all(result.tokens_used_count == result.tokens_refused_count == 0 for result in others)


def test_changing_the_reranker_makes_token_ids_stale_until_the_passages_are_added_again(place, cross_encoder_folder):
    def open_kit(architecture):
        reranker = tiny(cross_encoder_folder(architecture))
        return SearchKit("things", **place, encoder=FakeEncoder(max_tokens=256), reranker=reranker)

    with open_kit("bert") as kit:
        kit.add(PASSAGES)
    with open_kit("xlm-roberta") as kit:
        stale, (first, _) = answers(kit)
        assert first.tokens_used_count == 0
        assert first.tokens_refused_count > 0
        assert kit.add(PASSAGES).tokens_renewed == len(PASSAGES)
    with open_kit("xlm-roberta") as kit:
        renewed, (first, _) = answers(kit)
        assert first.tokens_used_count > 0
        assert first.tokens_refused_count == 0
        assert stale == renewed


def test_token_ids_changed_from_outside_are_refused_and_counted(cross_encoder_folder):
    client = QdrantClient(":memory:")
    folder = cross_encoder_folder("bert")

    def open_kit():
        reranker = tiny(folder)
        return SearchKit("things", client=client, encoder=FakeEncoder(max_tokens=256), reranker=reranker)

    with open_kit() as kit:
        kit.add(PASSAGES[:2])
        expected, (before, _) = answers(kit)
    assert (before.tokens_used_count, before.tokens_refused_count) == (2, 0)
    records = client.scroll("things", with_payload=True)[0]
    swapped = dict(zip([one.id for one in records], [one.payload["tokens"] for one in records[::-1]], strict=True))
    for damage in (swapped, dict.fromkeys(swapped, 7), {key: one[:-5] for key, one in swapped.items()}):
        for point, tokens in damage.items():
            client.set_payload("things", {"tokens": tokens}, points=[point])
        with open_kit() as kit:
            found, (result, _) = answers(kit)
        assert found == expected
        assert (result.tokens_used_count, result.tokens_refused_count) == (0, 2)
    client.close()


def test_a_collection_of_another_tool_has_no_token_ids(cross_encoder_folder):
    client = QdrantClient(":memory:")
    encoder = FakeEncoder()
    from qdrant_client import models

    client.create_collection("theirs", vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE))
    vectors = encoder.encode_passages([passage["text"] for passage in PASSAGES]).tolist()
    points = [
        models.PointStruct(id=n, vector=vector, payload={"page_content": one["text"], "metadata": {}, "tokens": "x"})
        for n, (one, vector) in enumerate(zip(PASSAGES, vectors, strict=True))
    ]
    client.upsert("theirs", points)
    reranker = tiny(cross_encoder_folder("bert"))
    with SearchKit.attach("theirs", client=client, encoder=encoder, reranker=reranker) as kit:
        result = kit.search("people in berlin")
    assert result.status == "reranked"
    assert (result.tokens_used_count, result.tokens_refused_count) == (0, 0)
    client.close()


def test_a_missing_reranker_does_not_keep_passages_from_being_added(place, tmp_path):
    reranker = CrossEncoderReranker(tmp_path / "nowhere")
    with SearchKit("things", **place, encoder=FakeEncoder(), reranker=reranker) as kit:
        assert kit.add(PASSAGES[:2]).added == 2
        assert kit.add(PASSAGES[:2]).unchanged == 2
        assert {hit.id for hit in kit.search("people", rerank=False)} == {"berlin", "paris"}


def test_a_damaged_tokenizer_does_not_keep_passages_from_being_added(place, tmp_path, cross_encoder_folder, caplog):
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(cross_encoder_folder("bert"), folder)
    (folder / "tokenizer.json").write_text("{}")
    with SearchKit("things", **place, encoder=FakeEncoder(), reranker=CrossEncoderReranker(folder)) as kit:
        assert kit.add(PASSAGES[:2]).added == 2


def test_adding_with_the_default_reranker_stores_token_ids_and_loads_no_model(tmp_path):
    script = f"""
import sys
from searchkit import SearchKit
from searchkit.testing import FakeEncoder
with SearchKit("things", path={str(tmp_path)!r}, encoder=FakeEncoder()) as kit:
    kit.add(["hairdressers are paid by the hour"])
    assert not kit.reranker._loaded.is_made
    (point,) = kit._parts.collection._backend.fetch(*[next(kit._parts.collection._backend.scan(None))]).values()
print(len(point["tokens"]), sorted({{"torch", "transformers", "onnxruntime"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    length, loaded = done.stdout.split(maxsplit=1)
    assert int(length) >= 24 + 4 * 7 * 2 / 3
    assert loaded.strip() == "[]"
