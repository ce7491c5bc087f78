"""Groups of four pairs out of examples: plain, with criteria that ask for nothing, with aspects, counterfactual."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.default_model.pools import Example
from searchkit.training.criteria import anchored_story, counterfactual_group, noise
from searchkit.training.criteria.wordings import ASPECT_PAIRS


@dataclass(frozen=True)
class Group:
    """Pairs of one query, the right passage first.

    Attributes:
        rows: What the model reads as the query, the passage, the label.
        asked: The query as stage 1 would read it, without criteria; empty where that says nothing.
        taught: The part of the target that is the bi-encoder's own distribution.
        read: The passages as the pool has them, for the bi-encoder's view.
    """

    rows: list[tuple[str, str, float]]
    asked: str = ""
    taught: float = 0.0
    read: tuple[str, ...] = ()


TAUGHT_SHARE = 0.15  # a passage that was mined may be right too; the bi-encoder's view softens that
TOPICAL_SHARE = 0.35  # abstracts on the same topic are relevant in part
NOISE_SHARE = 0.25
NOISE_SHARE_SHORT = 0.1  # pools of intents and code, where a story would be all there is to read
ANCHORED_SHARE = 0.3  # of the noise: a story told around the query
SHORT_POOLS = frozenset({"tldr", "cosqa", "apidocs", "dstc9_faq"})
_SENTENCE_END = re.compile(r"(?<=[a-z]\.) (?=[A-Z])")
_PUNCTUATION = re.compile(r"[^\w\s]+")
_TOPIC_WORDINGS = (
    "I am interested in articles on {}.", "articles that deal with {}", "What work has been done on {}?",
    "papers about {}", "research on {}", "I would like to find descriptions of {}.", "{} - methods and results",
    "Find anything that discusses {}, in theory or in practice.", "publications concerning {}",
)  # fmt: skip
# Of the groups with aspects show the right aspect of another subject. At 0.35 the subject was unlearned: stage 2 alone
# put other subjects first on medquad_criteria.
OTHER_SUBJECT_SHARE = 0.7
STANCES = {
    True: ("Only statements in favour of the claim are relevant.", "A relevant statement supports the claim.",
           "I want arguments for it, not against it.", "Give reasons that back this up.", "Arguments in favour.",
           "The passage must agree with the claim.", "Show supporting points only.", "Exclude opposing views."),
    False: ("Only statements against the claim are relevant.", "A relevant statement opposes the claim.",
            "I want arguments against it, not for it.", "Give reasons that speak against this.",
            "Counterarguments only.", "The passage must disagree with the claim.", "Show objections only.",
            "Exclude supporting views."),
}  # fmt: skip


class Composer:
    """Makes groups; every choice comes from one seeded draw."""

    def __init__(self, pools: Mapping[str, Sequence[Example]], seed: int) -> None:
        self._pools = pools
        self._draw = random.Random(seed)
        self._title_of = {example.positive: example.query for example in pools.get("arxiv", ())}

    def plain(self, example: Example) -> Group:
        """The query, sometimes with criteria that ask for nothing."""
        query = self._restyled(example.query)
        share = NOISE_SHARE_SHORT if example.pool in SHORT_POOLS else NOISE_SHARE
        if self._draw.random() < share:
            is_anchored = self._draw.random() < ANCHORED_SHARE
            query += " " + (anchored_story(self._draw, example.query) if is_anchored else noise(self._draw))
        return self._labelled(query, example.positive, self.negatives(example, 3), asked=example.query)

    def told(self, example: Example, story: str) -> Group:
        """The query within the story of somebody who asks it."""
        return self._labelled(
            f"{example.query} {story}", example.positive, self.negatives(example, 3), asked=example.query
        )

    def science(self, example: Example) -> Group:
        """A title or a sentence of an abstract, as people type them, and abstracts or titles on like topics."""
        negatives = self.negatives(example, 3)
        chance = self._draw.random()
        sentences = [part for part in _SENTENCE_END.split(example.positive) if 50 < len(part) < 260]
        if chance < 0.35 and len(sentences) > 2:
            query = self._draw.choice(sentences)
            titles = [self._title_of.get(text, "") for text in (example.positive, *negatives)]
            if chance < 0.12 and all(titles):
                texts = titles
            else:
                rest = example.positive.replace(query, "").replace("  ", " ").strip()
                texts = [f"{title}. {text}" for title, text in zip(titles, (rest, *negatives), strict=True)]
            query = query.rstrip(".")
        else:
            query, texts = self._topic(example.query), [example.positive, *negatives]
        if self._draw.random() < 0.2:
            texts = [_PUNCTUATION.sub(" ", text.lower()) for text in texts]
        group = self._labelled(query, texts[0], texts[1:], asked=example.query, taught=TOPICAL_SHARE)
        return replace(group, read=(example.positive, *negatives))

    def _topic(self, title: str) -> str:
        chance = self._draw.random()
        if chance < 0.45:
            return title
        if chance < 0.7:
            return " ".join(_PUNCTUATION.sub(" ", title.lower()).split())
        first = title[:1].lower() + title[1:] if not title[:2].isupper() else title
        return self._draw.choice(_TOPIC_WORDINGS).format(first.rstrip("."))

    def aspect(self, example: Example) -> Group:
        """A subject, the aspect wanted, and passages on its other aspects."""
        criteria = example.instruction
        if example.wanted and self._draw.random() < 0.88:
            template = self._draw.choice(ASPECT_PAIRS)
            criteria = template.format(wanted=example.wanted, excluded=example.excluded)
        if self._draw.random() < 0.12:
            criteria = f"{criteria} {noise(self._draw)}"
        same_aspect = [other.positive for other in self._sample(example.pool, 40) if other.wanted == example.wanted]
        negatives = self._draw.sample(example.negatives, min(3, len(example.negatives)))
        if len(negatives) == 3 and same_aspect and self._draw.random() < OTHER_SUBJECT_SHARE:
            negatives[2] = same_aspect[0]  # the right aspect of another subject
        negatives += [text for text in same_aspect if text not in negatives][: 3 - len(negatives)]
        negatives += self._fill(example, negatives, 3)
        return self._labelled(f"{example.query} {criteria}", example.positive, negatives)

    def stance(self, example: Example) -> Group:
        """A claim and the side wanted."""
        criteria = self._draw.choice(STANCES["support" in example.source])
        negatives = self._draw.sample(example.negatives, min(2, len(example.negatives)))
        negatives += self._fill(example, negatives, 3)
        return self._labelled(f"{example.query} {criteria}", example.positive, negatives)

    def counterfactual(self, example: Example) -> Group:
        """The same passage under a criterion that it meets and one that it fails; plain if none is found."""
        found = counterfactual_group(self._draw, example.query, example.positive, self.negatives(example, 6))
        if found is None:
            return self.plain(example)
        return Group([(pair.sentence_0, pair.sentence_1, int(pair.label)) for pair in found])

    def negatives(self, example: Example, count: int) -> list[str]:
        """Of the pool's own negatives, BM25's and the bi-encoder's in turn, hardest most likely; then strangers."""
        own = list(dict.fromkeys(text for text in example.negatives if text != example.positive))
        self._draw.shuffle(own)
        sources = [[text for text in found if text != example.positive] for found in (example.near, example.mined)]
        chosen = own[: count - sum(map(bool, sources))]
        while len(chosen) < count and any(sources):
            for source in sources:
                source[:] = [text for text in source if text not in chosen]
                if source and len(chosen) < count:
                    chosen.append(source[min(int(self._draw.random() ** 1.5 * len(source)), len(source) - 1)])
        chosen += [text for text in own if text not in chosen][: count - len(chosen)]
        return chosen + self._fill(example, chosen, count)

    def _fill(self, example: Example, chosen: Sequence[str], count: int) -> list[str]:
        missing: list[str] = []
        while len(chosen) + len(missing) < count:
            text = self._draw.choice(self._pools[example.pool]).positive
            if text != example.positive and text not in chosen and text not in missing:
                missing.append(text)
        return missing

    def _sample(self, pool: str, count: int) -> list[Example]:
        return self._draw.sample(list(self._pools[pool]), min(count, len(self._pools[pool])))

    def _restyled(self, query: str) -> str:
        chance = self._draw.random()
        if chance < 0.12:
            return query.rstrip(" ?.")
        if chance < 0.15:
            return self._draw.choice(("please tell me: ", "i want to know ", "question: ")) + query
        return query

    def _retitled(self, text: str) -> str:
        """Titles are not always joined with a colon."""
        match = re.match(r"^([^:]{3,70}): (.+)$", text, re.DOTALL)
        if match and self._draw.random() < 0.3:
            return match[1] + self._draw.choice((". ", " ", " - ")) + match[2]
        return text

    def _labelled(
        self, query: str, positive: str, negatives: Sequence[str], asked: str = "", taught: float = TAUGHT_SHARE
    ) -> Group:
        rows = [(query, self._retitled(positive), 1)]
        rows += [(query, self._retitled(text), 0) for text in negatives[:3]]
        return Group(rows, asked, taught if asked else 0.0, (positive, *negatives[:3]))
