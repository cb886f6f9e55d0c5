"""What bandit finds in a file, each with its line. bandit reads the syntax tree and runs nothing."""

from __future__ import annotations

import io
import logging
from functools import lru_cache
from typing import Any

from bandit.core import config, meta_ast, metrics, node_visitor, test_set

from pagedex.model.facts import Facts, Finding
from pagedex.reading.customs import is_test

# bandit's tests by the topics that pages name; its other tests stand under "what else bandit knows".
_TOPICS = {
    "B101": "assertions used as checks",
    "B102": "eval and exec",
    "B307": "eval and exec",
    "B301": "unpickling",
    "B302": "unpickling",
    "B403": "unpickling",
    "B506": "unpickling",
    "B614": "unpickling",
    "B404": "subprocesses",
    "B602": "subprocesses",
    "B603": "subprocesses",
    "B604": "subprocesses",
    "B605": "subprocesses",
    "B606": "subprocesses",
    "B607": "subprocesses",
    "B609": "subprocesses",
    "B108": "temporary files",
    "B306": "temporary files",
    "B310": "network",
    "B104": "network",
    "B113": "network",
    "B309": "network",
    "B312": "network",
    "B321": "network",
    "B402": "network",
    "B501": "network",
    "B502": "network",
    "B503": "network",
    "B504": "network",
}
_ASSERTION = "B101"
_LONGEST = 100


def from_bandit(facts: Facts, path: str, text: str) -> list[Finding]:
    """bandit's findings, those marked ``nosec`` too, which says so. Assertions of tests are what tests are for."""
    content = text.encode("utf-8", "surrogatepass")
    meta, tests = _setting()
    visitor = node_visitor.BanditNodeVisitor(path, io.BytesIO(content), meta, tests, False, {}, metrics.Metrics())
    visitor.metrics.begin(path)
    try:
        visitor.process(content)
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - one of bandit's tests fails on unusual code; what it found before stands
        del error
    lines = text.split("\n")
    found: dict[tuple[str, int], Finding] = {}
    skipped = is_test(path)
    for issue in visitor.tester.results:
        if issue.test_id == _ASSERTION and skipped:
            continue
        line = lines[issue.lineno - 1].strip() if 0 < issue.lineno <= len(lines) else ""
        marked = ", marked nosec" if "nosec" in line else ""
        shown = line if len(line) <= _LONGEST else line[:_LONGEST] + " …"
        said = "" if issue.test_id == _ASSERTION else f" (bandit {issue.test_id}, {issue.severity.lower()}{marked})"
        topic = _TOPICS.get(issue.test_id, "what else bandit knows")
        found.setdefault(
            (topic, issue.lineno), Finding("security", topic, issue.lineno, shown + said, facts.enclosing(issue.lineno))
        )
    return list(found.values())


@lru_cache(maxsize=1)
def _setting() -> tuple[Any, Any]:
    # bandit logs what it can't visit; that is no matter of whoever reads the pages.
    logging.getLogger("bandit").setLevel(logging.CRITICAL)
    return meta_ast.BanditMetaAst(), test_set.BanditTestSet(config.BanditConfig(), profile={})
