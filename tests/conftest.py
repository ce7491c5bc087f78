"""Tiny random cross-encoders of real architectures, made on the spot: no weights are shipped for tests."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def _exports_outside_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the ONNX exports of tiny models out of the user's cache folder."""
    from searchkit.models import onnx_export

    folder = tmp_path_factory.mktemp("onnx-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "cache_root", lambda: folder)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests marked soak at their full counts, for hours")


@pytest.fixture(scope="session")
def is_soak(request: pytest.FixtureRequest) -> bool:
    """Whether the full counts run, on a machine that has nothing else to do."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def soak_count(is_soak: bool) -> Callable[..., int]:
    """Call it with both counts of a test for the one that is to be run."""

    def count(*, full: int, reduced: int) -> int:
        return full if is_soak else reduced

    return count


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
    if architecture == "gte":
        rope = {"rope_type": "default", "rope_theta": 20_000.0}
        return t.GteConfig(**{**_BERT, "vocab_size": 200, "pad_token_id": 0, "rope_parameters": rope, **overrides})
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


def make_bi_encoder(
    folder: Path, *, prompts: dict[str, str] | None = None, pooling: str = "mean", dense: int = 0
) -> Path:
    """Write a random sentence-transformers model to ``folder``."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertModel

    torch.manual_seed(11)
    base = folder / "base"
    bert = BertModel(_config("bert", {}))
    with torch.no_grad():
        for parameter in bert.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    bert.save_pretrained(base)
    _wrapped("words").save_pretrained(base)
    transformer = Transformer(str(base), max_seq_length=64)
    parts = [transformer, Pooling(32, pooling_mode=pooling)]
    if dense:
        parts.append(Dense(32, dense))
    model = SentenceTransformer(modules=[*parts, Normalize()], prompts=prompts or {}, device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def bi_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Call it for the folder of a tiny random sentence-transformers model, cached by its arguments."""
    made: dict[str, Path] = {}

    def make(**settings: Any) -> Path:
        key = json.dumps(settings, sort_keys=True)
        if key not in made:
            made[key] = make_bi_encoder(tmp_path_factory.mktemp("tiny-bi-encoder"), **settings)
        return made[key]

    return make


@pytest.fixture(scope="session")
def onnx_encoder_folder(tmp_path_factory: pytest.TempPathFactory, bi_encoder_folder: TinyModels) -> Path:
    """The same tiny bi-encoder as an ONNX model in fastembed's layout."""
    import shutil
    import warnings

    import torch
    from transformers import AutoModel

    class _Named(torch.nn.Module):
        def __init__(self, model: Any, names: list[str]) -> None:
            super().__init__()
            self.model, self.names = model, names

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(self.names, inputs, strict=True))).last_hidden_state

    folder = tmp_path_factory.mktemp("tiny-onnx") / "model"
    shutil.copytree(bi_encoder_folder(), folder)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Named(AutoModel.from_pretrained(folder), names).eval(),
            example,
            str(folder / "model.onnx"),
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "last_hidden_state"]},
            opset_version=17,
            dynamo=False,
        )
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
