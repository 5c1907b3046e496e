"""``python -m adaptsam.worker FOLDER``: requests from stdin one after the other, cancelling at any time."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from adaptsam.errors import AdaptSAMError, Cancelled
from adaptsam.worker import wire


class Server:
    """Reads requests, runs them in order, and writes their events."""

    def __init__(self, requests: TextIO, events: TextIO, folder: Path) -> None:
        self._requests, self._events, self._folder = requests, events, folder
        self._queue: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._cancelled: set[int] = set()

    def run(self) -> None:
        """Until the other end closes the pipe."""
        threading.Thread(target=self._listen, daemon=True).start()
        from adaptsam.worker.session import Session  # imports torch, which takes seconds

        session = Session(self._folder)
        while True:
            request = self._queue.get()
            self._answer(session.answer, request)

    def _answer(self, answer: Callable[..., None], request: wire.Message) -> None:
        number = int(request["id"])

        def emit(event: str, **content: object) -> None:
            self._events.write(wire.to_line({"id": number, "event": event, **content}))
            self._events.flush()

        def check() -> None:
            if number in self._cancelled:
                raise Cancelled("Cancelled.")

        try:
            check()
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

    def _listen(self) -> None:
        for line in self._requests:
            message = wire.from_line(line)
            if message["do"] == "cancel":
                self._cancelled.add(int(message["id"]))
            else:
                self._queue.put(message)
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
    """What others print must not come between the events, so stdout is given to stderr."""
    events = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    Server(sys.stdin, events, Path(sys.argv[1])).run()


if __name__ == "__main__":
    main()
