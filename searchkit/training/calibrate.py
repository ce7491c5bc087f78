"""The profile beside a model's weights, as a file."""

from __future__ import annotations

from pathlib import Path

from searchkit.config import RerankerProfile
from searchkit.errors import ConfigError
from searchkit.reranking.model_files import PROFILE_FILE


def write_profile(profile: RerankerProfile, folder: str | Path) -> Path:
    """Write the profile into a model's folder, where `CrossEncoderReranker` looks for it, and return its path.

    Raises:
        ConfigError: The folder is not there or cannot be written.
    """
    path = Path(folder) / PROFILE_FILE
    try:
        path.write_text(profile.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return path
