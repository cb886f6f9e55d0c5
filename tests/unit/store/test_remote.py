"""What is said of a store that fsspec reaches, or can't."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx.catalog.leftovers import find_leftovers, remove_leftovers
from dcpx.store.address import open_store
from tests.support.s3 import bucket_options

STATE: dict[str, Any] = {"w": torch.ones(3)}

SAVES: dict[str, Callable[[str], Any]] = {
    "save": lambda path: dcpx.save(STATE, path, no_dist=True),
    "async_save": lambda path: dcpx.async_save(STATE, path).result(),
    "Writer": dcpx.Writer,
    "Writer.reset": lambda path: dcpx.Writer("somewhere").reset(path),
    "dcp.save": lambda path: dcp.save(STATE, storage_writer=dcpx.Writer("somewhere"), checkpoint_id=path, no_dist=True),
}
LOADS: dict[str, Callable[[str], Any]] = {
    "load": lambda path: dcpx.load({"w": torch.zeros(3)}, path, no_dist=True),
    "load_all": dcpx.load_all,
    "verify": dcpx.verify,
    "find_leftovers": find_leftovers,
    "remove_leftovers": remove_leftovers,
    "restore_pointer": dcpx.restore_pointer,
    "Reader": dcpx.Reader,
    "Reader.reset": lambda path: dcpx.Reader("somewhere").reset(path),
}


@pytest.mark.parametrize("call", [*SAVES, *LOADS])
def test_a_store_that_can_not_be_reached(call: str, tmp_path: Path):
    """Some are asked as soon as they are opened: a save says that it has failed, and a load that it has."""
    kind = dcpx.SaveError if call in SAVES else dcpx.LoadError
    address = f"zip://a::{tmp_path}/none/none.zip"
    with pytest.raises(kind, match=r"can't be reached.*No such file") as caught:
        (SAVES | LOADS)[call](address)
    assert caught.value.where.file == address
    assert ("save again" in str(caught.value)) == (call in SAVES)


@pytest.fixture
def read_only(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place that can be read only, with a checkpoint in it."""
    dcpx.save(STATE, tmp_path / "c", no_dist=True)
    if request.param == "tar":
        with tarfile.open(tmp_path / "x.tar", "w") as file:
            file.add(tmp_path / "c", "c")
        yield f"tar://c::{tmp_path}/x.tar"
        return

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/c"
        server.shutdown()


@pytest.mark.parametrize("read_only", ["http", "tar"], indirect=True)
def test_a_store_that_can_only_be_read(read_only: str):
    assert torch.equal(dcpx.load_all(read_only)["w"], STATE["w"])
    with pytest.raises(dcpx.SaveError, match=r"(?i)read-only"):
        dcpx.save(STATE, read_only, no_dist=True, overwrite=True)


def test_what_a_file_system_can_not_do():
    """An error without a text says what it is about all the same."""
    with pytest.raises(OSError, match=r"data://x: NotImplementedError, of fsspec's DataFileSystem"):
        open_store("data://x").names()


PAGES = {
    "a page": b"<!DOCTYPE html>\n<title>Log in</title>",
    "an older page": b"\n<HTML><body>Log in</body></HTML>",
    "an answer of another kind": b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
}


@pytest.fixture(params=PAGES)
def portal(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that answers everything with one page and a 200, as a login or a proxy does."""
    page = PAGES[request.param]

    class Portal(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("way", ["s3", "http"])
def test_a_page_is_no_damage(way: str, portal: str):
    """Nothing proves that the checkpoint is damaged: what answers is no store."""
    address, options = ("s3://tests/x", bucket_options(portal)) if way == "s3" else (f"{portal}/x", None)
    for load in (partial(dcpx.load, {"w": torch.zeros(3)}, no_dist=True), dcpx.load_all):
        with pytest.raises(dcpx.LoadError, match=r"web page.*\.metadata.*endpoint") as caught:
            load(address, storage_options=options)
        assert not isinstance(caught.value, dcpx.CorruptError)
    report = dcpx.verify(address, storage_options=options)
    assert report.verdict == "unknown"
    assert not report.problems
    assert "web page" in str(report)


def test_a_page_in_a_file(tmp_path: Path):
    """Where there is no endpoint, it is damage."""
    (tmp_path / ".metadata").write_bytes(PAGES["a page"])
    with pytest.raises(dcpx.CorruptError):
        dcpx.load_all(tmp_path)
