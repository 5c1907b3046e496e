"""Runs that are killed, stopped, short of room or doubled, at random moments: nothing half, nothing lost.

    python Testing/tools/experiments/kill.py                    each fault 50 times
    python Testing/tools/experiments/kill.py --only kill --runs 10
    python Testing/tools/experiments/kill.py --command track

Every run is `adaptsam propagate` (or autoprompt, or track) in a process of its own, forked from one that has the
imports, so that the moments fall into the work: reading, registering, encoding, writing. The output folder holds an
earlier result, which it may overwrite. The folder of embeddings and registrations is shared by all runs, and emptied
before every second one. After each fault: every file of the result is the earlier or the new one, whole; all of them
are of one run, or the next run makes them so; the next run ends well, with the same masks as an undisturbed one;
nothing is left beside them; and whatever is kept for later runs is whole.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch

# This checkout, whatever is installed.
sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (3, 2)]

from blob_agent import make_agent  # noqa: E402
from tiny_sam import TINY  # noqa: E402

from adaptsam import cli  # noqa: E402
from adaptsam.alignsam import save_agent  # noqa: E402
from adaptsam.image import DicomSource, Geometry, Structure, StructureSet, Volume  # noqa: E402
from adaptsam.io import write_dicom_series, write_pictures, write_structures  # noqa: E402
from adaptsam.sam import build_sam, load_sam, save_checkpoint  # noqa: E402
from adaptsam.storage.disk_cache import KeptFolder  # noqa: E402

_SHAPE = (10, 40, 44)


class _Command(NamedTuple):
    """What is run: its words for the files in a folder, the files that must come out, and which of them are masks."""

    words: Callable[[Path], list[str]]
    files: tuple[str, ...]
    masks: str


COMMANDS = {
    "propagate": _Command(
        lambda place: [
            f"--prior-image={place / 'prior' / 'ct'}",
            f"--prior-mask={place / 'prior' / 'rtstruct.dcm'}",
            f"--target={place / 'later' / 'ct'}",
            *("--set=acceptance=off", "--register=rigid"),
        ],
        ("report.html", "summary.json", "target-1.rtstruct.dcm", "target-1.seg.nrrd"),
        "target-1.seg.nrrd",
    ),
    "autoprompt": _Command(
        lambda place: [f"--agent={place / 'blob.agent.safetensors'}", f"--target={place / 'later' / 'ct'}"],
        ("report.html", "summary.json", "target-1.rtstruct.dcm", "target-1.seg.nrrd"),
        "target-1.seg.nrrd",
    ),
    "track": _Command(
        lambda place: [
            f"--video={place / 'frames'}",
            f"--prior-mask={place / 'outline' / '3.png'}",
            "--set=acceptance=off",
        ],
        ("report.html", "summary.json", "overlay.mp4", *(f"masks/{number}.png" for number in range(_SHAPE[0]))),
        "masks/*.png",
    ),
}
# A server that has imported and done nothing else: libraries' threads do not survive a fork.
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(
    ["adaptsam.propagation", "adaptsam.autoprompting", "adaptsam.commands.result_files", "adaptsam.sam", "highdicom"]
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="how often each fault; default: 50")
    parser.add_argument("--only", action="append", choices=FAULTS, help="a fault; repeat for more; default: all")
    parser.add_argument("--command", choices=COMMANDS, default="propagate", help="default: propagate")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adaptsam-kill-") as name:
        place = Path(name)
        os.environ["ADAPTSAM_CACHE"] = str(place / "cache")
        bench = _Bench(place, args.command)
        print(f"An undisturbed run takes {bench.seconds:.1f} s.", flush=True)
        bad = sum(_try(bench, fault, args.runs) for fault in args.only or FAULTS)
    return 1 if bad else 0


class _Bench:
    """A patient, a model, and what an undisturbed run gives."""

    def __init__(self, place: Path, command: str) -> None:
        self.place, self.result = place, place / "result"
        self.name, self.command = command, COMMANDS[command]
        torch.manual_seed(1)
        save_checkpoint(place / "tiny.safetensors", build_sam(TINY), TINY)
        for visit, shift in (("prior", 0), ("later", 2)):
            image, structures = _synthetic(shift)
            image = write_dicom_series(place / visit / "ct", image)
            write_structures(place / visit / "rtstruct.dcm", structures, image)
        save_agent(place / "blob.agent.safetensors", make_agent(load_sam(place / "tiny.safetensors", "cpu")))
        frames = [np.clip((one + 1000) / 6, 0, 255).astype(np.uint8) for one in image.array]
        masks = [np.where(one, 255, 0).astype(np.uint8) for one in structures.structures[0].mask]
        names = [str(number) for number in range(len(frames))]
        write_pictures(place / "frames", frames, names)
        write_pictures(place / "outline", masks, names)
        assert self.finish(self.start()) == 0, (place / "said").read_text()  # starts the server
        self.empty()
        start = time.monotonic()
        assert self.finish(self.start()) == 0, (place / "said").read_text()
        self.seconds = time.monotonic() - start
        self.contours = self.masks(self.result)

    def masks(self, folder: Path) -> str:
        """A hash of the masks of a result; the files themselves hold no date."""
        files = sorted(folder.glob(self.command.masks))
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    def empty(self) -> None:
        """Nothing is kept from run to run."""
        KeptFolder(self.place / "cache").clear()

    def start(self, prepare: Callable[[], None] | None = None, output: Path | None = None) -> multiprocessing.Process:
        """A propagation in a process of its own, which may overwrite."""
        words = [
            *(self.name, *self.command.words(self.place)),
            f"--checkpoint={self.place / 'tiny.safetensors'}",
            *("--device=cpu", "--quiet", "--overwrite"),
            f"--output={output or self.result}",
        ]
        (self.place / "said").unlink(missing_ok=True)
        process = _FORK.Process(target=_run, args=(words, prepare, self.place / "said"))
        process.start()
        return process

    @staticmethod
    def finish(process: multiprocessing.Process) -> int | None:
        process.join(300)
        return process.exitcode


def _run(words: list[str], prepare: Callable[[], None] | None, said: Path) -> None:
    try:
        _become_a_command(words, prepare, said)
    except KeyboardInterrupt:  # before the command was there to hear it
        sys.exit(130)
    cli.run()


def _become_a_command(words: list[str], prepare: Callable[[], None] | None, said: Path) -> None:
    torch.set_num_threads(1)
    handle = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if prepare is not None:
        prepare()
    sys.argv = ["adaptsam", *words]


def _killed(bench: _Bench, rng: Random) -> str:
    return _signalled(bench, rng, signal.SIGKILL, (-9,))


def _stopped(bench: _Bench, rng: Random) -> str:
    return _signalled(bench, rng, signal.SIGINT, (130,))


def _signalled(bench: _Bench, rng: Random, number: int, expected: tuple[int, ...]) -> str:
    process = bench.start()
    time.sleep(rng.uniform(0, 1.05 * bench.seconds))
    while process.is_alive() and not (bench.place / "said").exists():  # there is nothing to stop yet
        time.sleep(0.001)
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, number)
    code = bench.finish(process)
    return "" if code in (0, *expected) else f"exit code {code}"


def _full(bench: _Bench, rng: Random) -> str:
    """No file may grow over a random size (the sentence itself has room): what a full disk does to a random file."""
    code = bench.finish(bench.start(partial(_limit_files, int(10 ** rng.uniform(2.7, 6)))))
    return _refused_well(bench, code)


def _limit_files(most: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _tmpfs(bench: _Bench, rng: Random) -> str:
    """A disk of its own, of a random size."""
    disk = bench.place / "disk"
    disk.mkdir(exist_ok=True)
    size = int(10 ** rng.uniform(4, 6.2)) // 4096 * 4096 + 4096
    if os.system(f"mount -t tmpfs -o size={size} adaptsam-test {disk} 2>/dev/null") != 0:
        return "skipped: no tmpfs can be mounted here"
    try:
        code = bench.finish(bench.start(output=disk / "result"))
        left = sorted(path.name for path in disk.rglob("*"))
        whole = code == 0 and bench.masks(disk / "result") == bench.contours
        if not (whole or (code == 2 and not left)):
            return f"exit code {code}, left {left}"
        return "" if code == 0 else _refused_well(bench, code)
    finally:
        os.system(f"umount {disk}")


def _read_only(bench: _Bench, rng: Random) -> str:
    """Result and store may not be written from a random moment on; by another user, because root may write anyway."""
    folders = [bench.result, bench.place / "cache"]
    process = bench.start(partial(_become_nobody, bench.place))
    time.sleep(rng.uniform(0, bench.seconds))
    modes = [folder.stat().st_mode for folder in folders]
    for folder in folders:
        folder.chmod(0o555)
    code = bench.finish(process)
    for folder, mode in zip(folders, modes, strict=True):
        folder.chmod(mode | 0o700)
    return "" if code == 0 else _refused_well(bench, code)


def _become_nobody(place: Path) -> None:
    for path in [place, *place.rglob("*")]:
        os.chown(path, 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)


def _doubled(bench: _Bench, rng: Random) -> str:
    """Two processes with one output and one store, the second a random moment later."""
    first = bench.start()
    time.sleep(rng.uniform(0, bench.seconds / 2))
    second = bench.start()
    codes = bench.finish(first), bench.finish(second)
    return "" if codes == (0, 0) else f"exit codes {codes}"


def _refused_well(bench: _Bench, code: int | None) -> str:
    """What is wrong with how a run ended that could not write."""
    said = (bench.place / "said").read_text(errors="replace").strip().splitlines()
    last = said[-1] if said else ""
    if code == 0:
        return ""
    return "" if code == 2 and last.startswith("adaptsam: ") else f"exit code {code}: {last[:200]}"


FAULTS = {
    "kill": _killed,
    "ctrl-c": _stopped,
    "full": _full,
    "tmpfs": _tmpfs,
    "read-only": _read_only,
    "twice": _doubled,
}


def _try(bench: _Bench, name: str, runs: int) -> int:
    """Try one fault many times; prints a line, and returns how many runs went wrong."""
    wrong: Counter[str] = Counter()
    left_over = 0
    for run in range(runs):
        if run % 2:
            bench.empty()
        problem = FAULTS[name](bench, Random(f"{name} {run}"))
        if problem.startswith("skipped"):
            print(f"{name:10} {problem}", flush=True)
            return 0
        after = _contents(bench.result)
        left_over += any(".adaptsam-" in path for path in after)
        problem = problem or _harm(bench, after)
        if not problem and run % 5 == 0:
            problem = _after(bench)
        wrong[problem] += bool(problem)
        if problem:
            shutil.rmtree(bench.result)
            assert bench.finish(bench.start()) == 0
    told = "; ".join(f"{count} × {problem}" for problem, count in wrong.items() if problem) or "nothing wrong"
    print(
        f"{name:10} {runs} runs: {told} ({left_over} left a hidden folder)",
        flush=True,
    )
    return sum(wrong.values())


def _harm(bench: _Bench, after: dict[str, str]) -> str:
    """What of an earlier result is gone or half."""
    lost = [file for file in bench.command.files if file not in after]
    if lost:
        return f"lost {', '.join(lost)}"
    if bench.masks(bench.result) != bench.contours:
        return "masks that no run gives"
    if not (bench.result / "report.html").read_text().rstrip().endswith("</html>"):
        return "half a report"
    kept = KeptFolder(bench.place / "cache")
    if any(kept.read(path.stem) is None for path in kept.folder.glob("[!.]*")):
        return "what is kept for later runs is damaged"
    return ""


def _after(bench: _Bench) -> str:
    """What is wrong with the next run."""
    code = bench.finish(bench.start())
    if code != 0:
        return f"the next run ended with {code}: {(bench.place / 'said').read_text()[-200:]}"
    left = [path for path in _contents(bench.result) if ".adaptsam-" in path]
    return f"the next run left {left[0]}" if left else _harm(bench, _contents(bench.result))


def _contents(folder: Path) -> dict[str, str]:
    """Every file by its path in the folder, with a hash."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _synthetic(shift: int) -> tuple[Volume, StructureSet]:
    geometry = Geometry(_SHAPE, (4.0, 4.0, 5.0), (-80.0, -75.0, 10.0))
    k, j, i = np.indices(_SHAPE)
    body = ((j - 20) / 18) ** 2 + ((i - 22) / 20) ** 2 < 1
    tumour = ((k - 5) / 3.5) ** 2 + ((j - 20) / 7) ** 2 + ((i - 16 - shift) / 7) ** 2 < 1
    array = np.where(body, -20, -1000) + 150 * tumour
    array = (array + np.random.default_rng(shift).normal(0, 12, _SHAPE)).astype(np.int16)
    source = DicomSource(patient_id="one")
    return Volume(array, geometry, "CT", source), StructureSet((Structure("GTV", tumour),), geometry)


if __name__ == "__main__":
    sys.exit(main())
