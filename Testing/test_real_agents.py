"""The command that trains and tests agents on real images, on a handful of drawn ones: it runs, and is not fooled."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from tiny_sam import TINY, tiny_model

from adaptsam.alignsam import load_agent
from adaptsam.sam import load_sam, save_checkpoint


@pytest.fixture(scope="module")
def program() -> ModuleType:
    path = next(Path(__file__).parent.rglob("real_agents.py"))
    spec = importlib.util.spec_from_file_location("real_agents", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


def draw(folder: Path, count: int, first: int = 0) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(first, first + count):
        rows, columns = np.mgrid[:60, :80]
        mask = (rows - 30) ** 2 + (columns - 20 - 4 * (number % 10)) ** 2 < 150
        pixels = np.random.default_rng(number).integers(0, 60, (60, 80, 3)) + 120 * mask[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{number:03d}.png")
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(folder / "masks" / f"{number:03d}.png")


def test_one_command_trains_compares_and_writes_all_of_it(program: ModuleType, tmp_path: Path) -> None:
    draw(tmp_path / "endo-kvasir-seg", 10)
    draw(tmp_path / "endo-cvc-clinicdb" / "seq01", 3, first=20)
    draw(tmp_path / "endo-cvc-clinicdb" / "seq02", 3, first=30)
    save_checkpoint(tmp_path / "sam.safetensors", tiny_model(spread=2.0).sam, TINY)
    options = [f"--data={tmp_path}", f"--checkpoint={tmp_path / 'sam.safetensors'}", "--device=cpu"]
    program.main(["polyp", *options, "--small", f"--output={tmp_path / 'out'}"])
    [row] = json.loads((tmp_path / "out" / "polyp.json").read_text())["agents"]
    assert list(row["cases"]) == ["seq01", "seq02"]
    wanted = {"random actions", "first pair", "module's own map", "decoder fine-tuned", "box of the truth"}
    assert {"agent", *wanted} <= set(row["mean IoU of cases"])
    mine = row["mean IoU of cases"]["agent"]
    assert all(value >= mine for value in row["outdone by"].values())
    package = load_agent(tmp_path / "out" / "polyp-implicit-0.agent.safetensors", load_sam(options[1][13:], "cpu"))
    assert package.outdone_by == row["outdone by"]
    assert Image.open(tmp_path / "out" / "polyp-implicit-0.png").width > 100


def test_an_unknown_scale_becomes_hounsfield_units(program: ModuleType) -> None:
    truth = np.full((64, 64), -1000.0, np.float32)
    truth[8:56, 8:56] = 40.0
    truth[20:30, 20:40] = -800.0
    truth += np.random.default_rng(0).normal(0, 5, truth.shape).astype(np.float32)
    for scale in (9.0, 12.0):
        gray = np.clip((truth + 1024) / scale, 0, 255).round().astype(np.float32)
        assert np.abs(program.two_points(gray) - truth).mean() < 40


def test_test_cases_are_spread_evenly_over_patients(program: ModuleType) -> None:
    groups = [[f"a{n}" for n in range(40)], [f"b{n}" for n in range(3)], []]
    chosen = program.evenly(groups, 6)
    assert len(chosen) == 6
    assert {name[0] for name in chosen} == {"a", "b"}
    assert program.spread(range(3), 5) == [0, 1, 2]


def test_the_decathlons_slices_lie_as_other_scans_do(program: ModuleType, tmp_path: Path) -> None:
    stored = np.full((8, 8), 10, np.uint8)
    stored[:, 0] = 250  # the spine, as the files have it: at the left
    stored[0, 5] = 200
    for part, array in (("images", stored), ("masks", np.where(stored == 200, 255, 0).astype(np.uint8))):
        (tmp_path / part).mkdir()
        Image.fromarray(array).save(tmp_path / part / "0.png")
    pixels, mask = program.msd_slice(tmp_path / "images" / "0.png")
    assert (pixels[-1] > pixels[:-1].max(axis=0)).all()
    assert np.argwhere(mask).tolist() == [[2, 0]]
