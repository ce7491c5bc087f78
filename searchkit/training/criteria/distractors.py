"""Criteria that ask for nothing: vague wishes, remarks beside the point, personal stories.

A ranking must not change because of them. The seed of these texts is how people write when a form asks for "criteria":
some are put together here, most were written one by one (``texts/``), because a model learns the words of the few.
"""

from __future__ import annotations

import random

from searchkit.training.criteria.texts import written

_COMPOSED_SHARE = 0.3  # of the stories
_WORK = (
    "nurse",
    "teacher",
    "carpenter",
    "retired engineer",
    "history student",
    "software developer",
    "truck driver",
    "chef",
    "journalist",
    "farmer",
    "librarian",
    "lawyer",
    "pharmacist",
    "museum guide",
    "graphic designer",
    "biologist",
    "shop owner",
    "musician",
    "translator",
    "accountant",
)
_PLACES = (
    "Ohio",
    "a small town in Portugal",
    "Lagos",
    "the north of England",
    "Toronto",
    "a village near Munich",
    "Mumbai",
    "Auckland",
    "Seoul",
    "Buenos Aires",
    "Nairobi",
    "a suburb of Boston",
)
_REASONS = (
    "my daughter asked me about it over dinner",
    "I have to give a short talk next week",
    "a friend and I made a bet",
    "I am writing an article for our local paper",
    "it came up in a quiz that we lost",
    "I am preparing a lesson for my class",
    "a customer keeps asking",
    "I am collecting material for a novel",
    "my boss needs an answer by tomorrow",
    "I overheard people talking about it on the train",
    "we are planning a trip and it matters to us",
    "I am studying for an exam",
)
_REMARKS = (
    "I am not an expert, so plain words would be nice.",
    "I have always been curious about such things.",
    "I prefer explanations that get to the point.",
    "I have little time to read.",
    "My eyesight is poor, so I use a screen reader.",
    "I have already asked two colleagues, without success.",
    "Most pages I found were full of advertising.",
    "I want to be sure before I tell others.",
)
_HOBBIES = ("gardening", "old films", "cycling", "chess", "baking", "bird watching", "hiking", "jazz", "sailing")
_OPENINGS = (
    "I am a {age}-year-old {work} from {place}.",
    "I work as a {work} in {place}.",
    "As a {work} living in {place}, I spend much of my free time on {hobby}.",
    "I have been a {work} for {years} years and {hobby} is my passion.",
)
_OPENINGS_HELD_OUT = (
    "Picture a {work} of {age} in {place}: that is me.",
    "Between {hobby} and my shifts as a {work} in {place} there is little time left.",
)
_CLOSINGS = (
    "A relevant document helps someone like me.",
    "What I need is a passage that answers the question.",
    "Please find a text that settles the matter.",
    "Find something I can quote.",
    "",
)

_ANCHORED_OPENINGS = (
    "As a {work} in {place}, I came across this while working on something else: {query}.",
    "I am a {work} and want to understand {query}.",
    "For {years} years I have worked as a {work}, and now I need to know about {query}.",
    "My question, as a {age}-year-old {work}, is about {query}.",
    "Being a {work} from {place} who loves {hobby}, I keep wondering about {query}.",
)
_ANCHORED_OPENINGS_HELD_OUT = (
    "There is a {work} in {place} who cannot stop thinking about {query}, and I am that person.",
    "Last week {query} came up between two shifts; I am a {work} of {age}.",
)
_PURPOSES = (
    "I will use what I find to prepare a presentation for people who know little about it.",
    "I would like to compare it with what I learned at school many years ago.",
    "It may help me to decide what to do next in my job.",
    "My family depends on me to get such things right.",
    "I am looking for facts that I can check, rather than opinions.",
    "A short passage with the essential facts would be ideal for my notes.",
    "I hope to explain it to a group of beginners in the coming days.",
    "I have read several articles, yet none of them addressed the point.",
    "Knowing this would settle a discussion that has been going on for weeks.",
    "The document should be useful to somebody in my position.",
)


def vague(draw: random.Random, *, held_out: bool = False) -> str:
    """Return a wish that any good passage fulfils."""
    return draw.choice(written("vague", held_out=held_out))


def irrelevant(draw: random.Random, *, held_out: bool = False) -> str:
    """Return a remark that has nothing to do with any passage."""
    return draw.choice(written("irrelevant", held_out=held_out))


def story(draw: random.Random, *, held_out: bool = False) -> str:
    """Return who is asking and why, in one to eight sentences, without any demand on the passage."""
    if draw.random() >= _COMPOSED_SHARE:
        return draw.choice(written("stories", held_out=held_out))
    opening = draw.choice(_OPENINGS_HELD_OUT if held_out else _OPENINGS).format(
        age=draw.randint(17, 82),
        work=draw.choice(_WORK),
        place=draw.choice(_PLACES),
        hobby=draw.choice(_HOBBIES),
        years=draw.randint(2, 35),
    )
    parts = [opening, f"I am asking because {draw.choice(_REASONS)}."]
    parts += [remark for remark in draw.sample(_REMARKS, 2) if draw.random() < 0.5]
    parts.append(draw.choice(_CLOSINGS))
    return " ".join(part for part in parts if part)


def anchored_story(draw: random.Random, query: str, *, held_out: bool = False) -> str:
    """Return a long story around the query itself: who asks it and what for, without any demand on the passage."""
    opening = draw.choice(_ANCHORED_OPENINGS_HELD_OUT if held_out else _ANCHORED_OPENINGS).format(
        age=draw.randint(17, 82),
        work=draw.choice(_WORK),
        place=draw.choice(_PLACES),
        hobby=draw.choice(_HOBBIES),
        years=draw.randint(2, 35),
        query=query.strip(" ?."),
    )
    parts = [opening, f"I am asking because {draw.choice(_REASONS)}."]
    parts += draw.sample(_PURPOSES, draw.randint(1, 3)) + draw.sample(_REMARKS, draw.randint(0, 2))
    return " ".join([*parts, draw.choice(_CLOSINGS)]).strip()


def noise(draw: random.Random, *, held_out: bool = False) -> str:
    """Return one of the three, or a wish and a remark together."""
    kind = draw.random()
    if kind < 0.35:
        return vague(draw, held_out=held_out)
    if kind < 0.55:
        return irrelevant(draw, held_out=held_out)
    if kind < 0.65:
        return f"{vague(draw, held_out=held_out)} {irrelevant(draw, held_out=held_out)}"
    return story(draw, held_out=held_out)
