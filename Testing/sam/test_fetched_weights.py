"""The catalogue, the folder of weights, and the command around them."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from adaptsam.cli import build_parser, main
from adaptsam.commands.console import load_model
from adaptsam.errors import CheckpointError
from adaptsam.sam import (
    checkpoint_recognition as layouts,
)
from adaptsam.sam import (
    fetched_weights as weights,
)
from adaptsam.sam import (
    load_sam,
)
from adaptsam.sam import (
    weights_catalogue as catalogue,
)
from adaptsam.sam.weights_catalogue import FOLDER_VARIABLE
from adaptsam.storage.download import partial_path
from adaptsam.storage.file_hashes import digests

ENTRY = """
[{name}]
file = "{name}.pth"
kind = "{kind}"
purpose = "a test"
licence = "none"
page = "https://example.org/page"
{more}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def published(tmp_path, random_sam, config, monkeypatch):
    """A tiny SAM, where its authors put it."""
    monkeypatch.setitem(layouts.KINDS, "vit_b", config)
    path = tmp_path / "www" / "tiny.pth"
    path.parent.mkdir()
    torch.save(random_sam(config).state_dict(), path)
    return path


@pytest.fixture
def site(published):
    handler = partial(SimpleHTTPRequestHandler, directory=published.parent)
    handler.log_message = lambda *args: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tiny.pth"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def known(folder, published, site, tmp_path, monkeypatch):
    """A catalogue of three: whole, of an unpublished hash and address, and off line."""
    exact = f'bytes = {published.stat().st_size}\nsha256 = "{digests(published, ["sha256"])["sha256"]}"'
    entries = {
        "tiny": f'url = "{site}"\n{exact}',
        "private": 'original = "theirs/checkpoint.pth"',
        "away": f'url = "http://127.0.0.1:9/away.pth"\n{exact}',
    }
    data = tmp_path / "weights.toml"
    data.write_text("".join(ENTRY.format(name=n, kind="vit_b", more=more) for n, more in entries.items()))
    monkeypatch.setattr(catalogue, "_DATA", str(data))
    catalogue.catalogue.cache_clear()
    yield catalogue.catalogue()
    catalogue.catalogue.cache_clear()


