"""The worker as Slicer's main thread sees it: requests with callbacks, a timer that hands events on, never a wait."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from AdaptSAMLib import sentences
from AdaptSAMLib.geometry import InputProblem

#: Milliseconds between two looks for events.
INTERVAL = 50

#: Seconds that handling events may take at a time; what is left waits for the next look.
SLICE = 0.05

#: Events that are the last of a request.
ENDS = ("done", "error", "cancelled", "lost")


def python() -> str:
    """The interpreter that the worker runs in."""
    return shutil.which("PythonSlicer") or sys.executable


def elsewhere() -> list:
    """The command that runs the worker on another machine, as it is set by ``AdaptSAM/WorkerCommand``; [] for here."""
    return shlex.split(str(qt.QSettings().value("AdaptSAM/WorkerCommand", "") or ""))


def environment() -> dict:
    """The environment that Slicer was started in, with the folder that holds `adaptsam` on the path."""
    import adaptsam

    values = dict(slicer.util.startupEnvironment())
    folder = os.path.dirname(os.path.dirname(os.path.abspath(adaptsam.__file__)))
    values["PYTHONPATH"] = os.pathsep.join(part for part in (folder, values.get("PYTHONPATH", "")) if part)
    values["PYTHONIOENCODING"] = "utf-8"
    return values


class Engine:
    """One worker for all modules of this Slicer."""

    _shared = None

    @classmethod
    def shared(cls) -> Engine:
        if cls._shared is None:
            cls._shared = cls()
            slicer.app.connect("aboutToQuit()", cls._shared.close)
        return cls._shared

    def __init__(self) -> None:
        self._client = None
        self._handlers: dict = {}
        self._pending: list = []
        self._tasks: list = []
        self._steps = None
        self._timer = qt.QTimer()
        self._timer.interval = INTERVAL
        self._timer.timeout.connect(self.pump)
        self._pumping = False

    @property
    def pid(self) -> int | None:
        return self._client.pid if self._client is not None else None

    @property
    def workerPid(self) -> int | None:
        """The process that does the work, behind its launcher, as it said itself; None before it did."""
        return self._client.worker_pid if self._client is not None else None

    @property
    def busy(self) -> bool:
        return bool(self._handlers)

    def array(self, name: str) -> np.ndarray:
        """An array that an event names; it can be taken once."""
        return self._client.array(name)

    def request(self, do: str, handler: Callable[[dict], Iterator | None], **content: Any) -> int:
        """Send a request to the worker; ``handler`` is called with each event, the last of which is one of an end.

        What takes longer than a moment, a handler returns as a generator: its steps are made between the window's own
        events, and the next event waits for the last of them.
        """
        from adaptsam.worker.client import WorkerClient

        if self._client is None:
            self._client = WorkerClient(python(), environment(), command=elsewhere())
        number = self._client.request(do, **content)
        self._handlers[number] = handler
        self._timer.start()
        return number

    def cancel(self, number: int) -> None:
        """The request ends with the event "cancelled" within two seconds."""
        if self._client is not None:
            self._client.cancel(number)

    def spawn(self, task: Iterator, failed: Callable[[str], None]) -> None:
        """Run a generator step by step between the window's own events; each step must be short.

        ``failed`` is called with a sentence if a step raises, and the other tasks go on.
        """
        self._tasks.append((task, failed))
        self._timer.start()

    def _stepTasks(self) -> None:
        until = time.monotonic() + SLICE
        while self._tasks and time.monotonic() < until:
            task, failed = self._tasks[0]
            try:
                if next(task, self) is self:
                    self._tasks.pop(0)
            except Exception as error:
                logging.exception("AdaptSAM: what was asked could not be prepared.")
                self._tasks.pop(0)
                failed(_("The inputs could not be prepared: {error}").format(error=error))

    def pump(self) -> None:
        """Hand on what arrived, for a moment at most. A handler that fails ends its request, not the others."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._stepTasks()
            self._pending += map(sentences.toldIn, self._client.events()) if self._client is not None else []
            self.keepLog()
            until = time.monotonic() + SLICE
            while (self._steps or self._pending) and time.monotonic() < until:
                if self._steps is None:
                    self._steps = self._hand(self._pending.pop(0))
                if next(self._steps, self) is self:
                    self._steps = None
        finally:
            self._pumping = False
        if not self.active:
            self._timer.stop()

    @property
    def active(self) -> bool:
        """Whether anything is under way: a request, or steps in this process."""
        return bool(self._handlers or self._tasks or self._pending or self._steps)

    def _hand(self, event: dict) -> Iterator:
        """A generator that gives an event to its handler, and makes the steps that the handler returns."""
        number = event["id"]
        handler = self._handlers.get(number)
        if handler is None:
            return
        if event["event"] in ENDS:
            del self._handlers[number]
        try:
            yield from handler(event) or ()
        except Exception as error:
            logging.exception("AdaptSAM: a result could not be put into the scene.")
            self.cancel(number)
            if self._handlers.pop(number, None) is not None:
                message = _("A result could not be put into the scene: {error}").format(error=error)
                yield from handler({"id": number, "event": "error", "message": message}) or ()

    def wait(self, ended: Callable[[], bool]) -> None:
        """Keep the window alive until ``ended()`` is true, or nothing is under way any more.

        Raises:
            InputProblem: it was called in a callback, where nothing more can arrive.
        """
        if self._pumping:
            raise InputProblem(_("Nothing can be waited for in a callback of AdaptSAM's; give wait=False there."))
        while not ended() and self.active:
            self.pump()
            slicer.app.processEvents()
            time.sleep(0.005)

    def waitFor(self, number: int) -> None:
        """Wait until a request has ended, and its last event was handled."""
        self.wait(lambda: number not in self._handlers and self._steps is None)

    def keepLog(self) -> None:
        """Put what the worker wrote to its stderr into Slicer's log, where people look for a fault."""
        for line in self._client.said() if self._client is not None else ():
            logging.info("AdaptSAM's worker: %s", line)

    def close(self) -> None:
        """End the worker, and remove what was exchanged."""
        self._timer.stop()
        self._handlers.clear()
        self._pending.clear()
        self._tasks.clear()
        self._steps = None
        if self._client is not None:
            self._client.close()
            self.keepLog()
            self._client = None
