"""Performance Considerations and Security & Safety: what a reviewer looks for, where it stands, what isn't there."""

from __future__ import annotations

from pagedex.model.blocks import Block, Code, Runs, Strong
from pagedex.model.facts import Finding
from pagedex.pages.subject import Subject
from pagedex.words.phrases import bullets, counted, paragraph

_MOST = 100


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
        items: list[Runs] = [(subject.line(one.line), *_around(subject, one), ": ", Code(one.text)) for one in findings]
        title = topic[:1].upper() + topic[1:]
        blocks += [paragraph(Strong(title), f", {counted(len(findings), 'place')}:"), bullets(items, _MOST)]
    return blocks


def _around(subject: Subject, one: Finding) -> Runs:
    """The definition around a finding; of a decorator the one that it decorates."""
    if one.text.startswith("@"):
        decorated = subject.tables.next_definition(subject.index, one.line)
        return (" on ", subject.link(decorated)) if decorated >= 0 else ()
    return (" in ", subject.link(one.definition)) if 0 <= one.definition < len(subject.facts.definitions) else ()


def not_found(subject: Subject, section: str) -> list[Block]:
    """The topics that were looked for without a finding."""
    there = {one.topic for one in subject.facts.findings if one.section == section}
    looked_for = subject.facts.looked_for.get(section, ())
    topics = [topic for topic in looked_for if topic not in there]
    if topics:
        return [paragraph(f"Looked for: {', '.join(topics)}; none found.")]
    if there or looked_for:
        return []
    language = subject.facts.language or "a file that isn't read as text"
    return [paragraph(f"Looked for nothing: there is no list of what to look for in {language}.")]


def _raised(subject: Subject) -> list[Block]:
    raises = [one for definition in subject.facts.definitions for one in definition.raises]
    return [paragraph(Strong("Exceptions raised"), ": ", *subject.raised(sorted(raises)), ".")] if raises else []
