"""Turns (query, text) pairs into token ids with a model's own tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from searchkit.errors import ModelLoadError
from searchkit.models.once import Once
from searchkit.reranking.packing import Ids, PairTemplate, TokenPair, compose, compose_all
from searchkit.reranking.stored_tokens import TokenCodec
from searchkit.stages import Span

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

logger = logging.getLogger(__name__)

_PROBES = (
    ("how many people live in berlin", "Berlin had a population of 3,520,031 registered inhabitants in 2016."),
    ("naïve café 你好 мир", "Zażółć gęślą jaźń \N{ROCKET} — ½ ﬁn\u00a0de siècle"),
    (" leading space", "\ttabs\nand lines  and  gaps "),
    ("", "an empty query"),
    ("an empty text", ""),
    ("short", "a long text " * 40),
    ("a long query " * 40, "short"),
    ("both are long " * 40, "and have to be cut " * 40),
)
_PROBE_LENGTHS = (512, 33, 32)
_NOTHING_KNOWN: Mapping[str, Ids] = {}


class PairTokenizer:
    """Token ids of (query, text) pairs, equal to the tokenizer's own pair encoding.

    Ids are composed from those of the two texts, each text of a call being tokenized once. Whether composing is right
    for this tokenizer is tested when the object is made; where it is not, each pair goes through the tokenizer.
    Safe to use from several threads.

    Args:
        tokenizer: The model's tokenizer, without truncation and padding; not to be used elsewhere.
        max_length: Longest pair in tokens, special tokens included.
        truncation_side: Which end of a text is cut, "right" or "left".

    Raises:
        ModelLoadError: ``max_length`` leaves no room for text.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, truncation_side: str = "right") -> None:
        self._tokenizer = tokenizer
        self.max_length = max_length
        special = tokenizer.num_special_tokens_to_add(is_pair=True)
        if max_length < special + 2:
            raise ModelLoadError(
                f"max_length={max_length} leaves no room for text: this tokenizer adds {special} special tokens to "
                f"a pair; give at least {special + 2}."
            )
        template = learn_template(tokenizer) if truncation_side == "right" else None
        self.template = template if template is not None and composes(tokenizer, template) else None
        if self.template is None:
            logger.info("Pairs are tokenized one by one: composing token ids does not match this tokenizer.")
            self._cutting: Tokenizer = type(tokenizer).from_str(tokenizer.to_str())
            self._cutting.enable_truncation(max_length, direction=truncation_side)
        self._codec: Once[TokenCodec] = Once(lambda: codec_of(tokenizer))

    @property
    def codec(self) -> TokenCodec | None:
        """Stores and reads ids of single texts; ``None`` where pairs cannot be composed of them."""
        return None if self.template is None else self._codec.get()

    def encode(self, pairs: Sequence[tuple[str, str]], known: Mapping[str, Ids] = _NOTHING_KNOWN) -> list[TokenPair]:
        """Return the pairs as the model reads them, in order.

        Args:
            pairs: (query, text) pairs.
            known: Ids of some of the texts, as `encode_texts` would return them.
        """
        if self.template is None:
            return self._encode_whole(pairs)
        texts = [text for text in dict.fromkeys(text for pair in pairs for text in pair) if text not in known]
        ids = {**known, **dict(zip(texts, self.encode_texts(texts), strict=True))}
        return compose_all(self.template, [(ids[query], ids[text]) for query, text in pairs], self.max_length)

    def stored_ids(self, texts: Sequence[str], stored: Sequence[object]) -> dict[str, Ids]:
        """Return the ids of those texts whose stored string is right, see `TokenCodec`."""
        codec = self.codec
        if codec is None:
            return {}
        read = ((text, codec.decode(text, one)) for text, one in zip(texts, stored, strict=True) if one is not None)
        return {text: ids for text, ids in read if ids is not None}

    def encode_texts(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of single texts, uncut and without special tokens, each of shape ``(n,)``, int32."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]

    def token_spans(self, text: str) -> list[Span]:
        """Return the character offsets of the tokens of a single text, uncut and without special tokens."""
        return [(start, end) for start, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    def _encode_whole(self, pairs: Sequence[tuple[str, str]]) -> list[TokenPair]:
        if not pairs:
            return []
        queries, whole = (
            self._tokenizer.encode_batch(list(texts), add_special_tokens=False) for texts in zip(*pairs, strict=True)
        )
        encodings = self._cutting.encode_batch(list(pairs))
        return [
            TokenPair(
                ids=np.asarray(encoding.ids, dtype=np.int32),
                type_ids=np.asarray(encoding.type_ids, dtype=np.int32),
                truncated_tokens=max(len(text.ids) - encoding.sequence_ids.count(1), 0),
                query_truncated_tokens=max(len(query.ids) - encoding.sequence_ids.count(0), 0),
            )
            for encoding, query, text in zip(encodings, queries, whole, strict=True)
        ]


def codec_of(tokenizer: Tokenizer) -> TokenCodec:
    """Return what stores the ids of ``tokenizer``, which has truncation and padding switched off.

    It is known by its definition and by what it makes of the probes: another version of the library may read the same
    definition in another way.
    """
    probes = [tokenizer.encode(text, add_special_tokens=False).ids for pair in _PROBES for text in pair]
    return TokenCodec(f"{tokenizer.to_str()}\n{probes}".encode(), max(tokenizer.get_vocab().values(), default=0))


def learn_template(tokenizer: Tokenizer) -> PairTemplate | None:
    """Return how ``tokenizer`` joins two texts, seen from one example, or ``None`` if that is no plain sandwich."""
    encoding: Encoding = tokenizer.encode("one", "two")
    sides = encoding.sequence_ids
    if 0 not in sides or 1 not in sides:
        return None
    first = [index for index, side in enumerate(sides) if side == 0]
    second = [index for index, side in enumerate(sides) if side == 1]
    spans = (range(first[0], first[-1] + 1), range(second[0], second[-1] + 1))
    if len(spans[0]) != len(first) or len(spans[1]) != len(second) or first[-1] >= second[0]:
        return None
    first_types, second_types = ({encoding.type_ids[i] for i in span} for span in spans)
    if len(first_types) != 1 or len(second_types) != 1:
        return None
    before, between, after = slice(0, first[0]), slice(first[-1] + 1, second[0]), slice(second[-1] + 1, None)
    return PairTemplate(
        prefix=tuple(encoding.ids[before]),
        middle=tuple(encoding.ids[between]),
        suffix=tuple(encoding.ids[after]),
        prefix_types=tuple(encoding.type_ids[before]),
        middle_types=tuple(encoding.type_ids[between]),
        suffix_types=tuple(encoding.type_ids[after]),
        first_type=first_types.pop(),
        second_type=second_types.pop(),
    )


def composes(tokenizer: Tokenizer, template: PairTemplate) -> bool:
    """Return whether composed ids equal the tokenizer's own on every probe, cut and uncut.

    Switches truncation on and off again meanwhile: copying a large tokenizer takes a second.
    """
    singles = {text: tokenizer.encode(text, add_special_tokens=False).ids for pair in _PROBES for text in pair}
    try:
        for length in _PROBE_LENGTHS:
            tokenizer.enable_truncation(length)
            for query, text in _PROBES:
                expected = tokenizer.encode(query, text)
                first, second = (np.asarray(singles[part], dtype=np.int32) for part in (query, text))
                composed = compose(template, first, second, length)
                if composed.ids.tolist() != expected.ids or composed.type_ids.tolist() != expected.type_ids:
                    return False
        return True
    finally:
        tokenizer.no_truncation()
