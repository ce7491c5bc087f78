import io

from rich.console import Console

from searchkit.cli.console import Output
from searchkit.cli.search import show_result
from searchkit.types import Hit, RetrievalEvidence, SearchResult, Snippet, Timings


def shown(**fields):
    data, notes = io.StringIO(), io.StringIO()
    consoles = [Console(file=stream, markup=False, highlight=False, width=200) for stream in (data, notes)]
    result = SearchResult(**{"query": "x", "status": "reranked", "candidate_count": 50, "scored_count": 50, **fields})
    show_result(Output(*consoles), result)
    return data.getvalue(), notes.getvalue()


def hit(rank, before=None, **fields):
    return Hit(
        **{
            "id": f"p{rank}",
            "text": "text",
            "rank": rank,
            "score": 0.5,
            "logit": 0.0,
            "retrieval": RetrievalEvidence(rank=before),
            **fields,
        }
    )


def test_a_hit_says_where_stage_1_had_it():
    data, _ = shown(hits=(hit(1, 4), hit(2, 2), hit(3, 1), hit(4)))
    headings = [line for line in data.splitlines() if ". " in line]
    assert headings == [
        " 1. 0.500  p1  (stage 1: 4, up 3)",
        " 2. 0.500  p2  (stage 1: also 2)",
        " 3. 0.500  p3  (stage 1: 1, down 2)",
        " 4. 0.500  p4",
    ]


def test_of_a_long_passage_the_best_window_is_shown():
    snippet = Snippet(text="the window", start=10, end=20)
    assert "the window" in shown(hits=(hit(1, text="x" * 10 + "the window", snippet=snippet),))[0]
    assert "xxx" not in shown(hits=(hit(1, text="x" * 10 + "the window", snippet=snippet),))[0]


def test_a_result_that_is_not_what_was_asked_for_says_so():
    for status in ("partial", "degraded"):
        _, notes = shown(status=status, reason="the model is on fire", hits=(hit(1),))
        assert f"{status}: the model is on fire" in notes


def test_truncation_and_times_are_told():
    _, notes = shown(
        hits=(hit(1),),
        truncated_count=3,
        reranker="ours",
        engine="torch fp32 cpu",
        timings=Timings(encode=1, retrieve=2, rerank=3, total=7),
    )
    assert "50 of 50 candidates scored by ours (torch fp32 cpu) in 7 ms (encode 1, retrieve 2, rerank 3)" in notes
    assert "3 passages were too long to be read whole" in notes


def test_nothing_found_and_nothing_good_enough_differ():
    assert "no passage matches" in shown(candidate_count=0, scored_count=0)[1]
    assert "no passage is good enough" in shown()[1]
