"""The card beside a model's weights, as files: README.md to read, card.json to compute with."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from searchkit.errors import ConfigError
from searchkit.training.card import CardFacts, render_card

CARD_FILE = "card.json"


def read_card(folder: str | Path) -> CardFacts:
    """Return what the card of a trained model states.

    Raises:
        ConfigError: The folder has no card, or it is damaged.
    """
    path = Path(folder) / CARD_FILE
    try:
        return CardFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error


def write_card(facts: CardFacts, folder: str | Path) -> None:
    """Write the card into a model's folder; what is there is replaced."""
    (Path(folder) / "README.md").write_text(render_card(facts), encoding="utf-8")
    (Path(folder) / CARD_FILE).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
