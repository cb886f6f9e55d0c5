"""What `help(dcpx.Writer)` and `help(dcpx.Reader)` show is said of dcpx's classes, not inherited from torch's."""

from __future__ import annotations

import inspect

import pytest

import dcpx


@pytest.mark.parametrize("cls", [dcpx.Writer, dcpx.Reader])
def test_every_method_has_words_of_its_own(cls: type) -> None:
    methods = {name: value for name, value in vars(cls).items() if inspect.isfunction(value)}
    public = {name: value for name, value in methods.items() if not name.startswith("_") or name == "__init__"}
    assert len(public) >= 6
    for name, method in public.items():
        assert method.__doc__, name


def test_defaults_are_shown_as_what_makes_them() -> None:
    assert "= Pack()," in str(inspect.signature(dcpx.Writer))
