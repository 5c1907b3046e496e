"""Files that nobody should have to trust, read in processes that cannot do harm: what each one did is told.

A worker process reads case after case. Its address space is bounded, what it prints is caught at the file descriptors,
Python's audit events tell what it opens, starts and connects to, and whoever started it ends it after the time limit.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from adaptsam.cli import guarded

#: Seconds that reading one file may take, and megabytes that the whole process may have touched meanwhile.
MOST_SECONDS, MOST_MB = 10.0, 2048
#: Address space beyond what the imports take: enough to see who asks for too much, too little to hurt the machine.
ADDRESS_SPACE = 4 * 2**30
#: Cases that one process reads.
CASES_A_PROCESS = 100
#: Written nowhere but into the files that are read, and into a file beside the case that nobody may read.
SECRETS = ("Sekretova", "PID-4711", "19500203", "ACC-081523", "CANARY")

_STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn")
_NET = ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate")


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        name: what to call it.
        prepare: writes good files into a folder, once.
        make: writes a case into an empty folder, from the folder of good files; returns what it did to it, in words.
            Words that begin with "refuse" say that the case must not be read.
        read: reads the case, as a command does; given the case's folder and the good files'.
    """

    name: str
    prepare: Callable[[Path], None]
    make: Callable[[Path, Random, Path], str]
    read: Callable[[Path, Path], None]


@dataclass(frozen=True)
class Outcome:
    """What came of one case: ``kind`` is "read", "refused", or names a finding; ``told`` is what was said."""

    reader: str
    case: int
    made: str
    kind: str
    told: str
    seconds: float = 0.0
    peak_mb: float = 0.0

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("read", "refused")


def examine(reader: Reader, cases: Iterable[int]) -> Iterator[Outcome]:
    """Read each case in a worker process."""
    with tempfile.TemporaryDirectory(prefix="adaptsam-faults-") as name:
        place = Path(name)
        (place / "canary").mkdir()
        (place / "canary" / "secret.raw").write_bytes(b"CANARY" * 20_000)
        (place / "seeds").mkdir()
        reader.prepare(place / "seeds")
        waiting = list(cases)
        while waiting:
            batch, waiting = waiting[:CASES_A_PROCESS], waiting[CASES_A_PROCESS:]
            while batch:
                done = 0
                for outcome in _examine_batch(reader, batch, place):
                    done += 1
                    yield outcome
                batch = batch[done:]  # a case that ended its process is told, and the next ones get another


