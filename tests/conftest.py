"""Tiny random cross-encoders of real architectures, made on the spot: no weights are shipped for tests."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TinyModels = Callable[..., Path]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SIZES = {"num_labels": 1, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_BERT = {**_SIZES, "max_position_embeddings": 512, "initializer_range": 0.3}


def word_piece_tokenizer() -> Any:
    """A WordPiece tokenizer over single characters and a few words, with BERT's own joining of pairs."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    characters = string.ascii_lowercase + string.digits + string.punctuation + "äöüß你好"
    words = ["berlin", "people", "the", "in", "live", "how", "many", "word", "##s", "##ing"]
    entries = [*_SPECIAL, *characters, *(f"##{character}" for character in characters), *words]
    vocabulary = {entry: index for index, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def byte_tokenizer() -> Any:
    """A byte-level BPE without merges that joins pairs as RoBERTa does: two separators, one token type."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    entries = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({entry: index for index, entry in enumerate(entries)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def _wrapped(family: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    if family == "bytes":
        return PreTrainedTokenizerFast(
            tokenizer_object=byte_tokenizer(),
            model_max_length=512,
            model_input_names=["input_ids", "attention_mask"],
            pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>", bos_token="<s>", eos_token="</s>",
        )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=word_piece_tokenizer(),
        model_max_length=512,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def _config(architecture: str, overrides: dict[str, Any]) -> Any:
    import transformers as t

    if architecture == "bert":
        return t.BertConfig(**{**_BERT, "vocab_size": 200, **overrides})
    if architecture == "electra":
        return t.ElectraConfig(**{**_BERT, "vocab_size": 200, "embedding_size": 16, **overrides})
    if architecture == "distilbert":
        return t.DistilBertConfig(
            vocab_size=200, dim=32, n_layers=2, n_heads=4, hidden_dim=64, num_labels=1, **overrides
        )
    if architecture == "xlm-roberta":
        sizes = {**_BERT, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
        return t.XLMRobertaConfig(**{**sizes, "vocab_size": 300, **overrides})
    if architecture == "modernbert":
        special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        return t.ModernBertConfig(**{**_SIZES, **special, "vocab_size": 200, "local_attention": 16, **overrides})
    if architecture == "deberta-v2":
        relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 32}
        return t.DebertaV2Config(**{**_BERT, **relative, "vocab_size": 200, "type_vocab_size": 0, **overrides})
    raise ValueError(architecture)


def make_cross_encoder(folder: Path, architecture: str, *, activation: str | None = None, **config: Any) -> Path:
    """Write a random cross-encoder to ``folder``; ``activation`` as sentence-transformers writes it."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(7)
    settings = _config(architecture, config)
    if activation is not None:
        settings.sentence_transformers = {"activation_fn": activation, "version": "5.0.0"}
    model = AutoModelForSequenceClassification.from_config(settings).eval()
    with torch.no_grad():  # as initialised, every pair would get nearly the same score
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    model.save_pretrained(folder)
    _wrapped("bytes" if architecture == "xlm-roberta" else "words").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Call it with an architecture (and config overrides) for the folder of a tiny random cross-encoder, cached."""
    made: dict[str, Path] = {}

    def make(architecture: str = "bert", *, activation: str | None = None, **config: Any) -> Path:
        key = json.dumps([architecture, activation, config], sort_keys=True)
        if key not in made:
            made[key] = make_cross_encoder(
                tmp_path_factory.mktemp(f"tiny-{architecture}"), architecture, activation=activation, **config
            )
        return made[key]

    return make
