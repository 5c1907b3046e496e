"""Requests about files on the worker's machine: weights are fetched and removed, encoded slices counted and cleared."""

from __future__ import annotations

import time
from collections.abc import Callable

from adaptsam.sam.fetched_weights import clear, fetch
from adaptsam.storage.disk_cache import KeptFolder, cache_folder
from adaptsam.worker import wire_format as wire
from adaptsam.worker.result_messages import Emit

#: Seconds between two words about a download.
TOLD_EVERY = 0.2


def fetch_weights(request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
    """Bring weights of the catalogue here, checked; tells "progress" in bytes. What broke off goes on."""
    told = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal told
        check()
        if time.monotonic() - told > TOLD_EVERY or done == total:
            told = time.monotonic()
            share = done / total if total else 0.0
            emit("progress", stage=stage, done=done, total=total, share=share, remaining=None)

    fetch(request["name"], progress=progress)


def clear_weights(request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
    """Remove weights of the catalogue; tells "freed" with the bytes."""
    emit("freed", bytes=clear(request["name"]))


def kept(request: wire.Message, emit: Emit, check: Callable[[], None]) -> None:
    """Count the encoded slices that are kept: "kept" with bytes and folder; with "clear" they are removed first."""
    folder = KeptFolder(cache_folder())
    if request.get("clear"):
        folder.clear()
    found = folder.kept()
    emit("kept", bytes=found.size, files=found.files, folder=str(cache_folder()))