def _examine_batch(reader: Reader, batch: list[int], place: Path) -> Iterator[Outcome]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(reader, batch, place, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        for case in batch:
            made = "?"
            try:
                if not ours.poll(120):
                    yield Outcome(reader.name, case, made, "stuck", "the case was not made")
                    return
                made = ours.recv()
                if not ours.poll(MOST_SECONDS + 2):
                    yield Outcome(reader.name, case, made, "hang", f"over {MOST_SECONDS:.0f} s", MOST_SECONDS)
                    return
                yield Outcome(**ours.recv())
            except EOFError:
                process.join()
                yield Outcome(reader.name, case, made, "crash", f"the process ended with {process.exitcode}")
                return
    finally:
        process.kill()
        process.join()


def _work(reader: Reader, batch: list[int], place: Path, pipe: Connection) -> None:
    """In the worker: everything is examined on a copy of its own."""
    os.environ["HOME"] = str(place / "home")
    tempfile.tempdir = str(place / "temporary")
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    watch = _Watch(place)
    sys.addaudithook(watch)
    limit = _status("VmSize") * 1024 + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for case in batch:
        folder = place / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        made = reader.make(place / "seeds", Random(f"{reader.name} {case}"), folder)
        pipe.send(made)
        pipe.send(asdict(_examine_one(reader, case, made, place, watch)))


def _examine_one(reader: Reader, case: int, made: str, place: Path, watch: _Watch) -> Outcome:
    before = _listing(place)
    caught = place / "said"
    _forget_peak()
    start = time.monotonic()
    kind, told = "", ""
    with _Caught(caught) as said, watch:
        try:
            code = guarded(partial(reader.read, place / "case", place / "seeds"))
            kind = {0: "read", 2: "refused"}.get(code, f"exit {code}")
        except BaseException as error:
            kind, told = "traceback", _where(error)
    seconds, peak = time.monotonic() - start, _status("VmHWM") / 1024
    kind, told = _judge(kind, told or said.text, said.printed, made, watch.seen or _changed(before, place))
    if seconds > MOST_SECONDS:
        kind = "hang"
    if peak > MOST_MB:
        kind = "memory"
    return Outcome(reader.name, case, made, kind, told, seconds, peak)


def _judge(kind: str, told: str, printed: str, made: str, done: str) -> tuple[str, str]:
    """The kind of a case's end, after all that may not have happened."""
    if done:
        return "escaped", done
    if any(secret in told + printed for secret in SECRETS):
        return "identity", told + printed
    if not all(character.isprintable() or character == "\n" for character in told + printed):
        return "control characters", ascii(told + printed)
    if "Traceback" in told:
        return "traceback", told
    if kind == "read" and made.startswith("refuse"):
        return "not refused", told
    sentence = told.strip()
    if kind == "refused" and (not sentence.startswith("adaptsam: ") or "\n" in sentence or len(sentence) > 700):
        return "not one sentence", told
    return kind, told


def _where(error: BaseException) -> str:
    """The type of an exception and the last line of ours that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/adaptsam/" in frame.filename]
    last = (ours or frames)[-1] if frames else None
    place = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{place}: {str(error)[:200]}"


class _Watch:
    """An audit hook: notes what reading a file must not do. Once added it stays, and looks while it is entered."""

    def __init__(self, place: Path) -> None:
        self.place, self.seen, self._looking = place, "", False
        self._allowed = (*(str(place / name) for name in ("case", "temporary", "said", "home")), "/dev/null")

    def __enter__(self) -> None:
        self.seen, self._looking = "", True

    def __exit__(self, *_: object) -> None:
        self._looking = False

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if not self._looking:
            return
        if event in _STARTS or event in _NET:
            self.seen = f"{event} {str(args)[:200]}"
        elif event == "open" and isinstance(args[0], str | bytes):
            path = os.path.abspath(os.fsdecode(args[0]))
            writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            if "canary" in path or (writes and not path.startswith(self._allowed)):
                self.seen = f"opens {path}"
        elif event in _CHANGES and isinstance(args[0], str | bytes | os.PathLike) and args[-1] in (-1, 0o777):
            # (a path relative to an open folder has that folder's number last)
            path = os.path.abspath(os.fsdecode(args[0]))
            if not path.startswith(self._allowed) and not path.endswith((".pyc", "__pycache__")):
                self.seen = f"{event} {path}"


class _Caught:
    """Whatever goes to stdout (``printed``) and stderr (``text``) meanwhile, by C++ libraries too."""

    def __init__(self, path: Path) -> None:
        self.path, self.printed, self.text = path, "", ""

    def __enter__(self) -> _Caught:
        sys.stdout.flush()
        sys.stderr.flush()
        self._kept = [os.dup(1), os.dup(2)]
        for stream in (1, 2):
            file = os.open(f"{self.path}{stream}", os.O_CREAT | os.O_TRUNC | os.O_RDWR)
            os.dup2(file, stream)
            os.close(file)
        self._streams = sys.stdout, sys.stderr
        # A test runner has its own streams in place; what we print shall go where C++ prints.
        sys.stdout, sys.stderr = (
            open(n, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            for n in (1, 2)
        )
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = self._streams
        for stream, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, stream)
            os.close(kept)
        self.printed, self.text = (
            Path(f"{self.path}{stream}").read_text(encoding="utf-8", errors="replace")[:100_000] for stream in (1, 2)
        )


def _listing(place: Path) -> dict[str, int]:
    """What lies beside the case, with its time of change."""
    found = {}
    for folder in ("canary", "seeds"):
        found |= {str(path): path.stat().st_mtime_ns for path in (place / folder).rglob("*")}
    return found | {str(path): 0 for path in place.iterdir() if path.name not in ("temporary", "said1", "said2")}


def _changed(before: dict[str, int], place: Path) -> str:
    odd = sorted(set(_listing(place).items()) ^ set(before.items()))
    odd += [(str(path), 0) for path in (place / "temporary").iterdir()]
    return f"changed or left {odd[0][0]}" if odd else ""


def _status(name: str) -> int:
    """A field of /proc/self/status, in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def as_line(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome))
