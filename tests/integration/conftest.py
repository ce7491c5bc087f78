"""The two stores that need no server, as one fixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient


@pytest.fixture(params=["embedded", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What `SearchKit` takes to lie in a folder of the test's own, or in memory."""
    if request.param == "embedded":
        yield {"path": tmp_path}
    else:
        client = QdrantClient(":memory:")
        yield {"client": client}
        client.close()
