"""``adaptsam doctor``: what this installation is, what it will compute with, and what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaptsam.commands.console import add_talk_options, print_json, print_table
from adaptsam.errors import AdaptSAMError, InputError

DESCRIPTION = """\
Check this installation: versions, device and precision that will be used, models, folders, room on the disks.

  adaptsam doctor
  adaptsam doctor --json      for programs, and for a report of a fault

Nothing of a patient is shown. The exit code is 2 where something that every command needs is missing.
"""
#: With less room than this, one run on a large scan may not fit.
LITTLE_ROOM = 2e9


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and where it is bad, what to do about it."""

    group: str
    name: str
    value: str
    advice: str = ""
    broken: bool = False


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="check this installation", description=DESCRIPTION)
    add_talk_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    found = [*versions(), *extras(), *computing(), *weights(), *rooms()]
    broken = [finding for finding in found if finding.broken]
    if args.json:
        print_json({"healthy": not broken, "findings": found})
    else:
        for group in dict.fromkeys(finding.group for finding in found):
            print_table([{"": one.name, "found": one.value} for one in found if one.group == group], group)
        advice = [one for one in found if one.advice]
        print("\nAll is well." if not advice else "")
        print("".join(f"  ! {one.name}: {one.advice}\n" for one in advice), end="")
    if broken:
        raise InputError(f"This installation cannot work: {broken[0].name}: {broken[0].advice}")


def versions() -> Iterator[Finding]:
    """AdaptSAM, Python, the system, and the libraries that decide results."""
    group = "Versions"
    yield Finding(group, "AdaptSAM", _version("adaptsam") or "from a folder")
    yield Finding(group, "Python", platform.python_version())
    yield Finding(group, "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    for library in ("torch", "monai", "SimpleITK", "pydicom", "scikit-learn"):
        version = _version(library)
        missing = "" if version else "install AdaptSAM again: pip install adaptsam"
        yield Finding(group, library, version or "missing", missing, broken=not version)


def extras() -> Iterator[Finding]:
    """Optional parts, and whether their libraries are here."""
    wanted: dict[str, list[str]] = {}
    try:
        lines = importlib.metadata.requires("adaptsam") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and extra[1] not in ("docs", "lint", "test"):
            wanted.setdefault(extra[1], []).append(name[0])
    for name, libraries in sorted(wanted.items()):
        lacking = [library for library in libraries if _version(library) is None]
        text = "installed" if not lacking else f"not installed (pip install 'adaptsam[{name}]')"
        yield Finding("Optional parts", name, text)


def computing() -> Iterator[Finding]:
    """Device and precision that "auto" takes, tried on the bundled model."""
    group = "Computing"
    try:
        import numpy as np
        import psutil
        import torch

        from adaptsam.sam import load_sam

        yield Finding(group, "threads", str(torch.get_num_threads()))
        memory = psutil.virtual_memory()
        yield Finding(group, "memory", f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB")
        if torch.cuda.is_available():
            yield Finding(group, "GPU", torch.cuda.get_device_name(0))
        model = load_sam()
        begin = time.perf_counter()
        model.embed([np.zeros((256, 256, 3), np.uint8)])
        seconds = time.perf_counter() - begin
        yield Finding(group, "device", str(model.device))
        yield Finding(group, "precision", str(model.precision).removeprefix("torch."))
        yield Finding(group, "bundled model", f"works, {seconds:.2f} s for a slice")
    except ImportError as error:
        yield Finding(group, "PyTorch", "missing", f"{error.name} is missing; install AdaptSAM again", broken=True)
    except AdaptSAMError as error:
        yield Finding(group, "bundled model", "does not work", str(error), broken=True)


def weights() -> Iterator[Finding]:
    """Weights that were fetched, and agents that are known by name."""
    from adaptsam.sam.weights_catalogue import catalogue

    here = [name for name, known in catalogue().items() if known.path.is_file()]
    text = ", ".join(here) or "none fetched; the bundled model is used"
    advice = "" if here else "for real images, fetch a larger one: adaptsam weights fetch vit_b"
    yield Finding("Models", "weights", text, advice)
    try:
        from adaptsam.alignsam.agent_folders import agent_files
    except ImportError:
        return
    yield Finding("Models", "agents", ", ".join(agent_files()) or "none")


def rooms() -> Iterator[Finding]:
    """The folders that are written to, and the room on their disks."""
    from adaptsam.sam.weights_catalogue import weights_folder
    from adaptsam.storage.disk_cache import KeptFolder, cache_folder

    kept = KeptFolder(cache_folder()).kept()
    places = {
        f"cache ({kept.size / 1e6:.0f} MB)": cache_folder(),
        "weights folder": weights_folder(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    for name, folder in places.items():
        standing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(standing).free
        writable = os.access(standing, os.W_OK)
        advice = "" if writable else "cannot be written; see adaptsam cache --help for another folder"
        if writable and free < LITTLE_ROOM:
            advice = "there is little room left on its disk"
        yield Finding("Folders", name, f"{folder}  ({free / 1e9:.1f} GB free)", advice)


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
