"""What a build did and what it couldn't read, in plain lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from pagedex.model.files import FileKind, SourceFile
from pagedex.model.ties import Repository

_SHOWN = 20


@dataclass(slots=True)
class Summary:
    """``problems`` are (file, line or 0, text), in the order of files."""

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    definitions: int = 0
    mentions: int = 0
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    analysed: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[str, int, str]] = field(default_factory=list)
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Summary:
        """What ``plain`` gave, after JSON."""
        summary = cls(**plain)
        summary.kinds, summary.languages = Counter(plain["kinds"]), Counter(plain["languages"])
        summary.problems = [(path, line, text) for path, line, text in plain["problems"]]
        return summary

    def lines(self, every: bool = False) -> list[str]:
        """The summary for a terminal; of the problems the first twenty, or every one."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        found = [f"{self.files} files ({kinds}), {self.analysed} read anew"]
        if self.languages:
            found.append(", ".join(f"{name} {count}" for name, count in self.languages.most_common()))
        found.append(f"{self.definitions} definitions, {self.mentions} mentions of them")
        found.append(
            f"{self.written} files of the output written, {self.unchanged} unchanged, {self.removed} removed, "
            f"in {self.seconds:.1f} s"
        )
        found += self.notes
        shown = self.problems if every else self.problems[:_SHOWN]
        found += (f"{path}{f':{line}' if line else ''}: {text}" for path, line, text in shown)
        if len(shown) < len(self.problems):
            found.append(f"and {len(self.problems) - len(shown)} more that could be read in part: --verbose lists them")
        return found


def of_repository(repository: Repository) -> Summary:
    """What was read; the rest is counted by the build."""
    summary = Summary(files=len(repository.files))
    for file, facts in zip(repository.files, repository.facts, strict=True):
        summary.kinds[file.kind.value] += 1
        if facts is not None:
            summary.languages[facts.language] += 1
            summary.definitions += len(facts.definitions)
            summary.problems += ((file.display, one.line, one.text) for one in facts.problems)
        if worth_saying(file):
            summary.problems.append((file.display, 0, file.note))
    summary.mentions = sum(map(len, repository.mentions))
    summary.problems.sort()
    return summary


def worth_saying(file: SourceFile) -> bool:
    """Whether how a file was read is worth a line. That it is binary is no news."""
    return bool(file.note) and file.kind is not FileKind.BINARY
