from __future__ import annotations

import hashlib
import json
import os

from searchkit.models import tokenizer_hash, weight_hash
from searchkit.models.hashing import file_hash


def test_one_weight_file_hashes_to_its_own_sha256(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weight_hash(tmp_path) == hashlib.sha256(b"weights").hexdigest()


def test_several_weight_files_count_with_their_names(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"1")
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "model.safetensors").write_bytes(b"2")
    first = weight_hash(tmp_path)
    (tmp_path / "2_Dense" / "model.safetensors").write_bytes(b"3")
    second = weight_hash(tmp_path)
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    assert len({first, second, weight_hash(tmp_path)}) == 3


def test_a_file_that_changed_is_read_again_and_an_unchanged_one_is_not(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old!")
    os.utime(path, ns=(1, 1))
    old = file_hash(path)
    path.write_bytes(b"new!")
    os.utime(path, ns=(1, 1))
    assert file_hash(path) == old, "same size and time: taken from the cache"
    os.utime(path, ns=(2, 2))
    assert file_hash(path) == hashlib.sha256(b"new!").hexdigest()


def test_truncation_and_padding_do_not_change_a_tokenizers_hash(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {"a": 0}}, "truncation": {"max_length": 128}, "padding": None}))
    first = tokenizer_hash(tmp_path)
    path.write_text(json.dumps({"padding": {"length": 128}, "model": {"vocab": {"a": 0}}}, indent=2))
    assert tokenizer_hash(tmp_path) == first
    path.write_text(json.dumps({"model": {"vocab": {"a": 1}}}, indent=2))
    assert tokenizer_hash(tmp_path) != first


def test_a_folder_without_a_tokenizer_has_an_empty_hash_and_one_with_a_vocabulary_does_not(tmp_path):
    assert tokenizer_hash(tmp_path) == ""
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    assert len(tokenizer_hash(tmp_path)) == 64
