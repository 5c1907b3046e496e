"""What `adaptsam info` says of files that AdaptSAM wrote: models, what is kept, records of runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from adaptsam.alignsam import agent_header
from adaptsam.errors import InputError
from adaptsam.finetune import adapter_file
from adaptsam.io.written_files import describe_json, describe_model
from adaptsam.sam.checkpoint import BUNDLED, METADATA_KEY
from adaptsam.storage.bundled_models import bundled_folders
from adaptsam.storage.disk_cache import KeptFolder


@pytest.mark.parametrize(
    ("key", "kind", "use"),
    [
        (agent_header.KEY, "agent", "--agent"),
        (adapter_file._KEY, "adapter", "best.safetensors"),
        (METADATA_KEY, "SAM of AdaptSAM", "--checkpoint"),
        ("", "weights of a model", "no SAM"),
    ],
)
def test_a_model_is_told_by_what_its_header_says(tmp_path: Path, key: str, kind: str, use: str) -> None:
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "a.safetensors", {key: "{}"} if key else None)
    found = describe_model(tmp_path / "a.safetensors")
    assert found[0].startswith(kind)
    assert found[1]["tensors"] == 1
    assert use in found[2]


def test_the_bundled_model_and_what_is_kept_are_told(tmp_path: Path) -> None:
    [path] = [folder / BUNDLED["lite"] for folder in bundled_folders() if (folder / BUNDLED["lite"]).is_file()][:1]
    assert describe_model(path)[0] == "SAM of AdaptSAM"
    kept = KeptFolder(tmp_path)
    kept.write("e", {"features": np.zeros((2, 3), np.float32)})
    kept.write("r", {"matrix": np.eye(4), "field": np.zeros(3)})
    kinds = sorted(describe_model(path)[0] for path in tmp_path.glob("*.safetensors"))
    assert kinds == ["embedding that is kept", "registration that is kept"]


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\xff" * 40, (30).to_bytes(8, "little") + b'{"a"', b"\2" + b"\0" * 7 + b"[]"]
)
def test_a_damaged_model_gets_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="damaged or no safetensors file"):
        describe_model(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"targets": [{"target": 1, "structures": [{"name": "GTV", "status": "found"}]}]}, "summary of a run"),
        ({"frames": 3, "overlay": "overlay.mp4"}, "summary of a tracked video"),
        ({"protocol": "own", "evaluated": 3, "results": {}}, "summary of an evaluation"),
        ({"seed": 3, "settings": {}, "visits": []}, "truth of a phantom"),
        ({"settings": {}, "losses": [], "scores": []}, "curves of a training"),
        ({"imports": [], "bundle_root": "."}, "recipe of a training"),
        ([1, 2], "file .json"),
        ({"targets": 5}, "file .json"),
    ],
)
def test_a_record_is_told_by_its_keys(tmp_path: Path, told: object, kind: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(told))
    assert describe_json(tmp_path / "a.json")[0][0] == kind


def test_every_file_of_the_recipes_is_told() -> None:
    folder = Path(__file__).resolve().parents[2] / "training"
    kinds = {describe_json(path)[0][0] for path in folder.glob("*/configs/*.json")}
    assert kinds == {"recipe of a training", "description of a recipe"}
