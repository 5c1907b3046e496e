"""The actions: the centres of the patches of an image (Eq. 3), wherever they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptsam.alignsam.alignsam_settings import EnvironmentSettings


@dataclass(frozen=True)
class Actions:
    """``rows`` × ``columns`` patches of an image of any size; action number ``row * columns + column``."""

    rows: int
    columns: int

    @classmethod
    def of(cls, settings: EnvironmentSettings) -> Actions:
        """The patches of a canvas."""
        return cls(settings.side, settings.side)

    def __len__(self) -> int:
        return self.rows * self.columns

    def points(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """The centres (N, 2), x then y, in pixels of an image of ``size`` (H, W); pixel centres are whole numbers."""
        height, width = size
        y = (np.arange(self.rows) + 0.5) / self.rows * height - 0.5
        x = (np.arange(self.columns) + 0.5) / self.columns * width - 0.5
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)

    def cells(self, size: tuple[int, int]) -> NDArray[np.int64]:
        """Pixels, or grid cells, of ``size`` (H, W) that hold each centre: (N,), counted row by row."""
        rows, columns = middles(self.rows, size[0]), middles(self.columns, size[1])
        return (rows[:, None] * size[1] + columns[None, :]).reshape(-1)

    def look_up(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The value of a mask (H, W) at each centre, (N,)."""
        return mask.reshape(-1)[self.cells((mask.shape[0], mask.shape[1]))]


def middles(parts: int, length: int) -> NDArray[np.int64]:
    """Middle pixels (parts,) of equal parts of ``length`` pixels."""
    return ((2 * np.arange(parts) + 1) * length) // (2 * parts)
