"""What `Collection.retrieve` promises, on every engine."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from searchkit.errors import ConfigError, EncodingError
from searchkit.stages import RetrievalRequest, SparseVector
from searchkit.testing import FakeEncoder, FakeSparseEncoder

ANIMALS = [
    {"id": "cat", "text": "the cat sleeps on the warm mat"},
    {"id": "dog", "text": "the dog barks at the cat"},
    {"id": "fish", "text": "a fish swims in cold water"},
    {"id": "bird", "text": "birds sing at dawn near water"},
    {"id": "horse", "text": "a horse runs over the field", "legs": 4},
]


def passages(candidates):
    return list(dict.fromkeys(candidate.id for candidate in candidates))


@pytest.fixture
def animals(collection):
    collection.add(ANIMALS)
    return collection


def request(query, depth=10, mode="hybrid", chosen=None):
    return RetrievalRequest(
        depth=depth,
        dense=None if mode == "sparse" else FakeEncoder(64).encode_queries([query])[0],
        sparse=None if mode == "dense" else FakeSparseEncoder().encode_queries([query])[0],
        filter=chosen,
    )


def test_the_best_match_comes_first_in_every_mode(animals, search):
    for mode in ("hybrid", "dense", "sparse"):
        assert passages(search(animals, "horse field", mode=mode))[0] == "horse"


def test_a_candidate_carries_text_metadata_and_window(animals, search):
    best = search(animals, "horse field")[0]
    assert (best.text, best.metadata) == (ANIMALS[4]["text"], {"legs": 4})
    assert (best.window.index, best.window.count, best.window.start, best.window.end) == (0, 1, 0, len(best.text))
    assert best.token_ids is None


def test_dense_scores_are_cosines(animals, search):
    encoder = FakeEncoder(64)
    query = encoder.encode_queries(["the cat"])[0]
    for candidate in search(animals, "the cat", mode="dense"):
        expected = float(encoder.encode_passages([candidate.text])[0] @ query)
        assert candidate.evidence.dense_score == pytest.approx(expected, abs=1e-5)
        assert candidate.evidence.fused_score == candidate.evidence.dense_score


def test_sparse_scores_are_dot_products_with_inverse_document_frequency(animals, search):
    [candidate] = search(animals, "barks", mode="sparse")
    idf = np.log((len(ANIMALS) - 1 + 0.5) / (1 + 0.5) + 1)
    assert candidate.id == "dog"
    assert candidate.evidence.sparse_score == pytest.approx(0.5 * idf, rel=1e-5)
    assert candidate.evidence.dense_score is None


def test_hybrid_scores_are_reciprocal_ranks_of_both_legs(animals, search):
    for candidate in search(animals, "the cat water"):
        evidence = candidate.evidence
        expected = sum(1 / (60 + rank) for rank in (evidence.dense_rank, evidence.sparse_rank) if rank is not None)
        assert evidence.fused_score == pytest.approx(expected)


def test_weights_and_k_of_the_fusion_are_taken_from_the_settings(place, search):
    collection = place.open(fusion={"k": 10, "dense_weight": 2.0, "sparse_weight": 0.5})
    collection.add(ANIMALS)
    for candidate in search(collection, "the cat water"):
        evidence = candidate.evidence
        expected = (2.0 / (10 + evidence.dense_rank) if evidence.dense_rank else 0) + (
            0.5 / (10 + evidence.sparse_rank) if evidence.sparse_rank else 0
        )
        assert evidence.fused_score == pytest.approx(expected)


def test_ranks_count_up_from_one_and_scores_fall(animals, search):
    for mode in ("hybrid", "dense", "sparse"):
        candidates = search(animals, "the cat water field", mode=mode)
        assert [candidate.evidence.rank for candidate in candidates] == list(range(1, len(candidates) + 1))
        scores = [candidate.evidence.fused_score for candidate in candidates]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 100])
def test_depth_is_the_number_of_passages(animals, search, depth):
    assert len(passages(search(animals, "the cat water field", depth=depth, mode="dense"))) == min(depth, 5)


def test_a_smaller_depth_is_a_prefix_of_a_larger_one(animals, search):
    deep = passages(search(animals, "the cat water", depth=5, mode="dense"))
    for depth in range(1, 5):
        assert passages(search(animals, "the cat water", depth=depth, mode="dense")) == deep[:depth]


def test_a_query_without_known_words_finds_nothing_in_the_sparse_leg(animals, search):
    assert search(animals, "zebra", mode="sparse") == []
    assert all(candidate.evidence.sparse_rank is None for candidate in search(animals, "zebra"))


def test_an_empty_sparse_query_is_an_empty_leg(animals):
    dense = FakeEncoder(64).encode_queries(["cat"])[0]
    empty = SparseVector([], [])
    hybrid, sparse = animals.retrieve(
        [RetrievalRequest(depth=3, dense=dense, sparse=empty), RetrievalRequest(depth=3, sparse=empty)]
    )
    assert len(passages(hybrid)) == 3
    assert hybrid[0].evidence.fused_score == pytest.approx(1 / 61)
    assert sparse == []


def test_a_batch_answers_like_single_requests(animals):
    requests = [
        request("the cat", 2),
        request("water", 3, "dense"),
        request("water", 3, "sparse"),
        request("field", 4, chosen={"legs": 4}),
        request("zebra", 4, "sparse"),
    ]
    together = animals.retrieve(requests)
    for candidates, single in zip(together, requests, strict=True):
        alone = animals.retrieve([single])[0]
        assert [candidate.id for candidate in candidates] == [candidate.id for candidate in alone]
        for one, other in zip(candidates, alone, strict=True):
            assert one.evidence.fused_score == pytest.approx(other.evidence.fused_score, abs=2e-6)
    assert animals.retrieve([]) == []


def test_the_same_search_gives_the_same_bytes_a_hundred_times(collection):
    collection.add([{"id": n, "text": f"same words {n % 3}"} for n in range(60)])
    wanted = request("same words 1", 25)
    first = collection.retrieve([wanted])
    assert all(collection.retrieve([wanted]) == first for _ in range(100))


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_equal_scores_are_ordered_by_id(collection, search, mode):
    names = ["b", "a", 10, 9, "c", 0]
    collection.add([{"id": name, "text": "the very same text"} for name in names])
    assert passages(search(collection, "same text", mode=mode)) == [0, 9, 10, "a", "b", "c"]


def test_equal_passages_share_their_leg_ranks(collection, search):
    collection.add([{"id": n, "text": "twin text"} for n in range(3)] + [{"id": 3, "text": "text of another kind"}])
    candidates = search(collection, "twin text")
    assert [(candidate.evidence.dense_rank, candidate.evidence.sparse_rank) for candidate in candidates] == [
        (1, 1),
        (1, 1),
        (1, 1),
        (4, 4),
    ]


def long_text(name, count, word):
    return " ".join(f"{name}{n}" for n in range(count)) + f" {word}"


def test_the_best_window_of_a_long_passage_is_found(collection, search):
    text = long_text("filler", 200, "needle") + " " + long_text("more", 200, "end")
    collection.add([{"id": "long", "text": text}, {"id": "short", "text": "no such thing"}])
    best = search(collection, "needle")[0]
    assert best.id == "long"
    assert "needle" in best.text
    assert text[best.window.start : best.window.end] == best.text
    assert best.window.count > 5


def test_windows_of_a_passage_are_together_and_share_evidence(place, search):
    collection = place.open(windows_per_passage=2)
    collection.add([{"id": n, "text": long_text(f"f{n}x", 150, f"word{n}")} for n in range(4)])
    candidates = search(collection, "f1x3 f1x140 f2x7", depth=4)
    blocks = passages(candidates)
    assert [candidate.id for candidate in candidates] == sorted(
        (candidate.id for candidate in candidates), key=blocks.index
    )
    for name in blocks:
        mine = [candidate for candidate in candidates if candidate.id == name]
        assert 1 <= len(mine) <= 2
        assert len({candidate.evidence.rank for candidate in mine}) == 1
        assert len({candidate.window.index for candidate in mine}) == len(mine)


def test_windows_do_not_crowd_out_passages(collection, search):
    crowd = {"id": "crowd", "text": " ".join(["needle hay"] * 1500)}
    others = [{"id": n, "text": f"a needle among other words number{n}"} for n in range(6)]
    collection.add([crowd, *others])
    for mode in ("dense", "sparse", "hybrid"):
        assert len(passages(search(collection, "needle hay", depth=6, mode=mode))) == 6


def test_a_query_vector_of_the_wrong_length_is_refused(animals):
    with pytest.raises(EncodingError, match=r"shape \(1, 3\)"):
        animals.retrieve([RetrievalRequest(depth=3, dense=np.ones(3, dtype=np.float32))])


def test_a_query_vector_with_nan_is_refused(animals):
    with pytest.raises(EncodingError, match="NaN"):
        animals.retrieve([RetrievalRequest(depth=3, dense=np.full(64, np.nan, dtype=np.float32))])


@pytest.mark.parametrize("depth", [0, -1, 2.5, True, "3"])
def test_a_depth_that_is_no_positive_integer_is_refused(animals, depth):
    with pytest.raises(ConfigError, match="depth"):
        animals.retrieve([RetrievalRequest(depth=depth, sparse=SparseVector([1], [1.0]))])


def test_readers_and_writers_in_eight_threads_see_whole_passages(place):
    collection = place.open(ingest={"batch_size": 4})
    collection.add([{"id": "fixed", "text": "a fixed text"}])
    errors = []

    def work(number):
        try:
            for round_number in range(6):
                collection.add([{"id": f"{number}-{n}", "text": f"text {round_number} {n}"} for n in range(5)])
                assert passages(collection.retrieve([request("fixed", 3)])[0])
                assert len(collection.get([f"{number}-{n}" for n in range(5)])) == 5
                collection.delete([f"{number}-4"])
        except Exception as error:  # noqa: BLE001  # a thread's error must reach the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert collection.count() == 1 + 8 * 4
    collection.close()
    if place.kind == "embedded":
        assert place.open().count() == 33
