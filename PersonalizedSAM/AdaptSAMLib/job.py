"""A request to the worker, from its start to its end; nothing waits meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Self

import slicer
from slicer.i18n import tr as _

from AdaptSAMLib.engine import Engine
from AdaptSAMLib.geometry import InputProblem


class Job:
    """Base of what takes the worker a while, can be cancelled, and puts nodes into the scene.

    Args:
        engine: AdaptSAMLib.engine.Engine.
        onProgress: called with the share done (0 to 1), seconds to go or None, and a text.
        onEnd: called with "done", "cancelled" or "error", and a sentence.

    Attributes:
        made: all nodes that it put into the scene.
        ended: None, and at the end what onEnd was told.
        cancelling: whether it was asked to stop.
    """

    def __init__(
        self,
        engine: Engine,
        onProgress: Callable[[float, float | None, str], None] | None = None,
        onEnd: Callable[[str, str], None] | None = None,
    ) -> None:
        self.made: list = []
        self.ended, self.cancelling = None, False
        self._engine, self._number = engine, None
        self._onProgress, self._onEnd = onProgress, onEnd

    # -- what a kind of job adds

    def _describe(self) -> Generator[None, None, tuple[str, dict]]:
        """Generator that reads what the worker needs in short steps, and returns the request: its name and its content.

        May raise InputProblem. It is left where it stands when the job ends meanwhile.
        """
        raise NotImplementedError

    def _said(self, event: dict) -> str:
        """Sentence of a "progress" event."""
        raise NotImplementedError

    def _hear(self, event: dict) -> Iterator | None:
        """Any other event than progress and ends; what takes longer than a moment is returned as a generator of steps."""
        raise NotImplementedError

    def _finish(self) -> None:
        """The worker is done."""
        raise NotImplementedError

    # -- its life

    def start(self) -> Self:
        """Begin; returns itself at once."""
        self._engine.spawn(self._begin(), self._failed)
        return self

    def cancel(self) -> None:
        """Stop within two seconds, and leave the scene as it was."""
        self.cancelling = True
        if self.ended is None and self._number is not None:
            self._engine.cancel(self._number)
        elif self.ended is None:
            self._end("cancelled", _("Cancelled."))

    def abandon(self) -> None:
        """The scene is being closed: stop, and touch no node any more."""
        self.made.clear()
        if self._number is not None:
            self._engine.cancel(self._number)
        if self.ended is None:
            self.ended = ("cancelled", _("The scene was closed; the run was stopped."))
            self._tell(self._onEnd, *self.ended)

    def wait(self) -> Self:
        """Wait until it has ended, with the window alive; raises InputProblem with the sentence if it failed."""
        self._engine.wait(lambda: self.ended is not None)
        if self.ended and self.ended[0] == "error":
            raise InputProblem(self.ended[1])
        return self

    def _begin(self) -> Iterator:
        """Describe the request, and send it."""
        steps = self._describe()
        while self.ended is None:
            try:
                next(steps)
            except StopIteration as described:
                do, content = described.value
                self._progress(0.0, None, _("Starting"))
                self._number = self._engine.request(do, self._handle, **content)
                return
            except InputProblem as error:
                self._end("error", str(error))
            yield

    def _handle(self, event: dict) -> Iterator | None:
        if self.ended is not None:
            return None
        kind = event["event"]
        if kind == "progress":
            self._progress(event["share"], event["remaining"], self._said(event))
        elif kind == "done":
            self._finish()
        elif kind == "cancelled":
            self._end("cancelled", _("Cancelled."))
        elif kind in ("error", "lost"):
            self._end("error", event["message"])
        else:
            return self._hear(event)
        return None

    def _failed(self, message: str) -> None:
        if self.ended is None:
            self._end("error", message)

    def _progress(self, share: float, remaining: float | None, text: str) -> None:
        self._tell(self._onProgress, share, remaining, text)

    def _end(self, kind: str, message: str) -> None:
        if kind != "done":
            self._remove()
        self.ended = (kind, message)
        self._tell(self._onEnd, kind, message)

    def _remove(self) -> None:
        """Remove from the scene what this job made; what others made stays."""
        for node in reversed(self.made):
            if node.GetScene() is slicer.mrmlScene:
                display = node.GetDisplayNode() if hasattr(node, "GetDisplayNode") else None
                slicer.mrmlScene.RemoveNode(node)
                if display is not None and display.GetScene() is slicer.mrmlScene:
                    slicer.mrmlScene.RemoveNode(display)
        self.made.clear()

    @staticmethod
    def _tell(callback: Callable[..., Any] | None, *values: Any) -> None:
        if callback is not None:
            callback(*values)
