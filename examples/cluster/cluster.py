"""A replicated collection on a cluster: the same code as on one server, with settings for shards and copies.

    python examples/cluster/cluster.py http://localhost:6333

The key of the cluster is read from QDRANT_API_KEY.
"""

import os
import sys

from searchkit import SearchKit, SearchKitConfig
from searchkit.config import ServerConfig, StorageConfig

CONFIG = SearchKitConfig(
    filter_fields={"year": "integer", "lang": "keyword"},  # indexed before the first passage is written
    timeout_s=10.0,
    server=ServerConfig(
        storage=StorageConfig(
            shard_number=3,
            replication_factor=2,  # any one node may be lost
            write_consistency_factor=2,  # a write is acknowledged when both copies have it
            quantization="scalar",
            vectors_on_disk=True,
        ),
    ),
)


def main(url: str, api_key: str | None) -> None:
    with SearchKit("handbook", url=url, api_key=api_key, config=CONFIG) as kit:
        report = kit.add(
            [
                {
                    "id": "hours",
                    "text": "How hairdressers are paid: by the hour, plus tips.",
                    "year": 2019,
                    "lang": "en",
                },
                {"id": "wages", "text": "Hairdressers earned a median wage of $35,080.", "year": 2023, "lang": "en"},
            ]
        )
        print(f"{report.added} added, {report.unchanged} unchanged, {kit.count()} in all")
        for hit in kit.search("how are hairdressers paid", filter={"year": {"gte": 2020}}):
            print(hit.rank, f"{hit.score:.2f}", hit.id)


if __name__ == "__main__":
    main(sys.argv[1], os.environ.get("QDRANT_API_KEY"))