def _said(capsys, *words: str) -> dict:
    assert main(["weights", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_entry_says_what_a_user_needs_to_know():
    entries = catalogue.catalogue()
    assert {"vit_b", "vit_l", "vit_h", "vit_t", "medsam", "p2sam_nsclc_full_large"} <= set(entries)
    assert len({entry.file for entry in entries.values()}) == len(entries)
    for entry in entries.values():
        assert entry.kind in layouts.KINDS
        assert entry.purpose
        assert entry.licence
        assert entry.page.startswith("https://")
        if entry.url:
            assert entry.url.startswith("https://")
            assert entry.fingerprint.is_exact
            assert entry.fingerprint.size > 1e7
        for digits, length in ((entry.fingerprint.sha256, 64), (entry.fingerprint.md5, 32)):
            assert digits is None or (len(digits) <= length and int(digits, 16) >= 0)


def test_metas_names_hold_the_first_digits_of_the_md5():
    for name in ("vit_b", "vit_l", "vit_h"):
        entry = catalogue.entry(name)
        assert entry.file == f"sam_{name}_{entry.fingerprint.md5}.pth"


def test_files_lie_in_the_platforms_cache_unless_a_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert catalogue.weights_folder().parts[-2:] != ()
    assert "adaptsam" in catalogue.weights_folder().parts
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert catalogue.weights_folder() == tmp_path


def test_weights_are_fetched_listed_used_by_name_verified_and_removed(known, folder, capsys):
    [row] = _said(capsys, "fetch", "tiny")["fetched"]
    assert row == {"name": "tiny", "file": str(folder / "tiny.pth"), "checked by": "hash"}
    here = {entry["name"]: entry["here"] for entry in _said(capsys, "list")["weights"]}
    assert here == {"tiny": "yes", "private": "no, by hand", "away": "no"}
    args = build_parser().parse_args(["demo", "--output", "x", "--checkpoint", "tiny", "--device", "cpu"])
    assert load_model(args).kind == "vit_b"
    assert _said(capsys, "verify")["verified"] == [
        {"name": "tiny", "good": True, "checked by": "hash", "difference": None}
    ]
    assert _said(capsys, "clear", "tiny")["freed"]["tiny"] > 100_000
    assert [path.name for path in folder.iterdir()] == []


def test_what_is_here_is_not_fetched_again_and_what_is_damaged_is(known, folder, published):
    path = weights.fetch("tiny")
    published.rename(published.with_name("gone"))
    assert weights.fetch("tiny") == path
    published.with_name("gone").rename(published)
    path.write_bytes(b"damaged")
    assert weights.fetch("tiny").read_bytes() == published.read_bytes()


def test_damage_is_found_by_verify_and_by_use(known, folder, capsys):
    path = weights.fetch("tiny")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert main(["weights", "verify"]) == 2
    said = capsys.readouterr()
    assert "DAMAGED" in said.out
    assert "its SHA256 is" in said.out
    assert "Damaged: tiny; run 'adaptsam weights fetch NAME'" in said.err
    with pytest.raises(CheckpointError, match=r"file of tiny .* damaged.*fetch tiny"):
        load_sam("tiny", "cpu")


def test_weights_that_are_not_here_are_asked_for_by_name(known):
    with pytest.raises(CheckpointError, match=r"tiny are not on this machine yet: run 'adaptsam weights fetch tiny'"):
        load_sam("tiny", "cpu")
    with pytest.raises(CheckpointError, match=r"theirs/checkpoint\.pth from https://example.* --from FILE"):
        load_sam("private", "cpu")


def test_a_file_of_that_name_goes_first(known, published, monkeypatch):
    monkeypatch.chdir(published.parent)
    published.rename("tiny")
    assert load_sam("tiny", "cpu").kind == "vit_b"


def test_a_local_file_is_taken_once_it_is_the_right_one(known, folder, published, tmp_path, capsys):
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(published.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match=r"wrong\.pth is not tiny\.pth: its SHA256 is .* from https://example"):
        weights.fetch("tiny", str(wrong))
    with pytest.raises(CheckpointError, match="There is no file"):
        weights.fetch("tiny", str(tmp_path / "nothing"))
    assert not folder.exists()
    assert main(["weights", "fetch", "away", "--from", str(published)]) == 0
    assert (folder / "away.pth").read_bytes() == published.read_bytes()
    assert weights.fetch("away", str(folder / "away.pth")).is_file()


def test_a_file_without_a_published_hash_must_be_a_model_of_its_kind_and_stay_the_same(
    known, folder, published, tmp_path, capsys
):
    with pytest.raises(CheckpointError, match=r"no address.*in a browser"):
        weights.fetch("private")
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(CheckpointError, match="not a SAM checkpoint"):
        weights.fetch("private", str(other))
    path = weights.fetch("private", str(published))
    [row] = _said(capsys, "verify")["verified"]
    assert (row["good"], row["checked by"]) == (True, "hash from its arrival; none is published")
    path.write_bytes(path.read_bytes() + b"!")
    assert main(["weights", "verify", "private"]) == 2


def test_a_file_without_a_published_hash_that_comes_over_http_is_looked_into_too(known, folder, site, published):
    assert weights.fetch("private", site).read_bytes() == published.read_bytes()
    torch.save({"weight": torch.zeros(2)}, published)
    with pytest.raises(CheckpointError, match="not a SAM checkpoint"):
        weights.fetch("private", site)
    assert load_sam("private", "cpu").kind == "vit_b"


def test_the_command_says_off_line_in_one_sentence(known, capsys):
    assert main(["weights", "fetch", "away"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:9 cannot be reached; is this machine off line?" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch", "vit_x"], "No weights are called 'vit_x'; known are tiny, private, away."),
        (["verify", "vit_x"], "No weights are called 'vit_x'"),
        (["fetch", "tiny", "away", "--from", "x"], "--from gives one file"),
        (["verify", "tiny"], "not on this machine yet"),
        (["clear"], "by name, or --all"),
        (["clear", "tiny", "--all"], "by name, or --all"),
    ],
)
def test_a_command_that_cannot_be_followed_says_why(known, capsys, words, said):
    assert main(["weights", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_interrupted_fetch_is_listed_and_says_that_it_can_be_gone_on_with(known, folder, monkeypatch, capsys):
    def interrupted(*args, **options):
        folder.mkdir()
        partial_path(folder / "tiny.pth").write_bytes(bytes(2_000_000))
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "download", interrupted)
    assert main(["weights", "fetch", "tiny"]) == 130
    assert "what has arrived is kept" in capsys.readouterr().err
    assert main(["weights", "list"]) == 0
    assert "2 MB of it" in capsys.readouterr().out
    assert main(["weights", "clear", "--all"]) == 0
    assert "tiny: 2 MB freed" in capsys.readouterr().out
    assert not partial_path(folder / "tiny.pth").exists()
