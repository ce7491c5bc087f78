"""A kit bound to a scope: the same calls, on what lies within it alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from searchkit.collection.scope import ScopeValue, scope_of
from searchkit.face import KitFace
from searchkit.parts import Parts


class ScopedKit(KitFace):
    """A view of a kit that sees, writes and deletes what has the bound metadata values, whatever its callers ask for.

    Made by `searchkit.SearchKit.scoped`, in microseconds: make one a request. It shares the models, threads and the
    memory of the score cache with its kit, and owns nothing: closing it does nothing, and closing the kit closes it.

    - No filter widens the scope: it is one more condition above any filter of the caller's, raw
      ``qdrant_client.models.Filter`` objects included, and every passage is looked at again before it is handed out.
    - `add` writes the bound fields, and refuses a passage that has another value there. Ids belong to the scope:
      the same id in two scopes is two passages, and neither scope can tell that the other has one.
    - By id, it reaches passages written through the same scope, and those written through the kit itself whose
      metadata have the bound values.
    - A passage whose field is a list that holds the value is shared: it is found and read, and can be neither replaced
      nor deleted here.

    Args:
        parts: The parts of the kit.
        fields: Metadata fields with the value that each is bound to.

    Raises:
        ConfigError: A field or a value cannot be bound.
    """

    def __init__(self, parts: Parts, fields: Mapping[str, ScopeValue]) -> None:
        scope = scope_of(fields)
        super().__init__(parts.within(scope))
        self._fields = dict(scope.fields)

    @property
    def fields(self) -> dict[str, ScopeValue]:
        """The bound metadata fields with their values."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"ScopedKit({self.name!r}, {self._fields}, {self._parts.collection.location})"

    def __enter__(self) -> ScopedKit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: what this kit uses belongs to the kit that it was made from."""
