from __future__ import annotations

import numpy as np

from searchkit.reranking import CrossEncoderReranker
from searchkit.reranking.scheduler import ScheduledReranker
from searchkit.splitting import SpanReader, readable_windows
from searchkit.stages import Candidate


def test_a_cross_encoder_reads_every_window_of_a_long_text_whole(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder(), device="cpu", max_length=64)
    assert isinstance(reranker, SpanReader)
    text = "many people live in berlin. " * 60
    found = [Candidate("long", text), Candidate("short", "berlin")]
    windows = readable_windows(found, "how many people live in berlin", reranker, overlap_tokens=8)
    assert windows[-1] == found[1]
    assert len(windows) > 5
    scores = reranker.score_pairs([("how many people live in berlin", window.text) for window in windows])
    assert scores.truncated_tokens.tolist() == [0] * len(windows)
    whole = reranker.score_pairs([("how many people live in berlin", text)])
    assert whole.truncated_tokens[0] > 0


def test_token_spans_lie_where_the_tokens_are(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder(), device="cpu")
    assert [("how many people"[start:end]) for start, end in reranker.token_spans("how many people")] == [
        "how",
        "many",
        "people",
    ]


def test_scheduling_does_not_change_the_scores_of_a_cross_encoder(cross_encoder_folder):
    reranker = CrossEncoderReranker(cross_encoder_folder(), device="cpu")
    pairs = [(query, "people " * count) for query in ("how many", "the words") for count in range(1, 30)]
    with ScheduledReranker(reranker) as scheduled:
        first, again = scheduled.score_pairs(pairs), scheduled.score_pairs(pairs)
    direct = reranker.score_pairs(pairs)
    np.testing.assert_allclose(first.logits, direct.logits, atol=1e-5)
    assert again.logits.tolist() == first.logits.tolist()
    assert first.engine == direct.engine
