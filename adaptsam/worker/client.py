"""The window's end of the worker: starts it, talks to it, notices when it is gone. No Qt, no torch, never waits."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from adaptsam.errors import AdaptSAMError
from adaptsam.worker import wire_format as wire
from adaptsam.worker.exchange import ExchangeFolder, LastWords, remove_leftovers
from adaptsam.worker.process_tree import PIPE, end_tree, launch_here

#: Seconds that a worker has to stop by itself when it is requested to; then it is ended. Embeddings outlive that.
PATIENCE = 1.5

#: Seconds that :meth:`WorkerClient.events` leaves to the threads that read and write, while they have much to do. A
#: window whose event loop keeps the interpreter's lock, as Slicer's does, leaves them no other time.
LEFT, STEP = 0.02, 0.001

#: Starts a process from its arguments and an environment, as ``subprocess.Popen`` with pipes of bytes.
Launch = Callable[[Sequence[str], Mapping[str, str]], "subprocess.Popen[bytes]"]


@dataclass(eq=False)
class _Worker:
    """A process, the folder and the queue of messages that are its own, and the process that said it is the worker."""

    number: int
    process: subprocess.Popen[bytes]
    folder: ExchangeFolder
    outbox: queue.SimpleQueue[wire.Message | None]
    inner: int | None = None
    listener: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


@dataclass
class _Open:
    """A request without an answer: the request, the worker it went to, and until when that has time to stop."""

    message: wire.Message
    worker: int = 0
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
        self._worker: _Worker | None = None
        self._folder: Path | None = None
        self._numbers = count(1)
        self._events: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._moved = 0
        self._waiting: dict[int, _Open] = {}
        self._number = 0
        self.log: deque[str] = deque(maxlen=200)
        self._unheard: deque[str] = deque(maxlen=200)

    @property
    def pid(self) -> int | None:
        """The process that was started, perhaps a launcher, or None where none runs."""
        return self._worker.process.pid if self._worker is not None and self._worker.runs else None

    @property
    def worker_pid(self) -> int | None:
        """The process that does the work, as it said itself; None before it did, and where none runs."""
        return self._worker.inner if self._worker is not None and self._worker.runs else None

    @property
    def folder(self) -> Path | None:
        """The folder for exchanged arrays of the last worker, which it goes with; None before the first request."""
        return self._folder

    def array(self, name: str) -> np.ndarray:
        """An array, of any shape, that an event names; its file is gone afterwards.

        Raises:
            InputError: it is not there any more.
        """
        if self._worker is None:
            raise wire.not_there()
        return wire.take_array(self._worker.folder.path, name)

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
        assert self._worker is not None
        request.worker = self._worker.number
        self._worker.outbox.put(request.message)

    def cancel(self, number: int) -> None:
        """Ask for a stop. Where the worker does not stop within :data:`PATIENCE`, it is ended by :meth:`events`.

        A request that waits behind another one is over at once, and nothing is ended for it.
        """
        request = self._waiting.get(number)
        if request is not None and request.deadline is None:
            request.deadline = time.monotonic() + PATIENCE
            if self._worker is not None:
                self._worker.outbox.put({"id": number, "do": "cancel"})

    def events(self) -> Iterator[wire.Message]:
        """Events since the last call; waits for :data:`LEFT` at most.

        Late words of requests that have ended are dropped.
        """
        yield from self._end_the_deaf()
        if self._waiting:
            self._leave_time()
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
            elif self.folder is not None:
                wire.remove_files(self.folder, event)

    def _leave_time(self) -> None:
        """Let the threads that read and write run, as long as they get something done."""
        end = time.monotonic() + LEFT
        before = -1
        while self._moved != before and time.monotonic() < end:
            before = self._moved
            time.sleep(STEP)

    def said(self) -> Iterator[str]:
        """The lines that the worker wrote to its stderr since the last call, the last 200 at most."""
        with suppress(IndexError):
            while True:
                yield self._unheard.popleft()

    def close(self) -> None:
        """End the process and remove everything that was exchanged."""
        self._waiting.clear()
        worker = self._worker
        if worker is not None and self._command:
            self._let_end(worker)
        self._kill()
        if worker is not None and worker.listener is not None:
            worker.listener.join(2 * PATIENCE)
            worker.folder.remove()

    @staticmethod
    def _let_end(worker: _Worker) -> None:
        """Close the pipe to a worker elsewhere and wait a little: it alone can remove the images that it holds."""
        worker.outbox.put(None)
        pipe = worker.process.stdin
        if pipe is not None:
            threading.Thread(target=pipe.close, daemon=True).start()
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(PATIENCE)

    def _start(self) -> None:
        folder = ExchangeFolder()
        here = [self._python, "-m", "adaptsam.worker", str(folder.path)]
        try:
            process = self._launch(self._command or here, self._environment)
        except OSError:
            folder.remove()
            raise
        if self._worker is not None:
            self._worker.outbox.put(None)  # the thread that sent to the process before ends
        worker = self._worker = _Worker(next(self._numbers), process, folder, queue.SimpleQueue())
        self._folder = folder.path
        worker.listener = threading.Thread(target=self._listen, args=(worker,), daemon=True)
        worker.listener.start()
        threading.Thread(target=self._drain, args=(process,), daemon=True).start()
        threading.Thread(target=self._write, args=(worker,), daemon=True).start()
        threading.Thread(target=remove_leftovers, daemon=True).start()

    def _write(self, worker: _Worker) -> None:
        """The thread that sends: arrays to files or in lines before, then the line."""
        pipe = worker.process.stdin
        assert pipe is not None

        def put(message: Mapping[str, Any]) -> None:
            left = memoryview(wire.to_line(message).encode("ascii"))
            while left:  # a pipe may take less than it is given
                left = left[pipe.write(left) :]
                self._moved += 1

        def send(array: np.ndarray) -> str:
            name = ""
            for piece in wire.array_lines(array):
                put({"do": "file", **piece})
                name = piece["name"]
            return name

        def write(array: np.ndarray) -> str:
            name = wire.write_array(worker.folder.path, array)
            self._moved += 1
            return name

        hand_over = send if self._command else write
        while (message := worker.outbox.get()) is not None:
            try:
                put(_with_files(message, hand_over))
            except AdaptSAMError as error:
                self._events.put({"id": message["id"], "event": "error", "message": str(error)})
            except (OSError, ValueError):
                break  # it is gone, which the listener tells
        with suppress(OSError, ValueError):
            pipe.close()  # what still reads at the other end, beyond a process that was killed, ends too

    def _listen(self, worker: _Worker) -> None:
        """The thread that reads, and at the end removes what was exchanged."""
        arriving, reason = wire.ArrivingFiles(worker.folder.path), ""
        try:
            assert worker.process.stdout is not None
            for line in self._lines(worker.process.stdout):
                message = wire.from_line(line)
                if message["event"] == "file":
                    arriving.take(message)
                elif message["event"] == "started":
                    worker.inner = None if self._command else int(message["pid"])
                else:
                    self._events.put(message)
        except (AdaptSAMError, KeyError, OSError, ValueError) as error:
            reason = str(error) if isinstance(error, AdaptSAMError) else ""
            end_tree(worker.process, worker.inner)  # what it says can no longer be understood
        code, words = worker.process.wait(), LastWords(worker.folder.path).heard()
        self._events.put({"event": "exit", "code": code, "worker": worker.number, "reason": reason, "words": words})
        worker.folder.remove()

    def _lines(self, pipe: IO[bytes]) -> Iterator[bytes]:
        """The lines that a process writes, read in pieces as large as the pipe."""
        begun = bytearray()
        with pipe:
            while piece := os.read(pipe.fileno(), PIPE):
                self._moved += 1
                *whole, rest = piece.split(b"\n")
                if whole:
                    yield bytes(begun) + whole[0]
                    yield from whole[1:]
                    begun.clear()
                begun += rest
            if begun.strip():
                yield bytes(begun)

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for line in self._lines(process.stderr):
            said = line.decode("utf-8", "backslashreplace").rstrip()
            self.log.append(said)
            self._unheard.append(said)

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
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.outbox.put(None)
            end_tree(worker.process, worker.inner)

    def _lost(self, event: wire.Message) -> Iterator[wire.Message]:
        """The request that a process ended in the middle of, told as what it is; the next worker takes what waited."""
        if self._worker is not None and self._worker.number == event["worker"]:
            self._worker.outbox.put(None)
            self._worker = None
        gone = [number for number, request in self._waiting.items() if request.worker == event["worker"]]
        for number in gone:
            request = self._waiting.pop(number)
            if request.deadline is not None:
                yield {"id": number, "event": "cancelled"}
            elif number == gone[0]:
                message = event["reason"] or why_lost(event["code"], self.log, event["words"])
                yield {"id": number, "event": "lost", "message": message}
            else:
                self._waiting[number] = request  # at the end: behind what the next worker may have been asked already
                self._send(request)


def why_lost(code: int, log: Sequence[str], words: Mapping[str, Any] | None = None) -> str:
    """A sentence for a worker that ended without a request.

    Args:
        code: the exit code; behind a launcher it is the launcher's.
        log: what was written to stderr.
        words: :meth:`.LastWords.heard`.
    """
    if words and words.get("message"):
        return str(words["message"])
    if words and words.get("lacks"):
        return lacks(words["lacks"])
    fatal = next((line for line in log if line.startswith("Fatal Python error: ")), "")
    if fatal or (words and words.get("crash")):
        crash = (words or {}).get("crash") or fatal.partition(": ")[2]
        return f"The worker crashed ({crash}); run it again, and report it if it happens again."
    last = next((line for line in reversed(log) if line.strip()), "")
    if words == {} or code in (-9, 137) or "exit abnormally" in last:  # it had no time for a word
        return (
            "The worker was ended from outside, most likely because memory ran out; close other programs, or choose a "
            "smaller model or fewer structures, and run it again."
        )
    if "No module named" in last:
        return lacks(last.rpartition("No module named")[2].strip(" '\""))
    reason = f" It said last: {last}" if last else ""
    return f"The worker stopped by itself (code {code}); run it again.{reason}"


def lacks(package: str) -> str:
    """The sentence of a worker that cannot import a package."""
    return f"The worker lacks the Python package {package}; install AdaptSAM's packages and run it again."


def _with_files(value: Any, hand_over: Callable[[np.ndarray], str]) -> Any:
    """The same message with every mask packed, and every other array as the name of its file."""
    if isinstance(value, np.ndarray):
        return wire.pack_mask(value) if value.dtype == bool else hand_over(value)
    if isinstance(value, Mapping):
        return {key: _with_files(item, hand_over) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_files(item, hand_over) for item in value]
    return value
