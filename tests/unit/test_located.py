"""Blocks that say where an error was: which class it gets, what it names, and what passes as it is."""

from __future__ import annotations

import pytest

from dcpx import CorruptError, DcpxError, LimitError, LoadError, SaveError
from dcpx.errors import Where
from dcpx.located import extension_errors, naming, reading, writing

BLOCKS = {
    "naming": lambda: naming("file", "item"),
    "reading": lambda: reading("file", "item"),
    "writing": lambda: writing("file", "item"),
    "writing what others wrote": lambda: writing("file", "item", foreign=Exception),
}
BECOMES = {"naming": None, "reading": LoadError, "writing": SaveError, "writing what others wrote": SaveError}


@pytest.mark.parametrize("block", BLOCKS)
def test_an_error_of_dcpx_keeps_its_class_and_says_where(block: str) -> None:
    cause = KeyError("cause")
    with pytest.raises(DcpxError) as caught, BLOCKS[block]():
        raise LimitError("too much", Where(offset=3), "raise it") from cause
    error = caught.value
    assert type(error) is LimitError
    assert (error.cause, error.where, error.remedy) == ("too much", Where("file", "item", 3), "raise it")
    assert error.__cause__ is cause


@pytest.mark.parametrize("block", BLOCKS)
def test_the_innermost_block_knows_best(block: str) -> None:
    with pytest.raises(DcpxError) as caught, BLOCKS[block](), naming("inner"):
        raise CorruptError("broken")
    assert caught.value.where == Where("inner", "item")


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("error", [OSError(28, "full"), ValueError("odd")], ids=["of the system", "of others"])
def test_another_error(block: str, error: Exception) -> None:
    kind = BECOMES[block]
    if block == "writing" and not isinstance(error, OSError):
        kind = None
    with pytest.raises(Exception, match=r"full|odd") as caught, BLOCKS[block]():
        raise error
    if kind is None:
        assert caught.value is error
    else:
        assert type(caught.value) is kind
        assert caught.value.cause == f"{type(error).__name__}: {error}"
        assert caught.value.where == Where("file", "item")
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=["interrupt", "exit"])
def test_an_interrupt_passes(block: str, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, BLOCKS[block]():
        raise error
    assert caught.value is error


def test_a_file_is_asked_for_after_the_error() -> None:
    names: list[str] = []

    def fail_once_opened() -> None:
        with writing(lambda: names[-1], "item"):
            names.append("opened within")
            raise OSError("full")

    with pytest.raises(SaveError) as caught:
        fail_once_opened()
    assert caught.value.where == Where("opened within", "item")


@pytest.mark.parametrize("error", [ValueError("odd"), EOFError("short")], ids=["value", "end"])
def test_what_an_extension_says_of_bytes_is_damage(error: Exception) -> None:
    with pytest.raises(CorruptError, match=r"an extension can't read the item: .*(odd|short)") as caught:
        with extension_errors():
            raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [LimitError("too much"), OSError(5, "broken"), KeyError("none")], ids=repr)
def test_what_else_an_extension_raises_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, extension_errors():
        raise error
    assert caught.value is error
