from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from searchkit.encoding import SentenceEncoder
from searchkit.errors import ConfigError, EncodingError
from searchkit.models import ModelNotFoundError, find_model

TEXTS = [
    "how many people live in berlin",
    "",
    "word " * 400,
    "naïve café 你好 \N{ROCKET}",
    "x",
    "A sentence, with punctuation; and more.",
]


def reference(folder: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize("settings", [{}, {"pooling": "cls"}, {"pooling": "max"}, {"dense": 16}])
def test_vectors_equal_those_of_sentence_transformers(bi_encoder_folder, settings):
    folder = bi_encoder_folder(**settings)
    encoder = SentenceEncoder(folder, device="cpu")
    expected = reference(folder).encode(TEXTS, normalize_embeddings=True)
    found = encoder.encode_passages(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (len(TEXTS), encoder.dimension)
    assert np.abs(found - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    assert np.abs(expected[0] - expected[4]).max() > 0.01, "the random model cannot tell texts apart"


def test_vectors_of_the_default_model_equal_those_of_sentence_transformers():
    try:
        folder = find_model("all-MiniLM-L6-v2", offline=True).path
    except ModelNotFoundError:
        pytest.skip("the extra 'offline' is not installed")
    encoder = SentenceEncoder(device="cpu")
    texts = [*TEXTS, "token " * 200]
    expected = reference(folder).encode(texts, normalize_embeddings=True)
    assert np.abs(encoder.encode_queries(texts) - expected).max() < 1e-5
    assert (encoder.dimension, encoder.max_tokens) == (384, 256), "not the 128 that its tokenizer files carry"


def test_declared_prompts_are_put_before_queries_and_passages_and_can_be_replaced(bi_encoder_folder):
    folder = bi_encoder_folder(prompts={"query": "people: ", "document": "berlin: "})
    other = reference(folder)
    encoder = SentenceEncoder(folder, device="cpu")
    assert np.abs(encoder.encode_queries(TEXTS) - other.encode_query(TEXTS, normalize_embeddings=True)).max() < 1e-5
    assert np.abs(encoder.encode_passages(TEXTS) - other.encode_document(TEXTS, normalize_embeddings=True)).max() < 1e-5
    fingerprint = encoder.fingerprint()
    assert (fingerprint.query_prompt, fingerprint.passage_prompt) == ("people: ", "berlin: ")
    bare = SentenceEncoder(folder, device="cpu", query_prompt="", passage_prompt="")
    assert np.allclose(bare.encode_queries(TEXTS), bare.encode_passages(TEXTS), atol=1e-6)
    assert bare.fingerprint() != fingerprint


def test_batches_do_not_change_the_order_or_the_vectors(bi_encoder_folder):
    texts = [f"{'word ' * (index * 7 % 30)}{index}" for index in range(50)]
    folder = bi_encoder_folder()
    one_by_one = SentenceEncoder(folder, device="cpu", batch_size=1).encode_passages(texts)
    together = SentenceEncoder(folder, device="cpu", batch_size=64).encode_passages(texts)
    assert np.abs(one_by_one - together).max() < 1e-5


def test_no_texts_give_an_empty_matrix_of_the_right_width(bi_encoder_folder):
    assert SentenceEncoder(bi_encoder_folder(), device="cpu").encode_queries([]).shape == (0, 32)


def test_spans_cover_the_words_without_special_tokens_and_beyond_the_limit(bi_encoder_folder):
    encoder = SentenceEncoder(bi_encoder_folder(), device="cpu")
    text = "  Berlin, people"
    assert [text[start:end] for start, end in encoder.token_spans(text)] == ["Berlin", ",", "people"]
    assert len(encoder.token_spans("word " * 400)) == 400
    assert encoder.token_spans("") == []


def test_what_the_manifest_needs_is_known_without_torch(bi_encoder_folder):
    code = (
        "import sys; from searchkit.encoding import SentenceEncoder; e = SentenceEncoder(sys.argv[1]);"
        "e.fingerprint(), e.dimension, e.max_tokens, e.token_spans('people in berlin');"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(bi_encoder_folder())], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_the_fingerprint_tells_weights_and_pooling_apart_and_not_folders(bi_encoder_folder, tmp_path):
    folder = bi_encoder_folder()
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    first = SentenceEncoder(folder).fingerprint()
    assert first == SentenceEncoder(copy).fingerprint()
    assert first.dimension == 32
    assert first.max_tokens == 64
    assert first.weight_hash != SentenceEncoder(bi_encoder_folder(pooling="cls")).fingerprint().weight_hash


def test_a_shorter_limit_cuts_and_a_longer_one_is_held_to_the_model(bi_encoder_folder):
    folder = bi_encoder_folder()
    short = SentenceEncoder(folder, device="cpu", max_tokens=8)
    assert np.allclose(short.encode_passages(["word " * 6]), short.encode_passages(["word " * 60]), atol=1e-6)
    assert SentenceEncoder(folder, max_tokens=4096).max_tokens == 64


@pytest.mark.parametrize("texts", ["one string", [None], [b"bytes"], ["fine", "lone \ud800 surrogate"]])
def test_what_is_no_list_of_texts_is_refused(bi_encoder_folder, texts):
    with pytest.raises(EncodingError):
        SentenceEncoder(bi_encoder_folder(), device="cpu").encode_queries(texts)


def test_nan_in_a_vector_is_refused_with_the_texts_index(bi_encoder_folder, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "nan"
    shutil.copytree(bi_encoder_folder(), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][5 + 26 + 10 + 32 + 4] = torch.nan  # 你
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncodingError, match="without direction"):
        SentenceEncoder(folder, device="cpu").encode_passages(["people", "你"])


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"max_tokens": 2}])
def test_an_impossible_argument_is_a_config_error(arguments):
    with pytest.raises(ConfigError):
        SentenceEncoder(**arguments)


def test_a_missing_model_is_an_encoding_error_that_lists_the_places():
    with pytest.raises(EncodingError, match="local hub cache"):
        SentenceEncoder("nobody/nothing-here", offline=True).encode_queries(["x"])


def test_a_damaged_folder_is_an_encoding_error(bi_encoder_folder, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(bi_encoder_folder(), folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(EncodingError, match="damaged"):
        _ = SentenceEncoder(folder).dimension
    shutil.copy(bi_encoder_folder() / "modules.json", folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EncodingError, match="tokenizer"):
        SentenceEncoder(folder).token_spans("x")


def test_threads_that_ask_first_at_once_agree(bi_encoder_folder):
    encoder = SentenceEncoder(bi_encoder_folder(), device="cpu")
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(encoder.encode_passages(TEXTS))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(np.allclose(vectors, found[0], atol=1e-6) for vectors in found)
