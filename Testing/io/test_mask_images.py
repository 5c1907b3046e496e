"""Masks as pictures: black and white, label values, palettes, soft edges."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from adaptsam.errors import InputError
from adaptsam.io.mask_images import mask_picture, read_mask_picture, read_masks_like
from adaptsam.io.video.frames import read_picture


def disc(x: int, y: int, radius: int = 10) -> np.ndarray:
    rows, columns = np.mgrid[:64, :80]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
@pytest.mark.parametrize("inside", [1, 255])
def test_a_mask_of_one_value_is_one_structure(tmp_path: Path, mode: str, inside: int) -> None:
    picture = Image.fromarray(np.where(disc(30, 30), inside, 0).astype(np.uint8))
    (picture.point(lambda v: 255 * (v > 0)) if mode == "1" else picture).convert(mode).save(tmp_path / "mask.png")
    masks = read_mask_picture(tmp_path / "mask.png")
    assert list(masks) == ["structure"]
    assert np.array_equal(masks["structure"], disc(30, 30))


@pytest.mark.parametrize("turned", [3, 6])
def test_a_mask_is_turned_as_its_frame_is(tmp_path: Path, turned: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    drawn = np.where(disc(20, 40), 255, 0).astype(np.uint8)
    Image.fromarray(drawn).save(tmp_path / "mask.png", exif=exif)
    Image.fromarray(drawn).convert("RGB").save(tmp_path / "frame.png", exif=exif)
    mask = read_mask_picture(tmp_path / "mask.png")["structure"]
    assert np.array_equal(mask, read_picture(tmp_path / "frame.png")[..., 0] > 127)
    assert not np.array_equal(mask, disc(20, 40))


def test_label_values_and_palette_indices_are_structures(tmp_path: Path) -> None:
    labels = (3 * disc(20, 30) + 7 * disc(60, 30)).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "gray.png")
    palette = Image.fromarray(labels)
    palette.putpalette([value for n in range(256) for value in (n * 37 % 256, n * 91 % 256, n * 53 % 256)])
    palette.save(tmp_path / "palette.png")
    for name in ("gray.png", "palette.png"):
        masks = read_mask_picture(tmp_path / name)
        assert list(masks) == ["label-3", "label-7"]
        assert np.array_equal(masks["label-7"], disc(60, 30))
        assert np.array_equal(mask_picture(masks), labels)


def test_labels_of_sixteen_bits_are_kept_and_written(tmp_path: Path) -> None:
    labels = (300 * disc(20, 20) + 40_000 * disc(60, 30)).astype(np.uint16)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    masks = read_mask_picture(tmp_path / "labels.png")
    assert list(masks) == ["label-300", "label-40000"]
    Image.fromarray(mask_picture(masks)).save(tmp_path / "again.png")
    assert np.array_equal(np.array(Image.open(tmp_path / "again.png")), labels)
    Image.fromarray(np.where(disc(20, 20), 65_535, 0).astype(np.uint16)).save(tmp_path / "white.png")
    assert np.array_equal(read_mask_picture(tmp_path / "white.png")["structure"], disc(20, 20))


def test_a_gray_picture_of_sixteen_bits_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray((3 * np.arange(64 * 80)).astype(np.uint16).reshape(64, 80)).save(tmp_path / "ct.png")
    with pytest.raises(InputError, match=r"ct\.png has 5119 gray values, so it is a picture and no mask"):
        read_mask_picture(tmp_path / "ct.png")


def test_soft_edges_are_cut_in_the_middle(tmp_path: Path) -> None:
    hard = Image.fromarray(np.where(disc(40, 30, 18), 255, 0).astype(np.uint8))
    hard.filter(ImageFilter.GaussianBlur(0.8)).save(tmp_path / "soft.png")
    hard.save(tmp_path / "mask.jpg", quality=60)
    for name in ("soft.png", "mask.jpg"):
        mask = read_mask_picture(tmp_path / name)["structure"]
        assert (mask ^ disc(40, 30, 18)).sum() < 0.02 * mask.sum()


def test_a_picture_a_coloured_mask_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(80, dtype=np.uint8) * 3, (64, 1))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    with pytest.raises(InputError, match=r"ramp\.png has 79 gray values, so it is a picture and no mask"):
        read_mask_picture(tmp_path / "ramp.png")
    Image.fromarray(np.stack([ramp, ramp // 2, ramp // 3], -1)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match=r"colour\.png is in colour"):
        read_mask_picture(tmp_path / "colour.png")
    Image.fromarray(np.zeros((64, 80), np.uint8)).save(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"empty\.png marks nothing"):
        read_mask_picture(tmp_path / "empty.png")


def test_of_overlapping_structures_the_smaller_one_is_seen() -> None:
    small, large = disc(40, 30, 5), disc(40, 30, 20)
    for masks in ({"tool": small, "polyp": large}, {"polyp": large, "tool": small}):
        picture = mask_picture(masks)
        assert len(np.unique(picture[small])) == 1
        assert picture[30, 40] == list(masks).index("tool") + 1
    assert set(np.unique(mask_picture({"polyp": large}))) == {0, 255}


def test_masks_of_other_frames_keep_their_labels_and_may_be_empty(tmp_path: Path) -> None:
    Image.fromarray((7 * disc(60, 30)).astype(np.uint8)).save(tmp_path / "labels.png")
    masks = read_masks_like(tmp_path / "labels.png", ["label-3", "label-7"])
    assert not masks["label-3"].any()
    assert np.array_equal(masks["label-7"], disc(60, 30))
    Image.fromarray(np.zeros((64, 80), np.uint8)).save(tmp_path / "empty.png")
    assert not read_masks_like(tmp_path / "empty.png", ["polyp"])["polyp"].any()


@pytest.mark.parametrize("colours", [[255, 255, 255, 0, 0, 0], [200, 0, 0, 0, 0, 0]])
@pytest.mark.parametrize("name", ["mask.png", "mask.bmp"])
def test_a_palette_that_shows_0_bright_and_another_index_black_is_refused(
    tmp_path: Path, colours: list[int], name: str
) -> None:
    picture = Image.fromarray((~disc(30, 30)).astype(np.uint8), "P")
    picture.putpalette(colours)
    picture.save(tmp_path / name)
    with pytest.raises(InputError, match="palette index 1 as black and index 0 not"):
        read_mask_picture(tmp_path / name)


def test_sixteen_bits_a_channel_are_refused(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(4))  # a row of 8 pixels of 3 channels of 2 bytes
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(InputError, match="more than 8 bits"):
        read_picture(tmp_path / "a.png")
