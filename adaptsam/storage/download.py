"""One large file over HTTP: goes on where it broke off, notices a stall, and appears only whole and checked.

What has arrived lies beside the target in ``….part``, with a note of the version that the server gave it. The next
attempt requests the rest of that version; a server that has another one now, or that sends the whole file anyway, makes
it start again.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from adaptsam.errors import CheckpointError, DownloadError, OutputError
from adaptsam.progress import Progress, silent
from adaptsam.storage.file_hashes import Fingerprint

ATTEMPTS = 5
# Fewer bytes than this in ``stall_seconds`` is as good as none.
_LEAST_BYTES = 16 * 1024
_BLOCK = 2**20
_PASSING = {408, 425, 429, 500, 502, 503, 504}


def download(
    url: str,
    target: Path,
    expected: Fingerprint,
    *,
    accept: Callable[[Path], None] | None = None,
    progress: Progress = silent,
    stage: str = "download",
    stall_seconds: float = 30.0,
    pause_seconds: float = 1.0,
) -> None:
    """Fetch a file. The target appears when it is whole and agrees with what is expected; an older one is replaced.

    Args:
        url: http or https; redirects are followed, proxies taken from the environment.
        target: where the file will be; its folder is made.
        expected: what is known of it.
        accept: looks at the whole file before it takes its place, and raises where it is not the right one.
        progress: receives bytes; may cancel, what has arrived stays.
        stage: the name of the work in ``progress``.
        stall_seconds: how long nothing (or next to nothing) may arrive.
        pause_seconds: before the second attempt; doubled before each further one.

    Raises:
        DownloadError: the server cannot be reached, refuses, or fails five times without a byte more.
        CheckpointError: the server sends something else than is expected.
        OutputError: the file cannot be written, or another process is fetching it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            _Transfer(url, target, expected, accept, progress, stage, stall_seconds, pause_seconds).run()
    except OSError as error:
        raise OutputError(f"The download cannot be written to {target.parent}: {error}.") from error


def partial_path(target: Path) -> Path:
    """The path of a file's beginning until it is whole."""
    return target.with_name(f"{target.name}.part")


def leftovers(target: Path) -> tuple[Path, ...]:
    """All files that a broken download may leave beside its target."""
    part = partial_path(target)
    return part, part.with_name(f"{part.name}.json"), target.with_name(f"{target.name}.lock")


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    lock = FileLock(leftovers(target)[2])
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"{target.name} is being fetched by another process; wait until it has finished.") from None
    try:
        yield
    finally:
        lock.release()


class _PassingFault(Exception):
    """Worth another attempt."""


