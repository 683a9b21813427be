"""A small web server that plays the public internet: media, redirects, and a count of who came."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Web:
    """The server. `url` has no slash at its end; `hits` are the paths that were asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    hits: list[str] = field(default_factory=list)

    def publish(self, path: Path) -> str:
        """The URL of a file from now on."""
        self.files[f"/{path.name}"] = path.read_bytes()
        return f"{self.url}/{path.name}"

    def redirect(self, target: str) -> str:
        """A URL that sends its visitors on."""
        return f"{self.url}/to?{target}"


@contextmanager
def running_web(host: str = "127.0.0.1") -> Iterator[Web]:
    """A server of its own on a free port of an address of this machine."""
    web = Web("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.hits.append(self.path)
            address = urlsplit(self.path)
            if address.path == "/to":
                self.send_response(302)
                self.send_header("location", unquote(address.query).encode().decode("latin-1"))
                self.send_header("content-length", "0")
                self.end_headers()
                return
            body = web.files.get(address.path)
            self.send_response(404 if body is None else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    web.url = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="web")
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=60)
