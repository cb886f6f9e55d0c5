"""What a build keeps for the next one: facts by content, and what each page was made from.

One SQLite file a repository and output, in the user's cache folder. It holds JSON and digests; a file that can't be
read as that is begun anew, since all of it can be found again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pagedex import __version__
from pagedex.building.plain import from_json, to_json
from pagedex.model.facts import Facts

_LAYOUT = 1


def default_folder() -> Path:
    """Where caches lie unless the user says otherwise: ``pagedex`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pagedex"


class Cache:
    """Facts and digests of the last build of one repository into one output."""

    def __init__(self, folder: Path, root: str, output: str) -> None:
        named = hashlib.blake2b(f"{root}\0{output}".encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()
        self._path = folder / f"{named}.sqlite"
        self._database: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        for attempt in (1, 2):
            database = sqlite3.connect(self._path, isolation_level=None)
            try:
                (layout,) = database.execute("PRAGMA user_version").fetchone()
                if layout not in (0, _LAYOUT):
                    raise sqlite3.DatabaseError("another layout")
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
                database.execute("CREATE TABLE IF NOT EXISTS said (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
                database.execute(f"PRAGMA user_version={_LAYOUT}")
                return database
            except sqlite3.DatabaseError:
                database.close()
                if attempt == 2:
                    raise
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{self._path}{suffix}")
        raise AssertionError("unreachable")

    def facts(self, keys: Iterable[str]) -> dict[str, Facts]:
        """The facts that are kept, by key."""
        found: dict[str, Facts] = {}
        if self._database is None:
            return found
        for key in keys:
            with contextlib.suppress(sqlite3.Error, ValueError, TypeError, KeyError, IndexError, zlib.error):
                row = self._database.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = from_json(zlib.decompress(row[0]))
        return found

    def keep(self, new: Mapping[str, bytes], keys: Iterable[str]) -> None:
        """Keeps new facts, as ``packed`` gave them, and forgets all but ``keys``."""
        if self._database is None:
            return
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", new.items())
            kept = set(keys)
            gone = [(key,) for (key,) in self._database.execute("SELECT key FROM facts") if key not in kept]
            self._database.executemany("DELETE FROM facts WHERE key = ?", gone)
            self._database.execute("COMMIT")

    def said(self, name: str) -> Any:
        """A value that ``say`` kept, or None."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error, ValueError, TypeError, zlib.error):
                row = self._database.execute("SELECT value FROM said WHERE name = ?", (name,)).fetchone()
                return json.loads(zlib.decompress(row[0])) if row is not None else None
        return None

    def say(self, name: str, value: Any) -> None:
        """Keeps a value of JSON's kinds."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                packed = zlib.compress(json.dumps(value).encode(), 1)
                self._database.execute("INSERT OR REPLACE INTO said VALUES (?, ?)", (name, packed))

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def packed(facts: Facts) -> bytes:
    """Facts as the cache keeps them."""
    return zlib.compress(to_json(facts), 1)


def key_of(digest: str, path: str, language: str, version: int, interpreter: str) -> str:
    """What facts depend on: the content, the path (tests are told by it), the language's reading and who read it."""
    text = "\0".join((__version__, digest, path, language, str(version), interpreter))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
