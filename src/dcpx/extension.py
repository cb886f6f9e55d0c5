"""The extension contract, with the names and signatures of torch's own.

An extension transforms the byte stream of each stored item (a tensor's container or an object's bytes). DCP calls it
in this order:

When writing, on every rank, one instance for the whole save and all of its writer threads:
  1. the caller constructs the extension, with its options;
  2. for every item `transform_to(output)`, then `write` on the returned stream, any number of times, then `close`;
     `output` is positioned at the item's first byte and may already hold other items before it;
  3. for every item `get_descriptor()`, whose text is stored beside the item in `.metadata`.

When reading, on every rank, for every item:
  4. the registry looks up the descriptor's `name[@local-domain]` and calls `from_descriptor(version)` of that class;
  5. `transform_from(input)` of the result, then `read`, `readinto` and, where it is seekable, `seek`; `input` begins
     at the item's first byte and ends at its last.

Nothing else travels from writer to reader: what reading needs beyond the version must be in the stream itself.

What is agreed of the streams (`dcpx.streams` has base classes that keep to it, `dcpx.testing` tests of it):

Writing. `write(data)` gets any buffer: bytes, a memoryview, an array of items of any size and shape. It takes all of it
or raises, and returns the number of bytes, not of items; torch.save doesn't look at that number and writes no rest. It
may keep nothing of `data` once it returns, since that memory may change. `output`, though, may take a part of a write
and say so: whoever writes to it goes on with the rest. `close` writes what is still due, then closes `output`; closing
again does no harm. After an error nothing more is written, also by `close`, so that what lies in the file can be told
from an item. The garbage collector's `__del__` must not write an end either: after a failed save nobody closes.

Reading. `input.read(n)` may return less than was asked for; only an empty read is the end. `input` may be unable to
seek. The same holds for what `transform_from` returns: `read(n)` and `readinto` may return less, `read(-1)` returns all
that is left, and after the end they return nothing, again and again. `readable`, `writable` and `seekable` tell the
truth; `seek` is asked of a stream that says it can. Damage raises ValueError or EOFError, and whatever else is raised
counts as a failure of this load, not of the file. `close` closes `input`.

Who closes. Whoever called `transform_to` closes the stream that it got, once and after its last write, and each stream
closes the one beneath it; below the last one lies a stream whose `close` leaves the file open for the next item. A
reader is closed the same way, or left to the garbage collector.

Threads. An instance serves all threads at once; a stream is used by one thread at a time.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Protocol

__all__ = ["Extension", "Item", "Registry", "StreamTransformExtension"]


@dataclass(frozen=True)
class Item:
    """What `dcpx.Writer` knows of an item before it is written.

    `offsets` is where the shard begins in the whole tensor, in elements; `dtype`, `shape` (of this shard) and
    `contiguous` are None, None and False for an object stored as bytes. `dtype` is torch's name, such as "bfloat16".
    `checkpoint` is the UUID of the save, 16 bytes.
    """

    fqn: str
    offsets: tuple[int, ...] | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    contiguous: bool = False
    checkpoint: bytes | None = None


class Registry(Protocol):
    """What rebuilds extensions from their descriptors."""

    def from_descriptor_list(self, descriptors: Sequence[str]) -> Sequence[Extension]: ...


class Extension(abc.ABC):
    """A modular addition to how a checkpoint is laid out, named in its metadata by a descriptor."""

    @staticmethod
    @abc.abstractmethod
    def registry_name() -> str:
        """The name under which a registry knows this class: `name[@local-domain]`."""

    @staticmethod
    @abc.abstractmethod
    def from_descriptor(version: str) -> Extension:
        """Call 4: an instance that reads what a descriptor with this version wrote.

        `version` is '' where the descriptor has none. Raises ValueError for a version it doesn't know.
        """

    @classmethod
    def from_descriptor_in(cls, version: str, registry: Registry) -> Extension:
        """The same, for an extension that is made of others and rebuilds them from `registry`."""
        return cls.from_descriptor(version)

    @abc.abstractmethod
    def get_descriptor(self) -> str:
        """Call 3: the descriptor `name[@local-domain][/version]` from which a reader rebuilds this extension."""


class StreamTransformExtension(Extension):
    """Transforms a byte stream, such as by compressing or encrypting it.

    Work in pieces: neither the whole item at once nor a byte at a time. One instance serves all writer threads, and
    `async_save` with a process pickles it.
    """

    @property
    def encrypts(self) -> bool:
        """Whether whatever can be read through it was encrypted and is authenticated, so that nothing else can: what
        `Reader(require="encrypted")` asks for."""
        return False

    @abc.abstractmethod
    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        """Call 2: a writable stream; what is written to it goes to `output`, transformed.

        Its `close` writes what is still due and closes `output`. After an error nothing more may be written.
        """

    def transform_item_to(self, output: IO[bytes], item: Item) -> IO[bytes]:
        """Call 2 as `dcpx.Writer` makes it, which knows the item; as `transform_to` unless overridden."""
        return self.transform_to(output)

    @abc.abstractmethod
    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        """Call 5: a readable stream of what was written; seekable if it can be, and if so it says so.

        Damaged or truncated input raises ValueError or EOFError; it never reads short in silence.
        """
