"""``adaptsam track``: what it writes, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sam import TINY

from adaptsam import cli
from adaptsam.io import read_frames, read_mask_picture, write_pictures, write_video
from adaptsam.propagation.video_fusion import VARIANTS
from adaptsam.sam import Embedding, SamModel, build_sam, save_checkpoint

COUNT = 7


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, the same as pictures, a mask for each picture, and a tiny model."""
    folder = tmp_path_factory.mktemp("clip")
    rows, columns = np.mgrid[:48, :64]
    noise = np.random.default_rng(3).integers(40, 110, (48, 64, 3)).astype(np.uint8)
    masks = [(rows - 24) ** 2 + (columns - 20 - 4 * number) ** 2 <= 120 for number in range(COUNT)]
    frames = [np.where(mask[..., None], 220, noise).astype(np.uint8) for mask in masks]
    names = [str(number) for number in range(8, 8 + COUNT)]
    write_video(folder / "clip.mp4", frames, fps=10)
    write_pictures(folder / "Doe_John", frames, names)
    write_pictures(folder / "masks", [np.where(mask, 255, 0).astype(np.uint8) for mask in masks], names)
    Image.fromarray(np.where(masks[3], 255, 0).astype(np.uint8)).save(folder / "outline.png")
    torch.manual_seed(1)
    save_checkpoint(folder / "tiny.safetensors", build_sam(TINY), TINY)
    return folder


@pytest.fixture
def arguments(clip: Path, tmp_path: Path) -> list[str]:
    return [
        "track",
        f"--video={clip / 'clip.mp4'}",
        "--prior-frame=3",
        f"--prior-mask={clip / 'outline.png'}",
        f"--checkpoint={clip / 'tiny.safetensors'}",
        "--device=cpu",
        "--set=acceptance=off",
        f"--output={tmp_path / 'result'}",
    ]


