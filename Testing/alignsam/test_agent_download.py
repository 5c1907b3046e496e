"""Agents from files, addresses and catalogues, checked before they are kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from blob_agent import make_agent
from tiny_sam import tiny_model

from adaptsam.alignsam import save_agent
from adaptsam.alignsam.agent_download import CATALOGUE_VARIABLE, Offer, offered
from adaptsam.alignsam.agent_folders import FOLDER_VARIABLE
from adaptsam.cli import main
from adaptsam.errors import InputError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str, str]]:
    """A folder with an agent, the address under which it is served, and the agent's hash."""
    folder = tmp_path / "site"
    path = folder / "blob.agent.safetensors"
    save_agent(path, make_agent(tiny_model()))
    (folder / "noise.agent.safetensors").write_bytes(b"no agent")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    monkeypatch.delenv(CATALOGUE_VARIABLE, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", hashlib.sha256(path.read_bytes()).hexdigest()
    server.shutdown()
    server.server_close()
    thread.join()


def here(tmp_path: Path) -> list[str]:
    folder = tmp_path / "own"
    return sorted(one.name for one in folder.glob("*.safetensors")) if folder.exists() else []


def test_an_agent_comes_from_an_address_and_has_a_name_then(site, tmp_path, capsys) -> None:
    _, address, sha256 = site
    words = ["agents", "fetch", f"{address}/blob.agent.safetensors", "--sha256", sha256, "--quiet", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["fetched"]["checked by"] == "hash"
    assert main(["agents", "list", "--json"]) == 0
    assert "blob" in [one["name"] for one in json.loads(capsys.readouterr().out)["agents"]]
    assert main(words) == 0  # it is here already


def test_an_agent_comes_from_a_catalogue_that_is_served_or_lies_beside_it(site, tmp_path, monkeypatch, capsys) -> None:
    folder, address, sha256 = site
    (folder / "agents.toml").write_text(f'[blob]\nurl = "blob.agent.safetensors"\nsha256 = "{sha256}"\n')
    assert main(["agents", "fetch", "blob", "--catalogue", f"{address}/agents.toml", "--quiet"]) == 0
    assert here(tmp_path) == ["blob.agent.safetensors"]
    (tmp_path / "own" / "blob.agent.safetensors").unlink()
    monkeypatch.setenv(CATALOGUE_VARIABLE, str(folder / "agents.toml"))
    assert main(["agents", "fetch", "blob", "--quiet"]) == 0
    assert here(tmp_path) == ["blob.agent.safetensors"]
    assert main(["agents", "fetch", "liver", "--quiet"]) == 2
    assert "no agent 'liver', only: blob" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{address}/blob.agent.safetensors", "--sha256", "0" * 64], "SHA256"),
        (["{folder}/blob.agent.safetensors", "--sha256", "0" * 64], "is not the agent that was expected"),
        (["{folder}/blob.agent.safetensors", "--sha256", "12"], "64 hexadecimal digits"),
        (["{address}/noise.agent.safetensors"], "damaged or not an agent"),
        (["{folder}/noise.agent.safetensors"], "damaged or not an agent"),
        (["{address}/gone.agent.safetensors"], "HTTP 404"),
        (["blob"], "No catalogue of agents is known"),
        (["blob", "--catalogue", "{folder}/none.toml"], "no catalogue at"),
        (["blob", "--catalogue", "{folder}/noise.agent.safetensors"], "not a catalogue"),
    ],
)
def test_what_is_not_the_agent_is_not_kept(site, tmp_path, capsys, words, sentence) -> None:
    folder, address, _ = site
    said = [word.format(folder=folder, address=address) for word in words]
    assert main(["agents", "fetch", *said, "--quiet"]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert here(tmp_path) == []


def test_another_agent_of_that_name_is_replaced_only_when_asked(site, tmp_path) -> None:
    folder, _, sha256 = site
    own = tmp_path / "own" / "blob.agent.safetensors"
    own.parent.mkdir()
    own.write_text("mine")
    words = ["agents", "fetch", str(folder / "blob.agent.safetensors"), "--quiet"]
    assert main(words) == 2
    assert own.read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert hashlib.sha256(own.read_bytes()).hexdigest() == sha256


def test_a_name_never_leads_out_of_the_folder() -> None:
    assert offered("https://example.org/a/%2e%2e%2fheart.agent.safetensors").name == "heart"
    with pytest.raises(InputError, match="cannot be the name"):
        Offer("../heart", "heart")
