from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.errors import ConfigError
from searchkit.training import MiningConfig, RankedPassage, mine_pairs


def ranking(count: int, positive_at: int | None = 0) -> list[RankedPassage]:
    return [
        RankedPassage(text="the answer" if place == positive_at else f"passage {place}", score=1.0 - place / 100)
        for place in range(count)
    ]


def negatives(count: int, config: MiningConfig, **where: int | None) -> list[str]:
    pairs = mine_pairs({"q": ["the answer"]}, {"q": ranking(count, **where)}, config)
    return [pair.sentence_1 for pair in pairs if pair.label == 0.0]


def test_the_default_is_one_positive_and_thirty_negatives():
    pairs = mine_pairs({"q": ["the answer"]}, {"q": ranking(100)})
    assert [pair.label for pair in pairs] == [1.0] + [0.0] * 30


def test_passages_at_the_top_and_above_the_score_ceiling_are_skipped():
    found = negatives(20, MiningConfig(skip_ranks=3, max_score_ratio=None))
    assert found[0] == "passage 4"
    found = negatives(20, MiningConfig(skip_ranks=0, max_score_ratio=0.9))
    assert found[0] == "passage 10"


def test_the_ceiling_is_not_applied_when_the_positive_was_not_retrieved():
    found = negatives(5, MiningConfig(skip_ranks=0, max_score_ratio=0.5), positive_at=None)
    assert len(found) == 5


def test_a_known_positive_is_never_a_negative_whatever_its_case_or_the_query_s():
    pairs = mine_pairs(
        {"q": ["the answer"], "Q?": ["passage 7"]},
        {"q": ranking(30), "Q?": [RankedPassage(text="THE  answer", score=2.0), *ranking(30, None)]},
        MiningConfig(skip_ranks=0, max_score_ratio=None),
    )
    refused = {pair.sentence_1.lower() for pair in pairs if pair.label == 0.0}
    assert not refused & {"the answer", "the  answer", "passage 7"}


def test_criteria_are_appended_to_the_query():
    pairs = mine_pairs({"q": ["the answer"]}, {"q": ranking(9)}, criteria={"q": "Only answers."})
    assert {pair.sentence_0 for pair in pairs} == {"q Only answers."}


def test_queries_with_too_few_negatives_are_left_out():
    assert mine_pairs({"q": ["the answer"]}, {"q": ranking(4)}, MiningConfig(min_negatives=5)) == []


def test_another_query_does_not_change_the_draw():
    config = MiningConfig(negatives_per_query=5)
    alone = mine_pairs({"q": ["the answer"]}, {"q": ranking(50)}, config)
    both = mine_pairs({"r": ["passage 3"], "q": ["the answer"]}, {"r": ranking(50, None), "q": ranking(50)}, config)
    assert [pair for pair in both if pair.sentence_0 == "q"] == alone


def test_hard_share_decides_how_many_come_from_the_upper_half():
    hard = negatives(101, MiningConfig(negatives_per_query=20, hard_share=1.0, skip_ranks=0, max_score_ratio=None))
    easy = negatives(101, MiningConfig(negatives_per_query=20, hard_share=0.0, skip_ranks=0, max_score_ratio=None))
    assert max(int(text.split()[1]) for text in hard) <= 50 < min(int(text.split()[1]) for text in easy)


@given(
    count=st.integers(1, 80),
    wanted=st.integers(1, 40),
    skip=st.integers(0, 5),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_as_many_negatives_as_there_can_be_each_once_and_in_rank_order(count, wanted, skip, share, seed):
    config = MiningConfig(
        negatives_per_query=wanted, skip_ranks=skip, hard_share=share, seed=seed, max_score_ratio=None
    )
    found = negatives(count, config)
    assert len(found) == min(wanted, max(count - 1 - skip, 0))
    places = [int(text.split()[1]) for text in found]
    assert places == sorted(set(places))
    assert negatives(count, config) == found


@pytest.mark.parametrize(
    ("positives", "rankings", "message"), [({"q": []}, {"q": []}, "no positive"), ({"q": ["a"]}, {}, "no ranking")]
)
def test_incomplete_input_is_refused(positives, rankings, message):
    with pytest.raises(ConfigError, match=message):
        mine_pairs(positives, rankings)
