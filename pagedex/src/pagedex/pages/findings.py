"""Performance Considerations and Security & Safety: what a reviewer looks for, where it stands, and what isn't there."""

from __future__ import annotations

from pagedex.model.blocks import Block, Bullets, Code, Paragraph, Runs, Strong
from pagedex.model.facts import Finding
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, joined, line_links, number

_MOST = 100
_MOST_LINES = 12


def performance(subject: Subject) -> list[Block]:
    return [*found(subject, "performance"), *not_found(subject, "performance")]


def security(subject: Subject) -> list[Block]:
    return [*found(subject, "security"), *_raised(subject), *not_found(subject, "security")]


def found(subject: Subject, section: str) -> list[Block]:
    """The findings of a section, by topic."""
    topics: dict[str, list[Finding]] = {}
    for one in subject.facts.findings:
        if one.section == section:
            topics.setdefault(one.topic, []).append(one)
    blocks: list[Block] = []
    for topic, findings in topics.items():
        items: list[Runs] = [
            (subject.line(one.line), *subject.within(one.definition), ": ", Code(one.text)) for one in findings[:_MOST]
        ]
        if len(findings) > _MOST:
            items.append((f"and {number(len(findings) - _MOST)} more",))
        blocks += [Paragraph((Strong(topic.capitalize()), f", {counted(len(findings), 'place')}:")), Bullets(items)]
    return blocks


def not_found(subject: Subject, section: str) -> list[Block]:
    """The topics that were looked for without a finding."""
    there = {one.topic for one in subject.facts.findings if one.section == section}
    topics = [topic for topic in subject.facts.looked_for.get(section, ()) if topic not in there]
    if topics:
        return [Paragraph((f"Looked for: {', '.join(topics)}; none found.",))]
    if there or subject.facts.looked_for.get(section):
        return []
    language = subject.facts.language or "a file that isn't read as text"
    return [Paragraph((f"Looked for nothing: there is no list of what to look for in {language}.",))]


def _raised(subject: Subject) -> list[Block]:
    lines: dict[str, set[int]] = {}
    for one in subject.facts.definitions:
        for what, line in one.raises:
            lines.setdefault(what, set()).add(line)
    if not lines:
        return []
    raised: list[Runs] = [
        (Code(what), " at ", *line_links(subject.path, sorted(where), _MOST_LINES))
        for what, where in sorted(lines.items())
    ]
    return [Paragraph((Strong("Exceptions raised"), ": ", *joined(raised, "; "), "."))]
