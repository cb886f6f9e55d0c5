"""What `verify` found: plain values, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import DcpxError

__all__ = ["Problem", "Report"]


@dataclass(frozen=True)
class Problem:
    """One damaged place: bytes `begin` to `end - 1` of `file`, of the item and its chunk, where these are known.

    `error` is what a load would raise of it.
    """

    file: str
    error: DcpxError
    item: str | None = None
    chunk: int | None = None
    begin: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.begin is not None and self.end is not None:
            parts.append(f"bytes {self.begin} to {self.end - 1}" if self.end > self.begin else f"byte {self.begin}")
        if self.item is not None:
            parts.append(f"item {self.item!r:.{_LONGEST}}")
        if self.chunk is not None:
            parts.append(f"chunk {self.chunk}")
        return f"{', '.join(parts)}: {self.error.cause}"


@dataclass(frozen=True)
class Report:
    """The state of the checkpoint at `path`, of which everything was read.

    `sealed` tells whether a manifest vouches for it, as dcpx writes one and stock DCP doesn't. Items by their names,
    that of a tensor's part with its offsets: `whole` are those that can be loaded, `lost` those that can't. `unchecked`
    are those of `whole` that no checksum vouches for. `leftovers` are the names of files of saves that were never
    finished. `files` and `nbytes` count the data files and their bytes that were read.
    """

    path: str
    sealed: bool
    whole: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    files: int = 0
    nbytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged. That of a checkpoint that isn't `sealed` may lie in what nothing vouches for."""
        return not self.problems

    def __str__(self) -> str:
        state = "is whole" if self.ok else "is damaged"
        lines = [f"{self.path} {state}: {len(self.whole)} items, {self.nbytes} bytes in {self.files} files"]
        if not self.sealed:
            lines.append("no manifest vouches for it: what isn't damaged visibly is unverified")
        lines += [f"  {problem}" for problem in self.problems]
        for names, what in (
            (self.lost, "can't be loaded"),
            (self.unchecked, "have no checksum"),
            (self.leftovers, "are files of saves that were never finished"),
        ):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                shown = ", ".join(repr(name)[:_LONGEST] for name in names[:_SHOWN])
                lines.append(f"{len(names)} {what}: {shown}{more}")
        return "\n".join(lines)


_SHOWN = 10
_LONGEST = 200
"""Names, and characters of a name, that are shown."""
