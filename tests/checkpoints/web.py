"""A web server of this machine that gives parts of files, counts them, and may misbehave."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Web:
    """What is served, and what has been asked for.

    Attributes:
        files: The bytes by path.
        asked: Each request: its path with the query, its first and last byte, its login.
        sent: How many bytes of files went out.
        change: Called with a handler and the bytes, instead of the answer; for what misbehaves.
    """

    def __init__(self):
        self.files, self.asked, self.sent = {}, [], 0
        self.change = None
        self.tags = {}
        self.url = ""

    def put(self, path, found, tag=None):
        self.files[path] = found
        self.tags[path] = tag or f'"{len(self.tags)}"'
        return f"{self.url}/{path}"

    def forget(self):
        self.asked, self.sent = [], 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        web = self.server.web
        path = unquote(self.path.partition("?")[0])[1:]
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = map(int, found.groups())
        web.asked.append((self.path[1:], first, last, self.headers.get("Authorization")))
        if web.change is not None and web.change(self, first, last):
            return
        if path not in web.files:
            self.tell(404)
            return
        self.part(web.files[path], first, last, web.tags[path])

    def part(self, whole, first, last, tag=None, **told):
        if not whole:
            self.tell(416, **{"Content-Range": "bytes */0"})
            return
        body = whole[first : last + 1]
        place = f"bytes {first}-{first + len(body) - 1}/{len(whole)}"
        self.tell(206, body, **{"Content-Range": place, "ETag": tag or '"x"', **told})

    def tell(self, status, body=b"", **headers):
        self.server.web.sent += len(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """Who asked may be gone."""


@contextmanager
def serving(inside=None):
    """A server for the while.

    Args:
        inside: The `ssl.SSLContext` of one that speaks https.
    """
    with Server(("127.0.0.1", 0), Handler) as server:
        server.web = web = Web()
        if inside is not None:
            server.socket = inside.wrap_socket(server.socket, server_side=True)
        web.url = f"http{'s' if inside else ''}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield web
        server.shutdown()
