"""The worker's real process, pipe and folder, with a session that only reads images and takes its time. No torch.

    python Testing/worker/light_worker.py FOLDER

"work" with ``image``, ``seconds``, and ``deaf``: whether it keeps the interpreter's lock meanwhile, as native code may.
It tells "progress" first, and "result" with the image's sum at the end. "burst" tells ``count`` events of ``size``.
"""

from __future__ import annotations

import ctypes
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptsam.worker import __main__ as process
from adaptsam.worker import wire_format as wire

_held = ctypes.PyDLL(None)


class Session:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def answer(self, request: wire.Message, emit: Callable[..., None], check: Callable[[], None]) -> None:
        if request["do"] == "burst":
            for _ in range(request["count"]):
                emit("partial", text="A" * request["size"])
            return
        emit("progress", share=0.1)
        end = time.monotonic() + request["seconds"]
        while time.monotonic() < end:
            if request["deaf"]:
                _held.usleep(int(1e6 * request["seconds"]))
            time.sleep(0.01)
            check()
        emit("result", total=int(wire.take_array(self._folder, request["image"]).sum()))

    def rest(self) -> None:
        pass


if __name__ == "__main__":
    made: Any = types.ModuleType("adaptsam.worker.worker_session")
    made.Session = Session
    sys.modules["adaptsam.worker.worker_session"] = made
    process.main()
