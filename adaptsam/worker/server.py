"""Requests from a pipe, answered one after the other; cancelling at any time."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from adaptsam.errors import AdaptSAMError, Cancelled, OutputError
from adaptsam.worker import wire_format as wire
from adaptsam.worker.exchange import remove_folder

if TYPE_CHECKING:
    from adaptsam.worker.worker_session import Session

#: Seconds without a request after which models leave their GPU, and after which the worker ends.
REST, END = 300.0, 3600.0

NO_MEMORY = "There is not enough memory; choose a smaller model or fewer structures."


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
        """Run until the other end closes the pipe, or nobody has requested an hour."""
        threading.Thread(target=self._listen, daemon=True).start()
        from adaptsam.worker.worker_session import Session  # imports torch, which takes seconds

        session = Session(self._folder)
        while (request := self._next(session)) is not None:
            self._answer(session.answer, request)
        self._leave()

    def _next(self, session: Session) -> wire.Message | None:
        """The next request, for which models may have to wait elsewhere than on their GPU; None after an idle hour."""
        with suppress(queue.Empty):
            return self._queue.get(timeout=REST)
        session.rest()
        with suppress(queue.Empty):
            return self._queue.get(timeout=END - REST)
        return None

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
            emit("error", message=NO_MEMORY)
        except Exception as error:
            logging.exception("A request failed.")
            emit("error", message=_unexpected(error))
        finally:
            wire.remove_files(self._folder, request)

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
        self._leave()  # the window is gone, and nobody waits for the work

    def _leave(self) -> None:
        """End the process; images of a patient must not lie about."""
        remove_folder(self._folder)
        os._exit(0)


def why(error: BaseException) -> str:
    """A sentence for what ends the worker."""
    return NO_MEMORY if isinstance(error, MemoryError) else _unexpected(error)


def _unexpected(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in text.lower():
        return "The device has not enough memory for this model; choose a smaller one, or the CPU."
    if isinstance(error, OSError):
        return f"A file cannot be read or written: {error.strerror or text}."
    return f"Something went wrong in the worker ({type(error).__name__}: {text[:200]}); please report it."
