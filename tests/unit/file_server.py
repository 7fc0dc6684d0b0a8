"""A web server on this machine that serves one file, well or badly, and remembers what it was asked. For tests."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """What is served, how, and what was asked.

    Attributes:
        content: the bytes of the file.
        etag: its mark, sent and compared; "" to send none.
        ranges: whether parts are sent when asked for.
        cuts: how many bytes each of the next answers sends before the connection breaks.
        answers: what the next requests get instead: (status, {header: value}, body).
        asked: of each request, its headers.
        sent: how many bytes of the file each answer sent.
    """

    def __init__(self, content, url):
        self.content, self.url = content, url
        self.etag, self.ranges = '"one"', True
        self.cuts, self.answers, self.asked, self.sent = [], [], [], []


@contextmanager
def serve(content):
    """A `FileServer` that runs until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file.asked.append(dict(self.headers))
            if file.answers:
                status, headers, body = file.answers.pop(0)
                return self.answer(status, {"Content-Length": len(body), **headers}, body)
            start, status = 0, 200
            headers = {"ETag": file.etag} if file.etag else {}
            wanted = self.headers.get("Range")
            if wanted and file.ranges and self.headers.get("If-Range", file.etag) == file.etag:
                start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
                if start >= len(file.content):
                    return self.answer(416, {"Content-Range": f"bytes */{len(file.content)}"}, b"")
                headers["Content-Range"] = f"bytes {start}-{len(file.content) - 1}/{len(file.content)}"
            body = file.content[start:]
            headers["Content-Length"] = len(body)
            self.answer(status, headers, body[: file.cuts.pop(0)] if file.cuts else body, of_file=True)

        def answer(self, status, headers, body, of_file=False):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if of_file:
                file.sent.append(len(body))  # before they are: whoever has them all may ask for this at once
            self.wfile.write(body)
            self.close_connection = True

        def do_CONNECT(self):
            """As a proxy that only lets those pass who give a password."""
            self.answer(407, {"Proxy-Authenticate": "Basic", "Content-Length": 0}, b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    file = FileServer(content, f"http://127.0.0.1:{server.server_port}/file.npz?download=1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield file
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
