"""What identifies a model's weights and its tokenizer, computed from files without loading either."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

_CHUNK = 1 << 20
_VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")


def weight_hash(folder: Path, pattern: str = "*.safetensors") -> str:
    """Return the SHA-256 (hex) over a model's weights.

    With one weight file this is the file's own SHA-256; with several, the hash over their relative names and hashes in
    sorted order. Files below the folder (further modules of a bi-encoder) count. Each file is read once a process as
    long as its path, size and modification time stay the same.
    """
    files = sorted(folder.rglob(pattern), key=lambda path: path.relative_to(folder).as_posix())
    digests = [(path.relative_to(folder).as_posix(), file_hash(path)) for path in files]
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in digests).encode()).hexdigest()


def tokenizer_hash(folder: Path) -> str:
    """Return the SHA-256 (hex) over a tokenizer's definition, or ``""`` if the folder has none.

    Truncation and padding stored in ``tokenizer.json`` do not count: callers set both themselves.
    """
    definition = folder / "tokenizer.json"
    if definition.is_file():
        stat = definition.stat()
        return _definition_hash(definition, stat.st_size, stat.st_mtime_ns)
    digests = [f"{name} {file_hash(folder / name)}" for name in _VOCABULARIES if (folder / name).is_file()]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if digests else ""


def definition_hash(definition: str) -> str:
    """Return the SHA-256 (hex) over the text of a ``tokenizer.json``, its truncation and padding left out."""
    fields = json.loads(definition)
    fields.pop("truncation", None)
    fields.pop("padding", None)
    return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, cached by path, size and modification time."""
    stat = path.stat()
    return _file_hash(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _definition_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    return definition_hash(path.read_text(encoding="utf-8"))
