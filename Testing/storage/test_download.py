"""Downloads from a real server on this machine that breaks off, lies, stalls and changes its mind."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections import namedtuple
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from filelock import FileLock

from adaptsam.errors import Cancelled, CheckpointError, DownloadError, OutputError
from adaptsam.storage import download as module
from adaptsam.storage.download import download, leftovers, partial_path
from adaptsam.storage.file_hashes import Fingerprint

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HASH = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Fingerprint(len(CONTENT), HASH, hashlib.md5(CONTENT).hexdigest()[:6])
HALF = len(CONTENT) // 2


@dataclass
class Server:
    """What the server does; ``faults`` holds one for each request to come, after which it behaves."""

    content: bytes = CONTENT
    tag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    faults: list[str] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    server: _Http

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        plan = self.server.plan
        plan.seen.append(dict(self.headers))
        fault, _, value = (plan.faults.pop(0) if plan.faults else "").partition(":")
        if fault == "status":
            self.send_error(int(value))
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", f"{plan.url}/elsewhere")
            self.end_headers()
        elif fault == "html":
            self._answer(b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"})
        elif fault == "close":
            self.close_connection = True
        else:
            self._serve(fault, value)

    def _serve(self, fault: str, value: str) -> None:
        plan = self.server.plan
        start = self._start()
        body = plan.content[start:]
        headers = {"Content-Length": str(len(body) + (int(value) if fault == "lie" else 0))}
        if fault == "endless":
            headers.pop("Content-Length")
            body += b"more"
        if start:
            shown = start + 1 if fault == "misplace" else start
            headers["Content-Range"] = f"bytes {shown}-{len(plan.content) - 1}/{len(plan.content)}"
        if start and start >= len(plan.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(plan.content)}")
            self.end_headers()
            return
        self._answer(body, headers, 206 if start else 200, fault, int(value or 0))

    def _start(self) -> int:
        plan = self.server.plan
        asked = self.headers.get("Range")
        if (
            not asked
            or not plan.ranges
            or self.headers.get("If-Range", plan.tag or plan.modified)
            not in (
                plan.tag,
                plan.modified,
            )
        ):
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def _answer(self, body: bytes, headers: dict[str, str], status: int = 200, fault: str = "", value: int = 0) -> None:
        plan = self.server.plan
        self.send_response(status)
        if plan.tag:
            self.send_header("ETag", plan.tag)
        if plan.modified:
            self.send_header("Last-Modified", plan.modified)
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if fault in ("break", "stall", "drip"):
            self.wfile.write(body[:value])
            self.wfile.flush()
            for place in range(value, value + 200):
                if fault == "break" or self.server.leaving.wait(0.02):
                    break
                if fault == "drip":
                    self.wfile.write(body[place : place + 1])
            else:
                self.wfile.write(body[place + 1 :])  # whoever waits long enough gets it all
        else:
            self.wfile.write(body)
        self.close_connection = True


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, plan: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan = plan
        self.leaving = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the client hung up: that is what some tests are about


@pytest.fixture
def server():
    plan = Server()
    http = _Http(plan)
    plan.url = f"http://127.0.0.1:{http.server_port}/model.pth"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield plan
    http.leaving.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "model.pth"


def _get(server, target, expected=KNOWN, **options):
    download(server.url, target, expected, **{"stall_seconds": 0.3, "pause_seconds": 0.001, **options})


def _interrupted(server, target, at=HALF, expected=KNOWN):
    """A download that the user stopped after ``at`` bytes."""

    def stop(stage, done, total):
        if done >= at:
            raise Cancelled

    server.faults = [f"stall:{at}"]
    with pytest.raises(Cancelled):
        _get(server, target, expected, progress=stop)
    server.seen.clear()
    assert partial_path(target).stat().st_size >= 1


def _alone(target) -> bool:
    return {path.name for path in target.parent.iterdir()} <= {target.name, f"{target.name}.lock"}


def test_a_file_arrives_whole_and_alone(server, target):
    told = []
    _get(server, target, progress=lambda stage, done, total: told.append((stage, done, total)), stage="fetch")
    assert target.read_bytes() == CONTENT
    assert _alone(target)
    assert ("fetch", len(CONTENT), len(CONTENT)) in told
    assert told[-1] == ("check", len(CONTENT), len(CONTENT))


def test_a_download_that_was_stopped_goes_on_where_it_was(server, target):
    _interrupted(server, target)
    arrived = partial_path(target).stat().st_size
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert [(seen["Range"], seen["If-Range"]) for seen in server.seen] == [(f"bytes={arrived}-", '"one"')]


def test_a_connection_that_breaks_again_and_again_is_taken_up_each_time(server, target):
    server.faults = [f"break:{HALF // 4}"] * 7
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.seen) == 8
    assert _alone(target)


@pytest.mark.parametrize("fault", ["stall:0", "stall:1000", "drip:1000"])
def test_a_server_that_stalls_is_left_and_asked_again(server, target, fault):
    server.faults = [fault]
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.seen) == 2


def test_a_server_that_always_stalls_is_given_up_and_what_came_is_kept(server, target):
    server.faults = ["stall:5000"] + ["stall:0"] * 9
    with pytest.raises(DownloadError, match=r"did not arrive from 127.*5,000 bytes are kept.*goes on from there"):
        _get(server, target, stall_seconds=0.1)
    assert not target.exists()
    assert partial_path(target).read_bytes() == CONTENT[:5000]
    assert len(server.seen) == 1 + module.ATTEMPTS
    server.faults = []
    _get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_everything_again(server, target):
    _interrupted(server, target)
    server.ranges = False
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert len(server.seen) == 1


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_given_up(server, target):
    server.ranges, server.faults = False, [f"break:{HALF}"] * 20
    with pytest.raises(DownloadError, match="ended early"):
        _get(server, target)
    assert len(server.seen) == 1 + module.ATTEMPTS


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(server, target):
    server.content = b"old" * (len(CONTENT) // 3) + b"."
    _interrupted(server, target)
    server.content, server.tag = CONTENT, '"two"'
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert server.seen[0]["If-Range"] == '"one"'


@pytest.mark.parametrize("tag", [None, 'W/"one"'], ids=["without a tag", "with a weak tag"])
def test_a_beginning_of_another_version_is_found_out_by_the_hash(server, target, tag):
    server.tag, server.content = tag, b"old" * (len(CONTENT) // 3) + b"."
    _interrupted(server, target)
    server.content = CONTENT
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert ["Range" in seen for seen in server.seen] == [True, False]
    assert "If-Range" not in server.seen[0]


def test_a_weak_tag_is_replaced_by_the_date(server, target):
    server.tag, server.modified = 'W/"one"', "Mon, 01 Jan 2024 00:00:00 GMT"
    _interrupted(server, target)
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert server.seen[0]["If-Range"] == server.modified


def test_without_a_version_and_a_hash_nothing_is_gone_on_with(server, target):
    server.tag = None
    _interrupted(server, target, expected=Fingerprint())
    _get(server, target, Fingerprint())
    assert target.read_bytes() == CONTENT
    assert "Range" not in server.seen[0]


def test_the_beginning_from_another_address_is_not_gone_on_with(server, target):
    _interrupted(server, target)
    server.url += "?other"
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert "Range" not in server.seen[0]


def test_a_server_that_goes_on_at_the_wrong_place_is_asked_for_everything(server, target):
    _interrupted(server, target)
    server.faults = ["misplace"]
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert ["Range" in seen for seen in server.seen] == [True, False]


def test_other_content_of_the_same_size_is_refused_and_leaves_the_old_file(server, target):
    target.parent.mkdir()
    target.write_bytes(b"precious")
    server.content = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=rf"not the expected model\.pth: its SHA256 is .* instead of {HASH}"):
        _get(server, target)
    assert target.read_bytes() == b"precious"
    assert _alone(target)


def test_another_size_is_refused_before_it_is_fetched(server, target):
    server.content = CONTENT + b"!"
    with pytest.raises(CheckpointError, match=r"has a file of 1,048,577 bytes, where model\.pth has 1,048,576"):
        _get(server, target)
    assert not partial_path(target).exists()


def test_a_length_that_is_never_reached_ends_with_the_bytes_that_count(server, target):
    server.faults = ["lie:500"]
    _get(server, target, Fingerprint(sha256=HASH))
    assert target.read_bytes() == CONTENT


def test_more_than_there_should_be_is_refused(server, target):
    server.faults = ["endless"]
    with pytest.raises(CheckpointError, match="sent more than the 1,048,576 bytes"):
        _get(server, target)
    assert _alone(target)


def test_a_beginning_that_is_longer_than_the_file_is_thrown_away(server, target):
    _interrupted(server, target)
    with partial_path(target).open("ab") as file:
        file.write(CONTENT)
    _get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_file_that_is_complete_but_was_never_checked_is_not_fetched_again(server, target):
    _interrupted(server, target)
    partial_path(target).write_bytes(CONTENT)
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert not server.seen
    _interrupted(server, target, expected=Fingerprint(sha256=HASH))
    partial_path(target).write_bytes(CONTENT)
    _get(server, target, Fingerprint(sha256=HASH))  # the size is the server's to tell: 416
    assert target.read_bytes() == CONTENT


def test_a_web_page_instead_of_the_file_is_called_so(server, target):
    server.faults = ["html"]
    with pytest.raises(DownloadError, match=r"web page instead of model\.pth: a proxy or a login.*--from"):
        _get(server, target)
    assert not partial_path(target).exists()


def test_a_redirect_is_followed_with_the_range(server, target):
    _interrupted(server, target)
    server.faults = ["redirect"]
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert all("Range" in seen for seen in server.seen)
    assert len(server.seen) == 2


def test_a_server_in_trouble_is_asked_again_and_a_refusal_is_final(server, target):
    server.faults = ["status:503", "status:429", "close"]
    _get(server, target)
    assert target.read_bytes() == CONTENT
    server.faults = ["status:404"] * 2
    server.seen.clear()
    with pytest.raises(DownloadError, match=r"refuses model2\.pth \(HTTP 404\).*browser"):
        _get(server, target.with_name("model2.pth"))
    assert len(server.seen) == 1


def test_a_machine_that_is_off_line_is_told_what_to_do(target):
    with pytest.raises(DownloadError, match=r"cannot be reached.*off line\? Download http.*--from") as caught:
        download("http://127.0.0.1:9/model.pth", target, KNOWN)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_noticed_before_anything_is_written(server, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1000))
    with pytest.raises(OutputError, match=r"needs 1 MB more, and .* has 0 MB free; make room"):
        _get(server, target)


def test_a_folder_that_cannot_be_made_is_reported(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        _get(server, tmp_path / "file" / "model.pth")


def test_two_downloads_of_one_file_do_not_mix(server, target):
    target.parent.mkdir()
    with FileLock(leftovers(target)[2]), pytest.raises(OutputError, match="another process"):
        _get(server, target)
    _get(server, target)
    assert target.read_bytes() == CONTENT


def test_a_note_that_is_damaged_only_costs_the_beginning(server, target):
    _interrupted(server, target)
    part, note, _ = leftovers(target)
    note.write_text("{")
    _get(server, target)
    assert target.read_bytes() == CONTENT
    _interrupted(server, target)
    assert json.loads(note.read_text())["version"] == '"one"'
    note.write_text("[]")
    _get(server, target)
    assert target.read_bytes() == CONTENT
    assert not part.exists()


def test_the_pause_between_attempts_grows(server, target, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.faults = ["status:503"] * 3
    _get(server, target, pause_seconds=1.0)
    assert pauses == [1.0, 2.0, 4.0]
