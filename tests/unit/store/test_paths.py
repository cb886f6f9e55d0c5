"""What is no path is refused before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx.catalog.leftovers import find_leftovers

STATE: dict[str, Any] = {"w": torch.ones(3)}

CALLS: dict[str, Callable[[Any], Any]] = {
    "save": lambda path: dcpx.save(STATE, path),
    "load": lambda path: dcpx.load({"w": torch.zeros(3)}, path),
    "verify": dcpx.verify,
    "leftovers": find_leftovers,
    "Writer": dcpx.Writer,
    "Reader": dcpx.Reader,
    "Writer.reset": lambda path: dcpx.Writer("somewhere").reset(path),
    "Reader.reset": lambda path: dcpx.Reader("somewhere").reset(path),
    "dcp.save": lambda path: dcp.save(STATE, storage_writer=dcpx.Writer("somewhere"), checkpoint_id=path),
    "dcp.load": lambda path: dcp.load(
        {"w": torch.zeros(3)}, storage_reader=dcpx.Reader("somewhere"), checkpoint_id=path
    ),
}


NO_PATHS = [
    "",
    "s3://",
    "memory:///",
    "nonsense://bucket/run",
    Path("s3://bucket/run"),
    # What a client or a parser of URLs would drop, so that two addresses named one place:
    "memory://run//b",
    "memory://run/d//e",
    "memory:///run/b",
    "memory://run/x/../b",
    "memory://run/tab\tb",
    "memory://run/line\n",
    "memory://run?x/b",
    "memory://run#x/b",
    "s3://bucket:99/run",
    "s3://somebody@bucket/run",
    "s3://bucket /run",
    "s3://somebody:password@bucket/run",
    "az://container?x/run",
    "sftp://host/line\n",
    "sftp://host/run?x",
    "http://127.0.0.1:1/run?x=1",
    "simplecache::http://127.0.0.1:1/run#x",
    # A host, or what would lie in the working directory:
    "file://otherhost/share/x",
    "file://localhostage/x",
    "file://localhost",
    "file://relative",
    "file://~/x",
    "local://tmp/x",
    "file:///a%00b",
]


@pytest.mark.parametrize("path", NO_PATHS, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_no_path(call: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"path|place|part|line|bucket|host|nonsense"):
        CALLS[call](path)
    assert not list(tmp_path.iterdir())


def test_a_path_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", Path("a:b/c"), "~", "step:1000", Path("x") / "y"):
        dcpx.save(STATE, path, overwrite=True)
        state = {"w": torch.zeros(3)}
        dcpx.load(state, path)
        assert torch.equal(state["w"], STATE["w"])
    assert (tmp_path / "~" / ".metadata").exists()


@pytest.mark.parametrize("begin", ["file://", "file://localhost", "FILE://LOCALHOST"])
def test_a_file_address(begin: str, tmp_path: Path):
    dcpx.save(STATE, f"{begin}{tmp_path}/a%20b?#")
    state = {"w": torch.zeros(3)}
    dcpx.load(state, tmp_path / "a b?#")
    assert torch.equal(state["w"], STATE["w"])


def test_every_name_is_another_place():
    """A name is kept as it is typed: what means something in a URL means nothing in it."""
    names = ["q", "q?", "q#", "q?x=1", "q#f", "q%3F", "Q", "q ", "q;x", "q*", "q[b]", "q~", "q\\b"]
    for number, name in enumerate(names):
        dcpx.save({"step": number}, f"memory://{__name__}/{name}", no_dist=True)
    for number, name in enumerate(names):
        assert dcpx.load_all(f"memory://{__name__}/{name}") == {"step": number}
        assert dcpx.verify(f"memory://{__name__}/{name}").path.endswith(f"/{name}")


WRONG_OPTIONS: list[tuple[Any, str]] = [
    ("abc", r"storage_options must be a dictionary .* type str"),
    ([("region", "x")], r"storage_options must be a dictionary .* type list"),
    ({1: 2}, "storage_options must be a dictionary"),
    ({"client_options": "x"}, "'client_options' must be a dictionary"),
    ({"retry_config": 3}, "'retry_config' must be a dictionary"),
    ({"retry_config": {"max_retries": "many"}}, "'retry_config' is of a wrong type"),
    ({"client_options": {"timeout": "soon"}}, "soon"),
    ({"endpoint": None}, "'endpoint' is of a wrong type"),
    ({"endpoint": 5}, "'endpoint' is of a wrong type"),
    ({"region": None}, "'region' is of a wrong type"),
    ({"nonsense": "x"}, "nonsense"),
    ({"endpoint": "127.0.0.1:9000"}, "'endpoint' is no URL: it must be https://"),
    ({"endpoint": "localhost:9000"}, "'endpoint' is no URL"),
    ({"AWS_ENDPOINT_URL": "http://"}, "'AWS_ENDPOINT_URL' is no URL"),
    ({"aws_endpoint_url_s3": "http://a:99999"}, "'aws_endpoint_url_s3' is no URL"),
    ({"endpoint": "http://[::1"}, "'endpoint' is no URL"),
    ({"endpoint": "http://a b"}, "'endpoint' is no URL"),
    ({"endpoint": "ftp://a"}, "'endpoint' is no URL"),
]


@pytest.mark.parametrize(("options", "told"), WRONG_OPTIONS, ids=[repr(options) for options, _ in WRONG_OPTIONS])
@pytest.mark.parametrize("call", [dcpx.verify, dcpx.Writer, dcpx.Reader, find_leftovers])
def test_wrong_options(call: Callable[..., Any], options: Any, told: str):
    with pytest.raises(ValueError, match=told):
        call("s3://bucket/x", storage_options=options)


def test_an_endpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL is no URL"):
        dcpx.Writer("s3://bucket/x")


def test_options_that_are_left_out():
    dcpx.Writer("s3://bucket/x", storage_options={"region": "x", "client_options": None, "retry_config": None})
    dcpx.Writer("az://container/x", storage_options={"account_name": "a", "use_fabric_endpoint": "false"})


def test_a_writer_can_be_sent_elsewhere(tmp_path: Path):
    dcp.save(STATE, storage_writer=dcpx.Writer(tmp_path / "a"), checkpoint_id=tmp_path / "b")
    state = {"w": torch.zeros(3)}
    dcp.load(state, storage_reader=dcpx.Reader(tmp_path / "a"), checkpoint_id=tmp_path / "b")
    assert torch.equal(state["w"], STATE["w"])
    assert not (tmp_path / "a").exists()


def test_a_client_that_panics(monkeypatch: pytest.MonkeyPatch):
    """obstore's are BaseExceptions: a save cleans up after one, and says so, as after any other error of a store."""

    class PanicException(BaseException):
        pass

    def panic(*arguments: object, **options: object) -> None:
        raise PanicException("called `Result::unwrap()` on an `Err` value")

    monkeypatch.setattr("obstore.put", panic)
    with pytest.raises(dcpx.SaveError, match=r"memory://run/panic.*the client has failed: called"):
        dcpx.save(STATE, "memory://run/panic", no_dist=True)
