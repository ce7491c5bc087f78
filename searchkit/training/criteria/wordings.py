"""The wordings of criteria, data only. Four tuples a kind: wanted, ruled out, and of both those kept for validation."""

from __future__ import annotations

from searchkit.training.criteria.texts import written

Wordings = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]

BY_KIND: dict[str, Wordings] = {
    "number": (
        (
            "It must contain a number.",
            "A relevant passage states a figure.",
            "Only texts with at least one number in them.",
            "The answer has to include a numeric value.",
            "Give me something with figures.",
            "Must mention a number.",
        ),
        (
            "There must be no numbers in it.",
            "Only text without any digits.",
            "A passage with figures is not relevant.",
            "It should not state any number.",
        ),
        ("I need hard figures.", "Accept a document only if digits occur in it."),
        ("Digits disqualify a text.", "Purely verbal, free of figures."),
    ),
    "year": (
        (
            "It must name a year.",
            "A relevant document gives a date or year.",
            "The passage should say when, with a year.",
            "Only passages that state a year count.",
            "Must include the year.",
            "I need a dated statement.",
        ),
        (
            "Without any year, please.",
            "A passage that names a year is not relevant.",
            "It must not contain a date.",
            "No dates.",
        ),
        ("The calendar year has to be given.", "What counts is that the text tells the year."),
        ("Undated text only.", "Reject whatever carries a year."),
    ),
    "quantity": (
        (
            "A relevant passage gives a quantity with its unit.",
            "It must state an amount, such as a length, weight, duration or percentage.",
            "Only passages with a measured quantity.",
            "The text has to say how much or how long.",
            "There must be a measurement in it.",
            "Must include an amount with a unit.",
        ),
        (
            "No measurements or amounts.",
            "Passages with a measured quantity are not relevant.",
            "It must not give amounts.",
        ),
        ("A value together with its unit of measure is required.", "Show texts that quantify things in units."),
        ("Anything with units of measure is out.", "Leave measurements aside."),
    ),
    "money": (
        (
            "It must state a sum of money.",
            "The passage has to mention a price or amount in a currency.",
            "Only with a figure in dollars, euros or pounds.",
            "A relevant passage names a monetary amount.",
        ),
        ("No sums of money.", "Without prices.", "Passages naming an amount of money are not relevant."),
        ("I want to see what it costs, in a currency.", "Relevant only if an amount of money is quoted."),
        ("Prices make a text irrelevant.", "Nothing with currency amounts."),
    ),
    "quotation": (
        (
            "It must contain a quotation.",
            "Only passages that quote someone or something.",
            "A relevant passage includes words in quotation marks.",
            "There has to be a direct quote.",
        ),
        ("No quotations.", "Passages with quotes are not relevant.", "Without direct quotes."),
        ("Somebody's own words should be cited.", "Verbatim quoted speech is required."),
        ("Refuse texts that cite somebody verbatim.", "Quoted speech is unwanted."),
    ),
    "enumeration": (
        (
            "It must list several items.",
            "A relevant passage enumerates examples.",
            "I want a list.",
            "Only texts that enumerate things.",
        ),
        ("Not a list.", "No enumerations, please.", "Lists are not relevant."),
        ("Several examples should be named one after the other.", "The passage should read like an inventory."),
        ("Skip inventories of items.", "Continuous prose, nothing listed."),
    ),
    "definition": (
        (
            "It must define the thing.",
            "The passage should say what it is in its first sentence.",
            "Only definitions.",
            "A relevant text opens with a definition.",
            "Must be a definition.",
            "Looking for an introductory definition.",
        ),
        (
            "Not a definition.",
            "Skip definitions.",
            "Texts that merely define it are not relevant.",
            "I already know what it is; no definitions.",
        ),
        ("Begin by telling me what the thing is.", "An encyclopedia-like opening is required."),
        ("Introductory definitions are useless to me.", "Go beyond saying what it is."),
    ),
    "short": (
        (
            "Keep it short: one or two sentences.",
            "The passage must be brief.",
            "Only short answers of at most 25 words.",
            "I want a concise statement.",
            "A relevant text is very short.",
            "No long texts.",
        ),
        ("Not just one sentence.", "One-liners are not relevant.", "Very short texts do not count."),
        ("Brevity is a must.", "Show me the tersest statement."),
        ("A single line does not satisfy me.", "Too short a text is worthless."),
    ),
    "detailed": (
        (
            "It should be detailed and long.",
            "I want a thorough passage, not a one-liner.",
            "Only long texts of many sentences.",
            "The passage must go into depth.",
        ),
        ("Nothing lengthy.", "Long passages are not relevant.", "It must not be a long text."),
        ("An extensive treatment is required.", "I have time to read: give me all the details."),
        ("Lengthy texts are out.", "Spare me the long version."),
    ),
    "mention": (
        (
            'It must mention "{term}".',
            "The passage must contain the word {term}.",
            "Only texts that mention {term}.",
            "A relevant document names {term}.",
            "{term} has to appear in the text.",
            "Must refer to {term}.",
            "It should speak of {term}.",
        ),
        (
            'It must not mention "{term}".',
            "The word {term} must not appear.",
            "Nothing that mentions {term}.",
            "A document naming {term} is not relevant.",
            "Exclude passages with {term} in them.",
            "Without {term}.",
            "Leave out everything about {term}.",
        ),
        ("I expect to read {term} somewhere in it.", "Discard texts in which {term} does not occur."),
        ("If {term} occurs, the text is useless.", "Keep {term} out of the results."),
    ),
    "topic": (
        (
            "The text should be mainly about {term}.",
            "Only passages whose subject is {term}.",
            "A relevant passage deals with {term}.",
            "Focus on {term}.",
            "I am interested in {term} here.",
        ),
        (
            "Not about {term}.",
            "Passages whose subject is {term} are not relevant.",
            "Anything but {term}.",
            "Ignore text that deals with {term}.",
        ),
        ("{term} should be at the centre of it.", "My concern is {term}."),
        ("Do not come to me with {term}.", "Texts centred on {term} miss the point."),
    ),
    "percentage": (
        (),
        (),
        ("It must state a percentage.", "A share in per cent has to be given."),
        ("No percentages.", "Texts that give a percentage are not relevant."),
    ),
    "question": (
        (),
        (),
        ("It must contain a question.", "Only texts that ask something."),
        ("No questions in it.", "Texts that ask questions are not relevant."),
    ),
    "code": (
        (),
        (),
        ("It must show code.", "Only passages with a code example."),
        ("No code.", "Passages with code in them are not relevant."),
    ),
}

ASPECT_PAIRS = written("aspects")
"""Wordings that want one aspect of a subject and rule out another, for data whose passages are labelled by aspect."""

ASPECT_PAIRS_HELD_OUT = written("aspects", held_out=True)
"""Further wordings of that sort that training never uses."""
