"""A search endpoint. Start it with ``uvicorn --factory fastapi_app:create_app`` and post to /search.

curl -X POST localhost:8000/search -H 'content-type: application/json' -d '{"query": "how are hairdressers paid"}'
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from searchkit import SearchKit
from searchkit.errors import ConfigError, RetrievalTimeoutError
from searchkit.types import SearchResult


class Question(BaseModel):
    query: str = Field(min_length=1)
    top_k: int = Field(default=5, ge=1, le=50)
    criteria: str | None = None
    filter: dict[str, Any] | None = None


def create_app(kit: SearchKit | None = None) -> FastAPI:
    """Return the app; without a kit it searches the collection "handbook" in ./.searchkit."""
    used = kit or SearchKit("handbook")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if kit is None:  # a kit that was handed in is its owner's to close
            used.close()

    app = FastAPI(title="search", lifespan=lifespan)

    @app.post("/search")
    async def search(question: Question) -> SearchResult:
        try:
            # A thread does the work; the event loop goes on serving. The answer comes within two seconds.
            return await used.asearch(
                question.query,
                top_k=question.top_k,
                criteria=question.criteria,
                filter=question.filter,
                deadline_s=2.0,
            )
        except ConfigError as error:
            raise HTTPException(422, str(error)) from error
        except RetrievalTimeoutError as error:
            raise HTTPException(504, str(error)) from error

    return app
