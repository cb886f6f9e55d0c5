"""The site on this machine's own address, rebuilt as files change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from pagedex.building.build import build
from pagedex.building.options import Options
from pagedex.building.summary import Summary
from pagedex.errors import PagedexError
from pagedex.reading.tree import signature

_SECONDS_BETWEEN_LOOKS = 1.0


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def send_head(self) -> Any:
        """Answers what this machine's browser asks of this site by its own name. A page of somebody else's, whose name
        leads here (DNS rebinding), learns nothing of the repository."""
        try:
            host = urlsplit(f"//{self.headers.get('Host', 'localhost')}").hostname
        except ValueError:
            host = None
        if host not in ("127.0.0.1", "localhost"):
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        if "\0" in unquote(self.path):
            return self.send_error(HTTPStatus.NOT_FOUND)
        inside = os.path.realpath(self.directory)
        real = os.path.realpath(self.translate_path(self.path))
        if real != inside and not real.startswith(inside + os.sep):  # by a link that lies in the output
            return self.send_error(HTTPStatus.NOT_FOUND)
        return super().send_head()

    def end_headers(self) -> None:
        # A page that was rebuilt is shown anew.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def serve(
    options: Options,
    port: int,
    built: Callable[[Summary, str], None],
    failed: Callable[[PagedexError], None],
    stop: threading.Event,
) -> None:
    """Builds, serves the output on 127.0.0.1 and builds again whenever a file of the repository changes, until
    ``stop``.

    ``built`` is told of each build, with the address; ``failed`` of one that failed later than the first.

    Raises:
        PagedexError: the first build fails, or the port is taken.
    """
    seen = signature(options.root, options.selection())
    summary = build(options)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=options.output))
    except OSError as error:
        raise PagedexError(f"port {port} can't be used: {error.strerror}; choose another with --port") from error
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        built(summary, address)
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            now = signature(options.root, options.selection())
            if now == seen:
                continue
            seen = now
            try:
                built(build(options), address)
            except PagedexError as error:
                failed(error)
    finally:
        server.shutdown()
        server.server_close()
