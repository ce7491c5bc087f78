from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchkit.training.criteria import (
    KINDS,
    Criterion,
    anchored_story,
    counterfactual_group,
    holds,
    irrelevant,
    noise,
    noisy_group,
    propose,
    story,
    vague,
)
from searchkit.training.criteria.wordings import ASPECT_PAIRS, ASPECT_PAIRS_HELD_OUT

MET = {
    "number": "There are 7 bridges.",
    "year": "It was built in 1887.",
    "quantity": "The tower is 330 metres tall.",
    "money": "Entry costs $12 for adults.",
    "quotation": 'She said "we will build it again" and left.',
    "enumeration": "We sell apples, pears, plums, figs, dates, nuts, limes and rice.",
    "definition": "A cross-encoder is a model that reads two texts at once.",
    "short": "Paris is far.",
    "detailed": "word " * 60,
    "mention": "The harbour freezes over.",
    "topic": "The harbour freezes over. Ships wait.",
    "percentage": "About 40 % voted.",
    "question": "Who knows? Nobody.",
    "code": "Call sorted(values) first.",
}
FAILED = {
    "detailed": "Nobody came.",
    "short": "word " * 30,
    "topic": "Ships wait in the bay. Later the harbour freezes.",
}
PASSAGES = [*MET.values(), "Nobody came to the lake in winter and the birds flew south again."]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_kind_tells_a_passage_that_has_it_from_one_that_lacks_it(name):
    check = KINDS[name].check
    assert check(MET[name], "harbour")
    assert not check(FAILED.get(name, "Nobody came to the lake"), "harbour")


def test_there_are_eight_kinds_and_sixty_wordings_for_training_and_others_for_validation():
    training = [kind for kind in KINDS.values() if not kind.is_held_out]
    texts = [text for kind in training for text in (*kind.demanding, *kind.excluding)]
    held_out = [text for kind in KINDS.values() for text in (*kind.demanding_held_out, *kind.excluding_held_out)]
    assert len(training) >= 8
    assert len({*texts, *ASPECT_PAIRS}) >= 60
    assert len([kind for kind in KINDS.values() if kind.is_held_out]) >= 3
    assert not {*texts, *ASPECT_PAIRS} & {*held_out, *ASPECT_PAIRS_HELD_OUT}
    assert not [text for text, count in Counter([*texts, *held_out]).items() if count > 1]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_wording_names_its_term_exactly_when_the_kind_has_one(kind):
    for text in (*kind.demanding, *kind.excluding, *kind.demanding_held_out, *kind.excluding_held_out):
        assert ("{term}" in text) is kind.takes_term, text


@given(seed=st.integers(0, 5000), place=st.integers(0, len(PASSAGES) - 1), is_met=st.booleans(), held_out=st.booleans())
def test_a_proposed_criterion_is_met_or_failed_as_asked(seed, place, is_met, held_out):
    passage = PASSAGES[place]
    found = propose(random.Random(seed), passage, is_met=is_met, foreign=PASSAGES, held_out=held_out)
    if found is not None:
        assert holds(found, passage) is is_met
        assert "{" not in found.text
        assert KINDS[found.kind].is_held_out <= held_out


def test_what_must_not_be_mentioned_is_not_there_whatever_the_word_looks_like():
    passage = "The pre- and post-war years in München, abc123 and naïveté; co-operation -- self-- and Ærø_x."
    for seed in range(300):
        found = propose(random.Random(seed), passage, foreign=["Elsewhere nothing alike"], kinds=["mention"])
        if found is not None and not found.is_wanted:
            assert found.term.lower() not in passage.lower()
            assert holds(found, passage)


def test_terms_of_the_query_are_not_asked_for():
    draws = [
        propose(random.Random(seed), "harbour harbour", kinds=["mention"], query="Where is the harbour")
        for seed in range(20)
    ]
    assert draws == [None] * 20


@given(seed=st.integers(0, 3000), held_out=st.booleans())
def test_in_a_counterfactual_group_neither_query_nor_criterion_alone_tells_the_positive(seed, held_out):
    group = counterfactual_group(random.Random(seed), "what of it", MET["year"], PASSAGES, held_out=held_out)
    if group is None:
        return
    assert [pair.label for pair in group] == [1.0, 0.0, 0.0, 0.0]
    good, bad, first, second = group
    assert good.sentence_1 == bad.sentence_1 == MET["year"]
    assert first.sentence_0 == good.sentence_0 != bad.sentence_0 == second.sentence_0
    assert first.sentence_1 != second.sentence_1


def test_counterfactual_groups_are_found_for_most_draws():
    found = [counterfactual_group(random.Random(seed), "what of it", MET["year"], PASSAGES[2:]) for seed in range(50)]
    assert sum(group is not None for group in found) > 40


def test_noise_leaves_labels_and_texts_as_they_are():
    group = noisy_group(random.Random(3), "who", "me", ["you", "they"])
    assert [(pair.sentence_1, pair.label) for pair in group] == [("me", 1.0), ("you", 0.0), ("they", 0.0)]
    (asked,) = {pair.sentence_0 for pair in group}
    assert asked.startswith("who ")
    assert len(asked) > 10


@pytest.mark.parametrize("make", [vague, irrelevant, story, noise])
def test_distractors_of_validation_are_new(make):
    seen = {make(random.Random(seed)) for seed in range(300)}
    new = {make(random.Random(seed), held_out=True) for seed in range(300)}
    assert not seen & new
    assert make(random.Random(1)) == make(random.Random(1))


def test_a_story_around_the_query_repeats_it_and_validation_tells_it_otherwise():
    stories = {anchored_story(random.Random(seed), "How do tides work?") for seed in range(200)}
    new = {anchored_story(random.Random(seed), "How do tides work?", held_out=True) for seed in range(200)}
    assert all("How do tides work" in text and "?" not in text for text in stories | new)
    assert len(stories) > 190
    assert not {text.split(". ")[0] for text in stories} & {text.split(". ")[0] for text in new}


def test_a_criterion_names_its_kind_and_direction():
    criterion = Criterion(kind="number", text="No digits.", is_wanted=False)
    assert holds(criterion, "none here")
    assert not holds(criterion, "7 here")
