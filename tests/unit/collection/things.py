"""The embedded collection that tests of the store's files open, close and break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from searchkit.collection import Collection, open_collection
from searchkit.config import SearchKitConfig
from searchkit.testing import FakeEncoder, FakeSparseEncoder


def open_things(root: Path, **config: Any) -> Collection:
    """Open the collection ``things`` below ``root``: short windows, so that a long text has several."""
    return open_collection(
        "things",
        path=root,
        encoder=FakeEncoder(16, max_tokens=34),
        sparse_encoder=FakeSparseEncoder(),
        config=SearchKitConfig.model_validate({"windows": {"overlap_tokens": 4}} | config),
    )
