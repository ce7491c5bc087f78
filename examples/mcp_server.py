"""An MCP server with one tool, which searches the collection "handbook" in ./.searchkit: ``python mcp_server.py``."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from searchkit import SearchKit


class Passage(BaseModel):
    """What the model gets to read; a score is a probability of relevance, 0..1."""

    id: str
    text: str
    score: float


def create_server(kit: SearchKit) -> MCPServer:
    server = MCPServer("handbook")

    @server.tool()
    async def search_handbook(query: str, criteria: str | None = None, top_k: int = 5) -> list[Passage]:
        """Search the handbook.

        Args:
            query: What to look for, as a question or in key words.
            criteria: One sentence that says what makes a passage relevant, such as "States a yearly wage in dollars."
            top_k: Number of passages wanted.
        """
        result = await kit.asearch(query, criteria=criteria, top_k=top_k, candidate_depth=max(50, top_k))
        return [Passage(id=str(hit.id), text=hit.text, score=hit.score) for hit in result]

    return server


if __name__ == "__main__":
    with SearchKit("handbook") as kit:
        create_server(kit).run()
