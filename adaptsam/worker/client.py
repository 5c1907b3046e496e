"""The window's end of the worker: starts it, talks to it, notices when it is gone. No Qt, no torch, never waits."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptsam.errors import AdaptSAMError
from adaptsam.worker import wire_format as wire

#: Seconds that a worker has to stop by itself when it is asked to; then it is ended. Embeddings outlive that.
PATIENCE = 1.5

#: Starts a process from its arguments and an environment, as ``subprocess.Popen`` with pipes.
Launch = Callable[[Sequence[str], Mapping[str, str]], "subprocess.Popen[str]"]


def launch_here(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """A process of this machine, without a console window on Windows."""
    return subprocess.Popen(
        list(arguments),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="ascii",
        errors="backslashreplace",
        bufsize=1,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


@dataclass
class _Open:
    """A request without an answer: what was asked, the process it went to, and until when that has time to stop."""

    message: wire.Message
    pid: int = 0
    deadline: float | None = None


class WorkerClient:
    """One worker process, started when it is first needed and again after it was lost.

    Events are taken with :meth:`events`, from a timer or a loop. Every request ends with one of "done", "error",
    "cancelled" and "lost", in an event that carries the request's ``id``.

    Args:
        python: the interpreter that runs the worker; PythonSlicer in Slicer.
        environment: of the worker; this process's by default.
        launch: starts it.
        command: what to start where the worker runs on another machine, with the worker's FOLDER as ``-``, for example
            ``["ssh", "-T", "-o", "BatchMode=yes", "gpu", "python", "-m", "adaptsam.worker", "-"]``. Images are sent
            through its pipe then. No port is opened; who may connect is ssh's matter.

    Attributes:
        log: the last lines that the worker wrote to its stderr, for people who look for a fault.
    """

    def __init__(
        self,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        launch: Launch = launch_here,
        command: Sequence[str] | None = None,
    ) -> None:
        self._python, self._launch, self._command = python, launch, list(command or ())
        self._environment = dict(os.environ if environment is None else environment)
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[wire.Message | None] = queue.SimpleQueue()
        self._waiting: dict[int, _Open] = {}
        self._number = 0
        self.log: deque[str] = deque(maxlen=200)

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def folder(self) -> Path | None:
        """The folder for the exchange of arrays; None before the first request."""
        return self._folder

    @property
    def busy(self) -> bool:
        """Whether a request is not answered yet."""
        return bool(self._waiting)

    def request(self, do: str, **content: Any) -> int:
        """Send a request; arrays in it are written to the exchange folder, in the background.

        Returns:
            The number that its events carry as ``id``.
        """
        self._number += 1
        request = self._waiting[self._number] = _Open({"id": self._number, "do": do, **content})
        self._send(request)
        return self._number

    def _send(self, request: _Open) -> None:
        """To the worker, which is started where there is none."""
        if self.pid is None:
            try:
                self._start()
            except OSError as error:
                self._events.put(
                    {
                        "id": request.message["id"],
                        "event": "error",
                        "message": f"The worker cannot be started ({error.strerror or error}); install AdaptSAM's "
                        "packages anew, or free memory and disk.",
                    }
                )
                return
        assert self._process is not None
        request.pid = self._process.pid
        self._outbox.put(request.message)

    def cancel(self, number: int) -> None:
        """Ask for a stop. Where the worker does not stop within :data:`PATIENCE`, it is ended by :meth:`events`.

        A request that waits behind another one is over at once, and nothing is ended for it.
        """
        request = self._waiting.get(number)
        if request is not None and request.deadline is None:
            request.deadline = time.monotonic() + PATIENCE
            self._outbox.put({"id": number, "do": "cancel"})

    def events(self) -> Iterator[wire.Message]:
        """Events since the last call; never waits. Late words of requests that have ended are dropped."""
        yield from self._end_the_deaf()
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return
            if event["event"] == "exit":
                yield from self._lost(event)
            elif event.get("id") in self._waiting:
                if event["event"] in ("done", "error", "cancelled"):
                    del self._waiting[event["id"]]
                yield event

    def close(self) -> None:
        """End the process and remove everything that was exchanged."""
        self._waiting.clear()
        self._kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix="adaptsam-"))
        here = [self._python, "-m", "adaptsam.worker", str(self._folder)]
        process = self._launch(self._command or here, self._environment)
        self._outbox.put(None)  # the thread that sent to the process before, if there was one, ends
        self._process, self._outbox = process, queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(process, self._folder), daemon=True).start()
        threading.Thread(target=self._drain, args=(process,), daemon=True).start()
        threading.Thread(target=self._write, args=(process, self._outbox, self._folder), daemon=True).start()

    def _write(
        self,
        process: subprocess.Popen[str],
        outbox: queue.SimpleQueue[wire.Message | None],
        folder: Path,
    ) -> None:
        """The thread that sends: arrays to files or in lines before, then the line."""
        assert process.stdin is not None
        pipe = process.stdin

        def send(array: np.ndarray) -> str:
            name = ""
            for piece in wire.array_lines(array):
                pipe.write(wire.to_line({"do": "file", **piece}))
                name = piece["name"]
            return name

        def write(array: np.ndarray) -> str:
            return wire.write_array(folder, array)

        hand_over = send if self._command else write
        while (message := outbox.get()) is not None:
            try:
                pipe.write(wire.to_line(_with_files(message, hand_over)))
                pipe.flush()
            except AdaptSAMError as error:
                self._events.put({"id": message["id"], "event": "error", "message": str(error)})
            except (OSError, ValueError):
                break  # it is gone, which the listener tells
        with suppress(OSError, ValueError):
            pipe.close()  # what still reads at the other end, beyond a process that was killed, ends too

    def _listen(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        arriving, reason = wire.ArrivingFiles(folder), ""
        try:
            for line in process.stdout:
                message = wire.from_line(line)
                if message["event"] == "file":
                    arriving.take(message)
                else:
                    self._events.put(message)
        except (AdaptSAMError, KeyError, OSError, ValueError) as error:
            reason = str(error) if isinstance(error, AdaptSAMError) else ""
            process.kill()  # what it says can no longer be understood
        process.stdout.close()
        self._events.put({"event": "exit", "code": process.wait(), "pid": process.pid, "reason": reason})

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line.rstrip())

    def _end_the_deaf(self) -> Iterator[wire.Message]:
        """End a worker that did not stop in time; its cancelled requests do not wait until the system took it away.

        Requests are answered in their order: what waits behind another one has not begun, and goes to the next worker.
        """
        if not self._waiting:
            return
        first, working = next(iter(self._waiting.items()))
        late = working.deadline is not None and time.monotonic() > working.deadline
        cancelled = [number for number, request in self._waiting.items() if request.deadline is not None]
        over = [number for number in cancelled if late or number != first]
        for number in over:
            del self._waiting[number]
        if late:
            self._kill()
            for request in self._waiting.values():
                self._send(request)
        yield from ({"id": number, "event": "cancelled"} for number in over)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._outbox.put(None)
        if process.poll() is None:
            process.kill()

    def _lost(self, event: wire.Message) -> Iterator[wire.Message]:
        """The request that a process ended in the middle of, told as what it is; the next worker takes what waited."""
        if self._process is not None and self._process.pid == event["pid"]:
            self._process = None
        gone = [number for number, request in self._waiting.items() if request.pid == event["pid"]]
        for number in gone:
            request = self._waiting.pop(number)
            if request.deadline is not None:
                yield {"id": number, "event": "cancelled"}
            elif number == gone[0]:
                message = event["reason"] or why_lost(event["code"], self.log)
                yield {"id": number, "event": "lost", "message": message}
            else:
                self._waiting[number] = request  # at the end: behind what the next worker may have been asked already
                self._send(request)


def why_lost(code: int, log: Sequence[str]) -> str:
    """A sentence for the exit code of a worker that nobody asked to end."""
    if code in (-9, 137):
        return (
            "The worker was ended from outside, most likely because memory ran out; close other programs, or choose a "
            "smaller model or fewer structures, and run it again."
        )
    last = next((line for line in reversed(log) if line.strip()), "")
    if "No module named" in last:
        missing = last.rpartition("No module named")[2].strip(" '\"")
        return f"The worker lacks the Python package {missing}; install AdaptSAM's packages and run it again."
    reason = f" It said last: {last}" if last else ""
    return f"The worker stopped by itself (code {code}); run it again.{reason}"


def _with_files(value: Any, hand_over: Callable[[np.ndarray], str]) -> Any:
    """The same message with every mask packed, and every other array as the name of its file."""
    if isinstance(value, np.ndarray):
        return wire.pack_mask(value) if value.dtype == bool else hand_over(value)
    if isinstance(value, Mapping):
        return {key: _with_files(item, hand_over) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_files(item, hand_over) for item in value]
    return value
