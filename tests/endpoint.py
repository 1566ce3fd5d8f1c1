"""An OpenAI-compatible endpoint on this machine, for tests: it answers, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stub(BaseHTTPRequestHandler):
    """Answers each query with its words turned round; what it was asked is kept."""

    asked: list[tuple[str, dict[str, object], str | None]]
    answer: object = None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body, self.headers.get("Authorization")))
        if body["model"] == "missing":
            self.send_error(404, "no such model")
            return
        text = " ".join(reversed(body["messages"][-1]["content"].split()))
        answer = {"choices": [{"message": {"role": "assistant", "content": f'"{text}"\n'}}]}
        content = json.dumps(answer if self.answer is None else self.answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@contextmanager
def serving() -> Iterator[tuple[str, type[Stub]]]:
    """Serve on a port of this machine: the endpoint's address, and the handler that keeps what it was asked."""
    handler = type("OneStub", (Stub,), {"asked": [], "answer": None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", handler
        server.shutdown()
        thread.join()
