"""One callback carries progress out and cancellation in."""

from typing import Protocol


class Progress(Protocol):
    """Called with the name of the stage and how far it is.

    An implementation cancels the work by raising :class:`adaptsam.errors.Cancelled` from the call.
    """

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """The progress of someone who does not want to know."""
