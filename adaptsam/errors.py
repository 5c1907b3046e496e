"""The errors that a user can cause. Each message is one sentence: what is wrong and what to do."""


class AdaptSAMError(Exception):
    """Base of every error whose message is meant for the user; the command line prints it and exits with 2."""


class InputError(AdaptSAMError):
    """A file, a folder or a value that was given cannot be used."""


class GeometryError(InputError):
    """Two images or masks that must share a grid, or a patient, do not."""


class CheckpointError(InputError):
    """A model file is missing, damaged, unsafe or of an unknown kind."""


class NotInstalledError(InputError):
    """A library is needed that a plain installation lacks; the message names the extra that brings it."""


class OutputError(AdaptSAMError):
    """A result cannot be written; nothing was left half-written."""


class Cancelled(AdaptSAMError):
    """The user's request to stop; nothing was written."""


class DownloadError(AdaptSAMError):
    """A file cannot be fetched now; what arrived of it stays, and the next attempt goes on from there."""


class TrainingError(AdaptSAMError):
    """A training cannot go on. ``last_good`` is what it had reached before, if anything."""

    def __init__(self, message: str, last_good: object = None) -> None:
        super().__init__(message)
        self.last_good = last_good


def sentence_in(error: BaseException) -> AdaptSAMError | None:
    """The sentence for the user inside an error that a library or a worker process has wrapped; None without one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AdaptSAMError) and "\n" not in str(cause):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
