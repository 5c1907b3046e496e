"""One callback carries progress out and cancellation in."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from adaptsam.errors import Cancelled

Item = TypeVar("Item")

#: Called often within a step that has nothing new to tell; may raise to stop it.
Tick = Callable[[], None]


class Progress(Protocol):
    """Called with the name of the stage and how far it is.

    An implementation cancels the work by raising :class:`adaptsam.errors.Cancelled` from the call.
    """

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """The progress of someone who does not want to know."""


def unasked() -> None:
    """The tick of someone who does not stop."""


def ticked(items: Iterable[Item], tick: Tick) -> Iterator[Item]:
    """The items, with a tick before each."""
    for item in items:
        tick()
        yield item


class _Thread(threading.local):
    """Marks of the running thread."""

    helps = False


_thread = _Thread()


def become_helper() -> None:
    """Make the running thread a helper of another one, which waits for it and alone reports progress."""
    _thread.helps = True


class Repeating:
    """Hands progress on, and repeats the last word in long steps that have nothing new to tell but may be stopped.

    On a helper's thread nothing is reported; it learns there that the work was stopped.
    """

    def __init__(self, progress: Progress) -> None:
        self.prefix = ""
        self._progress = progress
        self._last = ("prior", 0, 1)
        self._stopped = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._last = (self.prefix + stage, done, total)
        self._stopped = False
        self.again()

    @classmethod
    def of(cls, progress: Progress) -> "Repeating":
        """The progress itself where it repeats already, so that steps within steps share one last word."""
        return progress if isinstance(progress, cls) else cls(progress)

    def again(self) -> None:
        """The :data:`Tick` of whoever is given this progress."""
        if _thread.helps:
            if self._stopped:
                raise Cancelled("The work was stopped.")
            return
        try:
            self._progress(*self._last)
        except BaseException:
            self._stopped = True
            raise
