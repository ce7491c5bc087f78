"""Base of all settings: a value that cannot work is a `ConfigError` that names it and says what would."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError

from searchkit.errors import ConfigError
from searchkit.types import Frozen

T = TypeVar("T", bound="Settings")

_SHOWN_CHARS = 80


class Settings(Frozen):
    """A group of settings, checked by pydantic when it is made.

    Raises:
        ConfigError: A value cannot work, or there is no setting of that name. Pydantic's own error is its cause; within
            a model of the caller's, pydantic reports the mistake as one of that model's.
    """

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _as_ours(type(self), error) from error

    model_config = ConfigDict(allow_inf_nan=False)

    # Pydantic would call the constructor for each nested group, and lose the path to the field that is wrong.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls: type[T], obj: Any, **options: Any) -> T:  # the options are pydantic's
        """Return the settings that a dict holds; as the constructor, see there."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise _as_ours(cls, error) from error

    @classmethod
    def model_validate_json(cls: type[T], json_data: str | bytes | bytearray, **options: Any) -> T:
        """Return the settings that a JSON text holds; as the constructor, see there."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise _as_ours(cls, error) from error


def _as_ours(model: type[Settings], error: ValidationError) -> ConfigError:
    """Return the first mistake in words, and how many more there are."""
    mistakes = error.errors(include_url=False)
    first = mistakes[0]
    name = ".".join(str(part) for part in (model.__name__, *first["loc"]))
    rest = f" (and {len(mistakes) - 1} more settings are wrong)" if len(mistakes) > 1 else ""
    if first["type"] == "extra_forbidden":  # its value may be anything, a key included
        return ConfigError(f"there is no setting {name}: {_alternatives(model, first['loc'])}{rest}")
    message = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
    value = repr(first["input"])
    shown = value if len(value) <= _SHOWN_CHARS else f"{value[: _SHOWN_CHARS - 3]}..."
    return ConfigError(f"{name}={shown} cannot be used: {message[0].lower()}{message[1:]}{rest}")


def _alternatives(model: type[Settings], path: Sequence[str | int]) -> str:
    """Return what might have been meant by a name that is none."""
    known: type[Any] = model
    for part in path[:-1]:
        field = known.model_fields.get(str(part))
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)]
        if not inner:
            return "leave it out"
        known = inner[0]
    names = sorted(known.model_fields)
    close = get_close_matches(str(path[-1]), names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
