"""What a class does by being derived from another, and C's types, which do nothing."""

from __future__ import annotations

from pagedex.languages.python import PYTHON


def topics(source: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in PYTHON.read("a.py", source).findings:
        found.setdefault(one.topic, []).append(one.line)
    return found


def test_threads_by_inheritance() -> None:
    imports = "from threading import Thread\nfrom multiprocessing import Process\n"
    found = topics(imports + "class A(Thread): pass\nclass B(Process): pass\n")
    assert found["threads"] == [3]
    assert found["processes"] == [4]


def test_types_of_c_are_no_calls() -> None:
    source = (
        "import ctypes\nfrom ctypes import wintypes\nx = wintypes.DWORD()\ny = ctypes.c_int(3)\nz = ctypes.CDLL('x')\n"
    )
    assert topics(source)["native calls"] == [1, 2, 5]
    assert topics(source)["native code"] == [1, 2]


def test_a_raised_variable_is_no_class() -> None:
    facts = PYTHON.read("a.py", "def f(error):\n    raise error\n\ndef g():\n    raise ValueError\n")
    assert [one.raises for one in facts.definitions if one.name in "fg"] == [(), (("ValueError", 5),)]
