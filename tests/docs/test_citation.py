"""CITATION.cff is what the Citation File Format 1.2.0 asks for, and of this version."""

from __future__ import annotations

from pathlib import Path

import yaml

import dcpx

ROOT = Path(__file__).parents[2]
REQUIRED = {"cff-version", "message", "authors", "title"}
OPTIONAL = {"abstract", "keywords", "license", "type", "version"}
"""Those of the optional keys that are used."""


def test_the_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert REQUIRED <= citation.keys() <= REQUIRED | OPTIONAL
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == dcpx.__version__
    assert citation["type"] == "software"
    assert citation["license"] == "BSD-3-Clause"
    assert citation["authors"] == [{"name": "the dcpx authors"}]  # an entity: it has a name, and no family or given one
    assert all(isinstance(word, str) for word in citation["keywords"])
