"""What `verify` found: plain values, readable without torch."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..errors import DcpxError
from .shown import visible
from .tables import Table, Value

__all__ = ["Problem", "Report", "Verdict"]


Verdict: TypeAlias = Literal["whole", "damaged", "unknown"]


@dataclass(frozen=True)
class Problem:
    """One place that can't be loaded: bytes `begin` to `end - 1` of `file`, of the item and its chunk, where these are
    known.

    `error` is what a load would raise of it, and its `remedy` what can be done.
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
    """The state of the checkpoint at `path`, all of which was read. It is true if the checkpoint is whole.

    `sealed` tells whether a manifest vouches for it: dcpx writes one, stock DCP doesn't. Every item's name, for a part
    of a tensor with its offsets, is in one of three lists. A load with the same arguments takes those in `whole`. Those
    in `lost` are damaged. Those in `refused` aren't, as far as can be told, but such a load refuses them: they need an
    extension that isn't installed, `safe_globals`, higher `limits`, a newer version, or rights to read their file.
    `problems` are the damaged places, `refusals` what is refused, and why.

    `unchecked` are those of `whole` that no checksum vouches for. `leftovers` are the names of files of saves that no
    pointer refers to. `files` and `nbytes` count the data files and their bytes that were read, or would have been:
    with `quick` only names, sizes, headers and the manifest were.
    """

    path: str
    sealed: bool
    whole: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refusals: list[Problem] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    files: int = 0
    nbytes: int = 0
    quick: bool = False

    @property
    def verdict(self) -> Verdict:
        """`damaged` if anything is damaged; else `unknown` if something is refused, which may be damaged or not; else
        `whole`. A checkpoint that isn't `sealed` may also have damage that no checksum shows."""
        if self.problems:
            return "damaged"
        return "unknown" if self.refusals else "whole"

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged or refused, so that all of it can be loaded."""
        return self.verdict == "whole"

    def __bool__(self) -> bool:
        return self.ok

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; docs/look.md has the schema."""
        return {
            "schema": "dcpx.verify/1",
            "path": self.path,
            "verdict": self.verdict,
            "quick": self.quick,
            "sealed": self.sealed,
            "files": self.files,
            "nbytes": self.nbytes,
            "whole": self.whole,
            "lost": self.lost,
            "refused": self.refused,
            "unchecked": self.unchecked,
            "leftovers": self.leftovers,
            "problems": [_problem_to_json(problem) for problem in self.problems],
            "refusals": [_problem_to_json(problem) for problem in self.refusals],
        }

    def table(self) -> Table:
        """A row for each problem and each refusal, which a notebook shows below what the report says of the whole."""
        columns = ("file", "state", "item", "chunk", "begin", "end", "cause")
        found = [("damaged", one) for one in self.problems] + [("refused", one) for one in self.refusals]
        rows: list[tuple[Value, ...]] = [
            (one.file, state, one.item, one.chunk, one.begin, one.end, one.error.cause) for state, one in found
        ]
        return Table(columns, rows)

    def _repr_html_(self) -> str:
        said = str(self).splitlines()[0]
        table = self.table().to_html() if self.problems or self.refusals else ""
        return f"<p>{html.escape(visible(said))}</p>{table}"

    def __str__(self) -> str:
        count = len(self.whole) + len(self.lost) + len(self.refused)
        lines = [
            f"{self.path} {_STATES[self.verdict]}: {len(self.whole) if self.ok else f'{len(self.whole)} of {count}'} "
            f"items{'' if self.ok else ' can be loaded'}, {self.nbytes} bytes in {self.files} files"
        ]
        if self.quick:
            lines.append("that is by names, sizes, headers and the manifest: what is stored wasn't read")
        if not self.sealed:
            lines.append("no manifest vouches for it: what isn't damaged visibly is unverified")
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  {refusal}. {refusal.error.remedy}" for refusal in self.refusals[:_SHOWN]]
        if len(self.refusals) > _SHOWN:
            lines.append(f"  and {len(self.refusals) - _SHOWN} more that are refused")
        for names, what in (
            (self.lost, "damaged"),
            (self.refused, "not damaged, but refused by a load with these arguments"),
            (self.unchecked, "without a checksum"),
            (self.leftovers, "files of saves that are not the checkpoint"),
        ):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                shown = ", ".join(repr(name)[:_LONGEST] for name in names[:_SHOWN])
                lines.append(f"{len(names)} {what}: {shown}{more}")
        return "\n".join(lines)


def _problem_to_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "item": problem.item,
        "chunk": problem.chunk,
        "begin": problem.begin,
        "end": problem.end,
        "error": type(problem.error).__name__,
        "cause": problem.error.cause,
        "remedy": problem.error.remedy,
    }


_STATES: dict[Verdict, str] = {"whole": "is whole", "damaged": "is damaged", "unknown": "can't be judged as a whole"}

_SHOWN = 10
_LONGEST = 200
"""Names, and characters of a name, that are shown."""
