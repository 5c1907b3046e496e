"""Lines, packed masks and files between a window and its worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptsam.errors import InputError, OutputError
from adaptsam.worker import wire_format as wire


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5), (1, 1, 1)])
def test_a_mask_comes_back_as_it_was(shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.6
    mask[0] = False
    packed = wire.from_line(wire.to_line(wire.pack_mask(mask)))
    assert np.array_equal(wire.unpack_mask(packed), mask)


def test_an_empty_mask_has_an_empty_box() -> None:
    packed = wire.pack_mask(np.zeros((4, 5, 6), bool))
    assert packed["box"] == [[0, 0], [0, 0], [0, 0]]
    assert not wire.unpack_mask(packed).any()


def test_only_the_box_is_unpacked_where_that_is_enough() -> None:
    mask = np.zeros((20, 30, 40), bool)
    mask[3:5, 6:9, 10:14] = True
    inner, where = wire.unpack_box(wire.pack_mask(mask))
    assert inner.shape == (2, 3, 4)
    assert inner.all()
    assert where == (slice(3, 5), slice(6, 9), slice(10, 14))


def test_an_organ_of_a_large_ct_takes_kilobytes() -> None:
    k, j, i = np.indices((60, 256, 256))
    mask = ((k - 30) / 25) ** 2 + ((j - 128) / 90) ** 2 + ((i - 128) / 60) ** 2 <= 1
    assert len(wire.to_line(wire.pack_mask(mask))) < 60_000


def test_damage_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="damaged"):
        wire.from_line("no json\n")
    with pytest.raises(InputError, match="damaged"):
        wire.unpack_mask({"shape": [2, 2], "box": [[0, 2], [0, 2]], "bits": "AAAA"})
    with pytest.raises(InputError, match="not there any more"):
        wire.take_array(tmp_path, "gone.npy")
    with pytest.raises(InputError, match="outside"):
        wire.take_array(tmp_path, "../other.npy")


def test_an_array_that_cannot_be_written_leaves_nothing_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="make room"):
        wire.write_array(tmp_path / "taken", np.zeros(4))


def test_a_folder_that_was_tidied_away_is_made_again(tmp_path: Path) -> None:
    name = wire.write_array(tmp_path / "gone", np.arange(4))
    assert np.array_equal(wire.take_array(tmp_path / "gone", name), np.arange(4))


def test_an_array_that_was_taken_lies_nowhere_any_more_and_can_still_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in ("linux", "win32"):
        monkeypatch.setattr(wire.sys, "platform", system)
        name = wire.write_array(tmp_path, np.arange(6).reshape(2, 3))
        array = wire.take_array(tmp_path, name)
        assert not list(tmp_path.iterdir())
        assert np.array_equal(array, np.arange(6).reshape(2, 3))
        assert isinstance(array.base, np.memmap) == (system != "win32"), "Windows removes no file that is mapped"
        with pytest.raises(InputError, match="not there any more"):
            wire.take_array(tmp_path, name)


def test_numbers_of_numpy_travel_as_numbers() -> None:
    line = wire.to_line({"a": np.float32(0.5), "b": np.int64(3), "c": float("nan")})
    message = wire.from_line(line)
    assert (message["a"], message["b"]) == (0.5, 3)
    assert np.isnan(message["c"])