def sentence_of(capsys: pytest.CaptureFixture) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_a_video_gives_masks_overlay_report_and_summary(arguments, clip, tmp_path, capsys) -> None:
    assert cli.main([*arguments, "--structure=polyp", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    result = tmp_path / "result"
    assert sorted(path.name for path in result.iterdir()) == ["masks", "overlay.mp4", "report.html", "summary.json"]
    masks = read_frames(result / "masks")
    assert masks.names == tuple(f"frame-{number:06d}" for number in range(COUNT))
    outline = read_mask_picture(clip / "outline.png")["structure"]
    assert np.array_equal(read_mask_picture(result / "masks" / "frame-000003.png")["structure"], outline)
    overlay = read_frames(result / "overlay.mp4")
    assert (len(overlay), overlay.fps, overlay.size) == (COUNT, 10.0, (48, 64))
    [structure] = summary["structures"]
    assert structure["name"] == "polyp"
    assert [frame["drawn"] for frame in structure["frames"]] == [number == 3 for number in range(COUNT)]
    assert structure["frames"][3]["area_pixels"] == outline.sum()
    for number, frame in enumerate(structure["frames"]):
        assert frame["area_pixels"] == (masks[number][..., 0] > 0).sum()
    found = [frame["centroid_xy"][0] for frame in structure["frames"] if frame["area_pixels"]]
    assert structure["amplitude_x_pixels"] == pytest.approx(max(found) - min(found))


#: The frames, and the variants of the outlined one that the model is weighed with.
ENCODED = COUNT + len(VARIANTS)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass of the encoder took."""
    passes: list[int] = []
    embed = SamModel.embed

    def counted(self: SamModel, images: Sequence[np.ndarray], *rest: Any, **named: Any) -> list[Embedding]:
        passes.append(len(images))
        return embed(self, images, *rest, **named)

    monkeypatch.setattr(SamModel, "embed", counted)
    return passes


def test_a_second_run_on_the_same_video_encodes_nothing(arguments, encoded, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "cache"))
    masks = []
    for number in range(2):
        assert cli.main([*arguments, f"--output={tmp_path / f'result-{number}'}", "--quiet"]) == 0
        masks.append([path.read_bytes() for path in sorted((tmp_path / f"result-{number}" / "masks").iterdir())])
        assert sum(encoded) == ENCODED
    assert len(list((tmp_path / "cache").iterdir())) == ENCODED
    assert masks[0] == masks[1]


@pytest.mark.parametrize(("words", "gigabytes"), [(["--no-cache"], "4"), ([], "0"), ([], "0.0001")])
def test_a_video_is_not_kept_where_nobody_wants_it_or_it_would_push_out_all_else(
    words, gigabytes, arguments, encoded, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("ADAPTSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ADAPTSAM_CACHE_GB", gigabytes)
    assert cli.main([*arguments, *words, "--quiet"]) == 0
    assert sum(encoded) == ENCODED
    assert not (tmp_path / "cache").exists()


def test_pictures_take_the_frame_that_is_called_like_the_mask_and_are_measured(arguments, clip, tmp_path, capsys):
    rest = arguments[4:]
    given = ["track", f"--video={clip / 'Doe_John'}", f"--prior-mask={clip / 'masks' / '10.png'}", *rest]
    assert cli.main([*given, f"--reference={clip / 'masks'}", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    [structure] = summary["structures"]
    assert structure["frames"][2]["drawn"]
    assert structure["frames"][2]["dice"] == 1.0
    others = [frame["dice"] for frame in structure["frames"] if not frame["drawn"]]
    assert structure["mean_dice"] == pytest.approx(np.mean(others))
    masks = sorted(path.name for path in (tmp_path / "result" / "masks").iterdir())
    assert masks == sorted(f"{number}.png" for number in range(8, 8 + COUNT))
    for name in ("report.html", "summary.json"):
        assert "Doe_John" not in (tmp_path / "result" / name).read_text()


def test_settings_reach_the_method(arguments, capsys) -> None:
    assert cli.main([*arguments, "--domain=natural", "--reanchor", "--parts=2", "--set=anchors.kept=1", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["p2sam"]["domain"], settings["p2sam"]["positives"]) == ("natural", [1, 2])
    assert (settings["reanchor"], settings["anchors"]["kept"]) == (True, 1)


@pytest.mark.parametrize(
    ("change_to", "complaint"),
    [
        (["--prior-frame=70"], "no frame 70: its frames are numbered 0 to 6"),
        (["--prior-frame=first"], "no frame 'first'"),
        (["--prior-mask=nowhere.png"], "nowhere.png does not exist"),
        (["--video=nowhere.mp4"], "nowhere.mp4 does not exist"),
        (["--domain=surgical"], "medical, natural"),
        (["--set=margin_mm=3"], "There is no setting 'margin_mm'"),
        (["--reference=nowhere"], "nowhere is not a folder"),
        (["--fps=0"], "0.01 to 1000 frames per second, not 0"),
        (["--fps=inf"], "frames per second, not inf"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_used_gives_one_sentence_and_leaves_nothing(arguments, change_to, complaint, tmp_path, capsys):
    assert cli.main([*arguments, *change_to]) == 2
    assert complaint in sentence_of(capsys)
    assert not (tmp_path / "result").exists()


def test_a_video_of_one_frame_is_refused(arguments, clip, tmp_path, capsys) -> None:
    write_video(tmp_path / "one.mp4", [read_frames(clip / "clip.mp4")[0]])
    assert cli.main([*arguments, f"--video={tmp_path / 'one.mp4'}", "--prior-frame=0"]) == 2
    assert "one frame; nothing can be followed" in sentence_of(capsys)


def test_a_mask_that_is_called_like_another_frame_is_refused(arguments, clip, capsys) -> None:
    given = [f"--video={clip / 'Doe_John'}", f"--prior-mask={clip / 'masks' / '10.png'}"]
    assert cli.main([*arguments, *given]) == 2
    assert "10.png is called like frame 2, and --prior-frame is frame 3 (11)" in sentence_of(capsys)


def test_a_number_that_is_also_a_name_must_be_told_apart(arguments, clip, tmp_path, capsys) -> None:
    frames = tmp_path / "frames"  # called 1 to 7, counted from 0 to 6
    write_pictures(frames, list(read_frames(clip / "clip.mp4")), [str(number) for number in range(1, COUNT + 1)])
    assert cli.main([*arguments, f"--video={frames}"]) == 2
    assert "called 3, or frame 3 counted from 0, called 4; give the file's name, as 3.png" in sentence_of(capsys)
    assert cli.main([*arguments, f"--video={frames}", "--prior-frame=4.png", "--json"]) == 0
    [structure] = json.loads(capsys.readouterr().out)["structures"]
    assert [frame["drawn"] for frame in structure["frames"]].index(True) == 3


def test_without_a_frame_and_without_a_name_the_frame_is_asked_for(arguments, capsys) -> None:
    arguments.remove("--prior-frame=3")
    assert cli.main(arguments) == 2
    assert "--prior-frame" in sentence_of(capsys)


def test_masks_that_are_there_are_not_overwritten(arguments, tmp_path, capsys) -> None:
    (tmp_path / "result" / "masks").mkdir(parents=True)
    (tmp_path / "result" / "masks" / "frame-000002.png").write_bytes(b"precious")
    assert cli.main(arguments) == 2
    assert "exists already" in sentence_of(capsys)
    assert (tmp_path / "result" / "masks" / "frame-000002.png").read_bytes() == b"precious"


def test_propagate_says_which_command_is_for_videos(arguments, clip, capsys) -> None:
    for path in (clip / "clip.mp4", clip / "Doe_John"):
        given = ["propagate", f"--prior-image={path}", "--prior-mask=x.dcm", "--target=y", *arguments[7:]]
        assert cli.main(given) == 2
        assert "adaptsam track" in sentence_of(capsys)
