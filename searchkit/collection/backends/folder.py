"""The folder of an embedded collection: which files it has, who may open it, and what they say.

searchkit.json   the manifest, written once, first of all
lock             held by the process that has the collection open; says who that is
engine/          the shard of qdrant-edge; engine-.../ once it was optimized
ledger.json      which of them it is, how many points it should hold, and their checksums; written after every flush.
                 Its format is that of all these files: `searchkit.collection.backends.store_format`
seal.json        sizes and checksums of the engine's files; there while the store is closed and complete
writing          the journal, there while points are written; found at open it means that the writer was interrupted
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from searchkit.collection.backends.checked_json import dump_checked, load_checked, replace_checked
from searchkit.collection.backends.journal import Expectation, read_journal
from searchkit.collection.backends.owner import find_owner, take_lock
from searchkit.collection.backends.seal import FileMark, Seal
from searchkit.collection.backends.store_format import OldRecord, check_format, old_record, stamped
from searchkit.collection.ledger import Ledger, read_ledger
from searchkit.collection.manifest import Manifest, read_manifest
from searchkit.errors import CollectionError, ConfigError

ENGINE = "engine"
VIEW_PREFIX = ".searchkit-view-"
_ENGINE_NAME = re.compile(r"engine(-[0-9a-f]{8})?")
_FORBIDDEN = frozenset('/\\:*?"<>|\0')
_MAX_NAME_CHARS = 200


def collection_folder(root: str | Path, name: str) -> CollectionFolder:
    """Return the folder of the collection ``name`` under ``root``; nothing is created.

    Raises:
        ConfigError: The name cannot be that of a folder, or would lead out of ``root``; or ``root`` is ":memory:".
        CollectionError: There is something else at that place.
    """
    if str(root) == ":memory:":  # SQLite's word and qdrant-client's: nobody who writes it wants a folder of that name
        raise ConfigError('path=":memory:" is no folder; for one in memory pass client=QdrantClient(":memory:")')
    is_bad = name in {"", ".", ".."} or name != name.strip() or not name.isprintable() or len(name) > _MAX_NAME_CHARS
    if is_bad or not _FORBIDDEN.isdisjoint(name):
        raise ConfigError(
            f"{name!a} cannot name a collection: use 1 to {_MAX_NAME_CHARS} printable characters, none of "
            '/ \\ : * ? " < > |, not "." or ".."'
        )
    folder = CollectionFolder(Path(root).expanduser().absolute() / name)  # the process may change its folder
    with folder.mapped_os_errors():
        folder.check_ownership()
    return folder


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """What the folder says about its store.

    Attributes:
        ledger: What the store holds, as of the last flush.
        engine: Name of the engine's folder; an optimized copy takes another name, so that this file is the switch.
        unindexed: Points written since the index was built, about.
    """

    ledger: Ledger
    engine: str = ENGINE
    unindexed: int = 0


class CollectionFolder:
    """Files of one collection. Only `create`, the locks and the writers touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "writing"
        self.lock_file = path / "lock"
        self._manifest = path / "searchkit.json"
        self._record = path / "ledger.json"
        self._seal = path / "seal.json"

    @property
    def is_there(self) -> bool:
        """Whether a collection was created here."""
        return self._manifest.exists()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the same for every spelling of the path, another after it was deleted and made again."""
        status = self._manifest.stat()
        return status.st_dev, status.st_ino

    @property
    def looks_like_ours(self) -> bool:
        """Whether a collection was created here, or something is left of one."""
        return any(path.exists() for path in (self._manifest, self._record, self._seal))

    def check_ownership(self) -> None:
        """Raise ``CollectionError`` if there is something here that we did not make."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if not self.path.is_dir():
            raise CollectionError(f"{self.path} is not a folder; choose another path or another collection name")
        entries = sorted(entry.name for entry in self.path.iterdir())
        foreign = [name for name in entries if not name.startswith(".searchkit-")]
        if foreign and not self.is_there:
            raise CollectionError(
                f"{self.path} is not a searchkit collection: it has no searchkit.json but holds {foreign[:3]}; "
                "choose another path or another collection name (nothing was changed)"
            )

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            CollectionError: It is damaged.
        """
        return read_manifest(self._read(self._manifest), f"the collection in {self.path}")

    def create(self, manifest: Manifest) -> Manifest:
        """Write the manifest, which creates the collection, unless another process was faster; return the valid one."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / f".searchkit-{os.getpid()}.json"
        draft.write_text(dump_checked(manifest.model_dump()), encoding="utf-8")
        try:
            _place(draft, self._manifest)
        except FileExistsError:
            return self.read_manifest()
        finally:
            draft.unlink(missing_ok=True)
        return manifest

    def replace_manifest(self, manifest: Manifest) -> None:
        """Write the manifest in place of a damaged one."""
        replace_checked(self._manifest, manifest.model_dump())

    def read_record(self) -> StoreRecord | None:
        """Return what the store should be; ``None`` if the engine's creation was never finished.

        Raises:
            StoreFormatError: It is in the format of another version of searchkit.
            CollectionError: It is damaged.
        """
        if not self._record.exists():
            return None
        stored = self._read(self._record)
        try:
            check_format(stored, self.path)
            return _record_from(stored)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(self._record, error) from error

    def read_old_record(self) -> OldRecord:
        """Return what a ledger of the oldest format says.

        Raises:
            CollectionError: It is damaged.
        """
        stored = self._read(self._record)
        try:
            return old_record(stored)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(self._record, error) from error

    def write_record(self, record: StoreRecord) -> None:
        """Replace what the folder says about its store."""
        numbers = record.ledger.to_json()
        replace_checked(self._record, stamped(numbers) | {"engine": record.engine, "unindexed": record.unindexed})

    def read_expectation(self, record: StoreRecord) -> Expectation:
        """Return what the store may hold, in view of what its last writer was doing."""
        if not self.journal.exists():
            return Expectation((record.ledger,))
        try:
            return read_journal(self.journal, record.ledger)
        except (ValueError, IndexError) as error:
            raise self._damaged(self.journal, error) from error

    def read_seal(self) -> dict[str, FileMark] | None:
        """Return the marks of the engine's files; ``None`` if the store was not closed in good order."""
        if not self._seal.exists():
            return None
        try:
            return {
                name: FileMark(int(size), int(crc)) for name, (size, crc) in self._read(self._seal)["files"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._damaged(self._seal, error) from error

    def write_seal(self, seal: Seal) -> None:
        """Say that the engine's files are complete and look like this."""
        replace_checked(self._seal, {"files": {name: [mark.size, mark.crc] for name, mark in seal.items()}})

    def drop_seal(self) -> None:
        """Say that the engine's files are about to change."""
        self._seal.unlink(missing_ok=True)

    def leftovers(self, record: StoreRecord) -> list[Path]:
        """Return what an optimization left that was interrupted, and readers that were killed."""
        return [
            path
            for path in self.path.iterdir()
            if path.name.startswith(VIEW_PREFIX) or (is_engine_name(path.name) and path.name != record.engine)
        ]

    def lock(self, *, is_reader: bool = False) -> IO[str]:
        """Lock the collection for this process and return the open file; closing it unlocks.

        Raises:
            CollectionError: Another process has it.
        """
        try:
            return take_lock(self.lock_file, is_reader=is_reader)
        except BlockingIOError as error:
            owner = find_owner(self.lock_file)
            raise CollectionError(
                f"the collection in {self.path} is open in another process{f' ({owner})' if owner else ''}; close it "
                "there (SearchKit.close()), open it everywhere with SearchKitConfig(read_only=True), or share one "
                "collection between processes through a Qdrant server (url=...)"
            ) from error

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            return load_checked(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, reason: Exception) -> CollectionError:
        return CollectionError(
            f"{path} is damaged ({reason}); `searchkit doctor --repair` mends what can be mended, else restore "
            f"{self.path} from a backup, or delete it and add the passages again"
        )

    @contextmanager
    def mapped_os_errors(self) -> Iterator[None]:
        """Turn the operating system's errors into a ``CollectionError`` that names the folder."""
        try:
            yield
        except OSError as error:
            raise CollectionError(
                f"the collection in {self.path} cannot be used: {error.strerror or error}; check the path, its "
                "permissions and the free space"
            ) from error


def is_engine_name(name: str) -> bool:
    """Whether a folder of this name belongs to the engine."""
    return _ENGINE_NAME.fullmatch(name) is not None


def _record_from(stored: Mapping[str, Any]) -> StoreRecord:
    ledger = read_ledger(stored)
    if not is_engine_name(stored["engine"]):
        raise ValueError(f"the engine's folder is {stored['engine']!a}")
    return StoreRecord(ledger, stored["engine"], int(stored["unindexed"]))


def _place(draft: Path, target: Path) -> None:
    """Give ``draft`` its final name without ever replacing a file."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # file systems without hard links
        if target.exists():
            raise FileExistsError(target) from None
        draft.rename(target)
