"""The folder of an embedded collection: which files it has, who may open it, and what they say.

searchkit.json   the manifest, written once, first of all
lock             held by the process that has the collection open; holds its id
engine/          the shard of qdrant-edge
ledger.json      how many points the shard should hold, and their checksum; written after every flush
writing          there while points are written; found at open it means that the writer was interrupted
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from searchkit.collection.manifest import Ledger, Manifest, read_manifest
from searchkit.errors import CollectionError, ConfigError

if sys.platform == "win32":  # pragma: no cover
    import msvcrt
else:
    import fcntl

_FORBIDDEN = frozenset('/\\:*?"<>|\0')
_MAX_NAME_CHARS = 200


def collection_folder(root: str | Path, name: str) -> CollectionFolder:
    """Return the folder of the collection ``name`` under ``root``; nothing is created.

    Raises:
        ConfigError: The name cannot be that of a folder, or would lead out of ``root``.
        CollectionError: There is something else at that place.
    """
    is_bad = name in {"", ".", ".."} or name != name.strip() or not name.isprintable() or len(name) > _MAX_NAME_CHARS
    if is_bad or not _FORBIDDEN.isdisjoint(name):
        raise ConfigError(
            f"{name!a} cannot name a collection: use 1 to {_MAX_NAME_CHARS} printable characters, none of "
            '/ \\ : * ? " < > |, not "." or ".."'
        )
    folder = CollectionFolder(Path(root).expanduser() / name)
    with folder.mapped_os_errors():
        folder.check_ownership()
    return folder


class CollectionFolder:
    """Files of one collection. Only `create`, `lock` and the writers touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = path / "engine"
        self._manifest = path / "searchkit.json"
        self._ledger = path / "ledger.json"
        self._writing = path / "writing"
        self._lock = path / "lock"

    @property
    def is_there(self) -> bool:
        """Whether a collection was created here."""
        return self._manifest.exists()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the same for every spelling of the path, another after it was deleted and made again."""
        status = self._manifest.stat()
        return status.st_dev, status.st_ino

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
        return read_manifest(self._read_json(self._manifest), f"the collection in {self.path}")

    def create(self, manifest: Manifest) -> Manifest:
        """Write the manifest, which creates the collection, unless another process was faster; return the valid one."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / f".searchkit-{os.getpid()}.json"
        draft.write_text(json.dumps(manifest.model_dump(), indent=2), encoding="utf-8")
        try:
            _place(draft, self._manifest)
        except FileExistsError:
            return self.read_manifest()
        finally:
            draft.unlink(missing_ok=True)
        return manifest

    def read_ledger(self) -> Ledger | None:
        """Return the ledger; ``None`` if the engine's creation was never finished."""
        if not self._ledger.exists():
            return None
        stored = self._read_json(self._ledger)
        try:
            return Ledger(int(stored["points"]), int(stored["checksum"], 16))
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(self._ledger) from error

    def write_ledger(self, ledger: Ledger) -> None:
        """Replace the ledger."""
        draft = self.path / ".searchkit-ledger.json"
        draft.write_text(json.dumps({"points": ledger.count, "checksum": f"{ledger.checksum:x}"}), encoding="utf-8")
        draft.replace(self._ledger)

    @property
    def is_marked(self) -> bool:
        """Whether points are being written, or the last writer was interrupted."""
        return self._writing.exists()

    def mark(self) -> None:
        """Say that points are being written."""
        self._writing.touch()

    def unmark(self) -> None:
        """Say that all that was written is safe."""
        self._writing.unlink(missing_ok=True)

    def lock(self) -> IO[str]:
        """Lock the collection for this process and return the open file; closing it unlocks.

        Raises:
            CollectionError: Another process has it.
        """
        handle = self._lock.open("a+", encoding="utf-8")
        try:
            _lock_file(handle)
        except OSError as error:
            owner = self._owner()
            handle.close()
            raise CollectionError(
                f"the collection in {self.path} is open in another process{owner}; close it there (SearchKit.close()), "
                "or share one collection between processes through a Qdrant server (url=...)"
            ) from error
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        return handle

    def _owner(self) -> str:
        with suppress(OSError, ValueError):
            return f" (process id {int(self._lock.read_text(encoding='utf-8'))})"
        return ""

    def _read_json(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._damaged(path) from error

    def _damaged(self, path: Path) -> CollectionError:
        return CollectionError(
            f"{path} is damaged; restore {self.path} from a backup, or delete it and add the passages again"
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


def _lock_file(handle: IO[str]) -> None:
    if sys.platform == "win32":  # pragma: no cover
        handle.seek(1024)  # beyond the process id, which others must be able to read
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
