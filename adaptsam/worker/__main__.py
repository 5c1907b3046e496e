"""``python -m adaptsam.worker FOLDER``: requests from stdin one after the other, cancelling at any time.

With ``-`` for FOLDER, images come and go in the pipe, for another machine: ``ssh HOST python -m adaptsam.worker -``.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from adaptsam.errors import AdaptSAMError, Cancelled, OutputError
from adaptsam.worker import wire_format as wire


class Server:
    """Reads requests, runs them in order, and writes their events.

    Args:
        requests: lines of JSON.
        events: the same, of what is told.
        folder: of images; removed at the end.
        shared: whether the other end sees that folder. If not, files travel in the lines.
    """

    def __init__(self, requests: TextIO, events: TextIO, folder: Path, shared: bool = True) -> None:
        self._requests, self._events, self._folder, self._shared = requests, events, folder, shared
        self._arriving = wire.ArrivingFiles(folder)
        self._queue: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._cancelled: set[int] = set()

    def run(self) -> None:
        """Run until the other end closes the pipe."""
        threading.Thread(target=self._listen, daemon=True).start()
        from adaptsam.worker.worker_session import Session  # imports torch, which takes seconds

        session = Session(self._folder)
        while True:
            request = self._queue.get()
            self._answer(session.answer, request)

    def _answer(self, answer: Callable[..., None], request: wire.Message) -> None:
        number = int(request["id"])

        def emit(event: str, **content: object) -> None:
            if not self._shared and "array" in content:
                self._send(str(content["array"]))
            self._tell({"id": number, "event": event, **content})

        def check() -> None:
            if number in self._cancelled:
                raise Cancelled("Cancelled.")

        try:
            check()
            if "problem" in request:
                raise OutputError(request["problem"])
            answer(request, emit, check)
            emit("done")
        except Cancelled:
            emit("cancelled")
        except AdaptSAMError as error:
            emit("error", message=str(error))
        except MemoryError:
            emit("error", message="There is not enough memory; choose a smaller model or fewer structures.")
        except Exception as error:
            logging.exception("A request failed.")
            emit("error", message=_unexpected(error))

    def _tell(self, message: wire.Message) -> None:
        self._events.write(wire.to_line(message))
        self._events.flush()

    def _send(self, name: str) -> None:
        for piece in wire.file_lines(self._folder, name):
            self._tell({"event": "file", **piece})
        (self._folder / name).unlink()

    def _listen(self) -> None:
        problem = ""
        for line in self._requests:
            message = wire.from_line(line)
            if message["do"] == "cancel":
                self._cancelled.add(int(message["id"]))
            elif message["do"] == "file":
                try:
                    self._arriving.take(message)
                except AdaptSAMError as error:
                    problem = problem or str(error)
            else:
                self._queue.put(message | ({"problem": problem} if problem else {}))
                problem = ""
        # The window is gone: images of a patient must not lie about, and nobody waits for the work.
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)


def _unexpected(error: Exception) -> str:
    text = " ".join(str(error).split())
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in text.lower():
        return "The device has not enough memory for this model; choose a smaller one, or the CPU."
    if isinstance(error, OSError):
        return f"A file cannot be read or written: {error.strerror or text}."
    return f"Something went wrong in the worker ({type(error).__name__}: {text[:200]}); please report it."


def main() -> None:
    """Run the server; what others print goes to stderr, so that it cannot come between the events."""
    events = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    shared = sys.argv[1] != "-"
    folder = Path(sys.argv[1]) if shared else Path(tempfile.mkdtemp(prefix="adaptsam-"))
    Server(sys.stdin, events, folder, shared).run()


if __name__ == "__main__":
    main()
