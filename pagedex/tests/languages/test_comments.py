"""Comments without their markers, and licences."""

from __future__ import annotations

import pytest

from pagedex.languages.comments import stripped, without_licence


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("// one", "one"),
        ("/// one", "one"),
        ("//! one", "one"),
        ("///< one", "one"),
        ("# one", "one"),
        ("/* one */", "one"),
        ("/** one\n * two\n *   three\n */", "one\ntwo\n  three"),
        ("/*\n  one\n    two\n*/", "one\n  two"),
        ("/**/", ""),
        ("// -------", ""),
        ("/* - a\n * - b */", "- a\n- b"),
        ("// -*- C++ -*-", ""),
    ],
)
def test_stripped(raw: str, text: str) -> None:
    assert stripped(raw) == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Reads frames.", "Reads frames."),
        ("Copyright (C) 2020 A\nAll rights reserved.", ""),
        ("A fast hash\nCopyright (C) 2020 A\n\nRedistribution is allowed.", "A fast hash"),
        ("Copyright 2020 A\n\nLicensed under x; see LICENSE.\n\nThis reads frames.", "This reads frames."),
        ("SPDX-License-Identifier: MIT", ""),
    ],
)
def test_without_licence(text: str, rest: str) -> None:
    assert without_licence(text) == rest
