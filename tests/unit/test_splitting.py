from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searchkit.bounded import BoundedThreads
from searchkit.config import RerankerProfile, SearchKitConfig, WindowConfig
from searchkit.deadline import Deadline
from searchkit.pipeline import TwoStagePipeline
from searchkit.request import SearchRequest
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.second_stage import SecondStage
from searchkit.splitting import readable_windows
from searchkit.stages import Candidate, PairScores, Span, Window
from searchkit.testing import FakeEncoder, FakeSparseEncoder
from searchkit.types import RetrievalEvidence
from tests.token_reader import WordsReranker

WORD = re.compile(r"\w+|[^\w\s]")


class WordReader:
    """Reads ``max_length`` words of a pair and scores the text by how often "gold" is among them."""

    name = "words"
    profile = RerankerProfile()

    def __init__(self, max_length: int = 24) -> None:
        self.max_length = max_length
        self.measured: list[str] = []
        self.calls: list[list[tuple[str, str]]] = []

    def token_spans(self, text: str) -> list[Span]:
        self.measured.append(text)
        return [match.span() for match in WORD.finditer(text)]

    def score_pairs(self, pairs, *, deadline=None) -> PairScores:
        self.calls.append(list(pairs))
        seen = [WORD.findall(text)[: max(1, self.max_length - 3 - len(WORD.findall(query)))] for query, text in pairs]
        lost = [len(WORD.findall(text)) - len(words) for (_, text), words in zip(pairs, seen, strict=True)]
        logits = np.array([words.count("gold") for words in seen], dtype=np.float32)
        return PairScores(logits, np.array(lost, dtype=np.int64), "words")


def one(text: str, window: Window | None = None) -> Candidate:
    return Candidate("p", text, window=window or Window(), evidence=RetrievalEvidence(rank=1))


def windows_of(
    text: str, query: str = "what", *, reader: WordReader | None = None, overlap: int = 2
) -> list[Candidate]:
    return readable_windows([one(text)], query, reader or WordReader(), overlap_tokens=overlap)


def test_short_texts_are_neither_cut_nor_measured():
    reader = WordReader(512)
    found = [one("a short text"), one("another " * 120)]
    assert readable_windows(found, "what", reader, overlap_tokens=32) == found
    assert reader.measured == []


def test_a_text_that_looks_long_and_is_not_stays_whole():
    found = one("internationalisation " * 10)
    assert readable_windows([found], "what", WordReader(), overlap_tokens=2) == [found]


@given(st.lists(st.sampled_from(["gold", "dust", "x", ".", "\n", "您好", "internationalisation"]), max_size=200))
def test_windows_cover_the_text_and_each_is_read_whole(words):
    text = " ".join(words)
    parts = windows_of(text)
    covered = 0
    for part in parts:
        start, end = (part.window.start, part.window.end) if len(parts) > 1 else (0, len(text))
        assert part.text == text[start:end]
        assert start <= covered
        covered = max(covered, end)
        assert len(WORD.findall(part.text)) <= 24 - 4 - 1 or len(parts) == 1
    assert covered == len(text)
    assert all(part.id == "p" and part.evidence.rank == 1 for part in parts)


def test_a_long_query_leaves_the_text_a_quarter_of_the_length():
    parts = windows_of("word " * 60, "why " * 100)
    assert max(len(WORD.findall(part.text)) for part in parts) == 5


def test_a_window_of_a_passage_is_cut_with_offsets_into_the_passage():
    whole = "before " * 10 + "word " * 60
    inner = one(whole[70:], Window(1, 2, 70, len(whole)))
    parts = readable_windows([inner], "what", WordReader(), overlap_tokens=2)
    assert len(parts) > 2
    assert all(whole[part.window.start : part.window.end] == part.text for part in parts)
    assert parts[-1].window.end == len(whole)
    assert all(part.window.count > 1 for part in parts)


def pipeline_of(reader: WordReader) -> tuple[TwoStagePipeline, ScheduledReranker]:
    scheduled = ScheduledReranker(reader)
    config = SearchKitConfig(windows=WindowConfig(overlap_tokens=2))
    pipeline = TwoStagePipeline(
        encoder=FakeEncoder(),
        sparse_encoder=FakeSparseEncoder(),
        retriever=None,
        reranker=scheduled,
        whole_texts=lambda _: {},
        config=config,
    )
    return pipeline, scheduled


def test_reranking_a_long_passage_finds_what_stands_at_its_end_and_shows_where():
    reader = WordReader()
    pipeline, scheduled = pipeline_of(reader)
    text = "dust " * 300 + "here is gold and gold"
    found = [Candidate("short", "one gold", evidence=RetrievalEvidence(rank=1)), Candidate("long", text)]
    with scheduled:
        result = pipeline.rerank("what", SearchRequest(), found)
    assert [hit.id for hit in result] == ["long", "short"]
    top = result[0]
    assert top.text == text
    assert top.logit == 2.0
    assert "gold and gold" in top.snippet.text
    assert text[top.snippet.start : top.snippet.end] == top.snippet.text
    assert result[1].snippet is None
    assert (result.status, result.candidate_count, result.scored_count, result.truncated_count) == ("reranked", 2, 2, 0)
    assert len(reader.calls) == 1  # the windows are in the same pass as everything else


def test_a_reranker_that_tells_no_lengths_gets_whole_texts():
    class Silent:
        name = "silent"
        profile = RerankerProfile()

        def score_pairs(self, pairs, *, deadline=None) -> PairScores:
            return PairScores(np.zeros(len(pairs), dtype=np.float32), np.full(len(pairs), 7, dtype=np.int64), "silent")

    stage = SecondStage(Silent(), SearchKitConfig(), BoundedThreads())
    request = SearchRequest()
    outcome = stage.run(["q"], [request], [[one("word " * 500)]], Deadline(), blend=False)[0]
    assert outcome.entries[0].candidate.text == "word " * 500
    assert outcome.entries[0].truncated_tokens == 7


class TokenWordReader(WordsReranker, WordReader):
    """A `WordReader` that reads stored tokens as well."""

    def __init__(self, max_length: int = 24) -> None:
        WordReader.__init__(self, max_length)
        self.writer = WordsReranker().writer


SHORT = "internationalisation " * 12


def with_tokens(text: str, tokens_of: str | None = None) -> Candidate:
    (stored,) = WordsReranker().writer.encode([tokens_of or text])
    return Candidate("p", text, evidence=RetrievalEvidence(rank=1), token_ids=stored)


def test_a_text_whose_stored_token_ids_say_that_it_is_short_is_not_measured():
    reader = TokenWordReader()
    found = with_tokens(SHORT)
    assert readable_windows([found], "what", reader, overlap_tokens=2) == [found]
    assert reader.measured == ["what"]


def test_stored_token_ids_of_another_text_do_not_vouch_for_the_length():
    parts = readable_windows(
        [with_tokens("word " * 60, tokens_of="short")], "what", TokenWordReader(), overlap_tokens=2
    )
    assert len(parts) > 2


def test_windows_of_a_long_text_are_the_same_with_stored_token_ids_and_carry_none():
    text = "word " * 60
    parts = readable_windows([with_tokens(text)], "what", TokenWordReader(), overlap_tokens=2)
    assert parts == windows_of(text)
    assert all(part.token_ids is None for part in parts)
