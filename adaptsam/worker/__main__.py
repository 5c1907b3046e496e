"""``python -m adaptsam.worker FOLDER``: requests from stdin one after the other, cancelling at any time.

With ``-`` for FOLDER, images come and go in the pipe, for another machine: ``ssh HOST python -m adaptsam.worker -``.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
from pathlib import Path

from adaptsam.worker.exchange import ExchangeFolder, LastWords, remove_leftovers


def main() -> None:
    """Run the server; what others print goes to stderr, so that it cannot come between the events."""
    events = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    shared = sys.argv[1] != "-"
    folder = Path(sys.argv[1]) if shared else _own_folder()
    words = LastWords(folder)
    if shared:
        words.begin()
    events.write(json.dumps({"event": "started", "pid": os.getpid()}) + "\n")
    try:
        from adaptsam.worker.server import Server  # what it needs may be missing, which is told, too

        Server(sys.stdin, events, folder, shared).run()
    except ModuleNotFoundError as error:
        words.say({"lacks": (error.name or "").partition(".")[0]})
        raise
    except BaseException as error:
        from adaptsam.worker.server import why

        words.say({"message": why(error)})
        raise


def _own_folder() -> Path:
    """A folder of this machine, locked as long as this process lives; a crash of native code is told in stderr."""
    faulthandler.enable(sys.stderr)
    remove_leftovers()
    _kept.append(ExchangeFolder())
    return _kept[0].path


_kept: list[ExchangeFolder] = []


if __name__ == "__main__":
    main()