@dataclass
class _Transfer:
    url: str
    target: Path
    expected: Fingerprint
    accept: Callable[[Path], None] | None
    progress: Progress
    stage: str
    stall_seconds: float
    pause_seconds: float
    part: Path = field(init=False)
    note: Path = field(init=False)

    def __post_init__(self) -> None:
        self.part, self.note, _ = leftovers(self.target)

    def run(self) -> None:
        resumed = self._usable_start() > 0
        self._receive()
        wrong = self.expected.difference(self.part, self.progress)
        if wrong and resumed:
            # The beginning may have been of another version.
            self._discard()
            self._receive()
            wrong = self.expected.difference(self.part, self.progress)
        if wrong:
            self._discard()
            raise CheckpointError(
                f"What {self._host} sent is not the expected {self.target.name}: {wrong}; it was deleted, so try again "
                "later, or download it in a browser and give the file with --from."
            )
        if self.accept:
            try:
                self.accept(self.part)
            except CheckpointError:
                self._discard()
                raise
        os.replace(self.part, self.target)
        self.note.unlink(missing_ok=True)

    def _receive(self) -> None:
        """Receive until the file is whole; give up when attempt after attempt brings nothing."""
        furthest, failures = self._size(), 0
        while True:
            try:
                if self._attempt():
                    return
                problem = "the connection ended early"
            except _PassingFault as fault:
                problem = str(fault)
            failures = 0 if self._size() > furthest else failures + 1
            furthest = max(furthest, self._size())
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{self.target.name} did not arrive from {self._host} ({problem}); {self._size():,} bytes are kept "
                    "and the same command goes on from there."
                )
            time.sleep(min(30.0, self.pause_seconds * 2 ** (failures - 1)) if failures else 0.0)

    def _attempt(self) -> bool:
        """One request; whether the file is complete now."""
        start = self._usable_start()
        if start and start == self.expected.size:
            return True
        request = urllib.request.Request(self.url, headers=self._headers(start))
        try:
            with urllib.request.urlopen(request, timeout=self.stall_seconds) as response:
                start, total = self._agreed(response, start)
                return self._store(response, start, total)
        except urllib.error.HTTPError as error:
            return self._refused(error, start)
        except TimeoutError as error:
            raise _PassingFault(f"nothing came for {self.stall_seconds:g} s") from error
        except urllib.error.URLError as error:
            raise self._unreachable(error) from error
        except (http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
            raise _PassingFault("the connection broke") from error

    def _headers(self, start: int) -> dict[str, str]:
        headers = {"User-Agent": "adaptsam", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            version = self._noted().get("version")
            if version:
                headers["If-Range"] = version
        return headers

    def _agreed(self, response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
        """First byte that the server sends, and the length of the whole; None where it does not say."""
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        if response.status == 206:
            first, total = _content_range(response.headers.get("Content-Range", ""))
            if first != start:
                self._discard()
                raise _PassingFault("the server went on at the wrong place")
        else:
            start = 0
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(
                f"{self._host} sent a web page instead of {self.target.name}: a proxy or a login is in between; "
                "download it in a browser and give the file with --from."
            )
        if None not in (total, self.expected.size) and total != self.expected.size:
            raise CheckpointError(
                f"{self._host} has a file of {total:,} bytes, where {self.target.name} has {self.expected.size:,}; the "
                "file was changed there, or a proxy answers in its place: download it in a browser and give it with "
                "--from."
            )
        self._check_space((total or 0) - start)
        if start == 0:
            self._write_note(response)
        return start, total

    def _store(self, response: http.client.HTTPResponse, start: int, total: int | None) -> bool:
        size, whole = start, total or self.expected.size
        with self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            since, before = time.monotonic(), size
            while block := response.read1(_BLOCK):
                file.write(block)
                size += len(block)
                if whole is not None and size > whole:
                    raise self._too_much(whole)
                self.progress(self.stage, size, max(whole or 0, size))
                if time.monotonic() - since > self.stall_seconds:
                    if size - before < _LEAST_BYTES:
                        raise _PassingFault(f"next to nothing came for {self.stall_seconds:g} s")
                    since, before = time.monotonic(), size
            file.flush()
            os.fsync(file.fileno())
        return whole is None or size == whole

    def _too_much(self, whole: int) -> CheckpointError:
        self._discard()
        return CheckpointError(
            f"{self._host} sent more than the {whole:,} bytes of {self.target.name}; it was deleted, so download it in "
            "a browser and give the file with --from."
        )

    def _refused(self, error: urllib.error.HTTPError, start: int) -> bool:
        """Explain an answer other than the file."""
        if error.code == 416:  # nothing lies behind the place that was asked for
            _, total = _content_range(error.headers.get("Content-Range", ""))
            if total == start:
                return True
            self._discard()
            raise _PassingFault("the server has a shorter file") from error
        if error.code in _PASSING:
            raise _PassingFault(f"the server answered {error.code}") from error
        raise DownloadError(
            f"{self._host} refuses {self.target.name} (HTTP {error.code}); download it in a browser and give the file "
            "with --from."
        ) from error

    def _unreachable(self, error: urllib.error.URLError) -> Exception:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return DownloadError(
                f"{self._host} shows a certificate that this machine does not trust; if a proxy of your institution is "
                "in between, name its certificate in SSL_CERT_FILE."
            )
        if isinstance(reason, TimeoutError):
            return _PassingFault(f"no answer for {self.stall_seconds:g} s")
        if isinstance(reason, OSError) and not isinstance(reason, ConnectionResetError | BrokenPipeError):
            return DownloadError(
                f"{self._host} cannot be reached; is this machine off line? Download {self.url} on one that is not "
                "and give the file with --from."
            )
        return _PassingFault("the connection broke")

    def _usable_start(self) -> int:
        """Number of bytes here from which the download can go on."""
        size = self._size()
        noted = self._noted()
        too_long = self.expected.size is not None and size > self.expected.size
        certain = bool(noted.get("version")) or self.expected.is_exact
        if size and (noted.get("url") != self.url or too_long or not certain):
            self._discard()
            return 0
        return size

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _noted(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            if isinstance(noted, dict):
                return noted
        return {}

    def _write_note(self, response: http.client.HTTPResponse) -> None:
        tag = response.headers.get("ETag", "")
        # A weak tag says that two versions mean the same, not that their bytes are the same.
        version = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        self.note.write_text(json.dumps({"url": self.url, "version": version}), encoding="utf-8")

    def _check_space(self, wanted: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        if wanted > free:
            raise OutputError(
                f"{self.target.name} needs {wanted / 1e6:,.0f} MB more, and {self.target.parent} has "
                f"{free / 1e6:,.0f} MB free; make room, or name another folder in ADAPTSAM_WEIGHTS."
            )

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc


def _content_range(header: str) -> tuple[int | None, int | None]:
    """First byte and total of "bytes 5-9/10" or "bytes */10"; None for what it does not say."""
    span, _, total = header.removeprefix("bytes").strip().partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdigit() else None, int(total) if total.isdigit() else None
