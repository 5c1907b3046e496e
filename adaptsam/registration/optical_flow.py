"""Dense optical flow: the place of a frame's pixels in another frame, and how far it can be believed.

DIS (Kroeger et al., ECCV 2016; OpenCV's) searches a few pixels around each place. Frames that lie farther apart, and
things that move against their background, are first brought near by a shift, turn and scale: none, that of the whole
picture, and that of one structure, each from matched SIFT keypoints by RANSAC. Every start gives a flow of its own;
which one is right where, the frames tell: a flow is believed where the way there and back ends where it began, and
where the moved frame looks like the other one (local correlation, which lamps and gains do not touch).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import cv2
import numpy as np

#: The longer side of a frame in which flow is computed.
SIDE = 384

#: Pixels that the way there and back may miss by, to be half believed.
CYCLE_PX = 3.0

#: The Gaussian's sigma in pixels within which frames are correlated, and gray values that noise alone makes.
CORRELATED_PX, NOISE = 3.75, 3.0

#: Keypoints that must agree on a motion, how well, and the scales that a thing may change by between two frames.
FEWEST_POINTS, AGREEMENT_PX, SCALES = 5, 5.0, (0.4, 2.5)

#: A match of keypoints counts if the next best is farther by this.
RATIO = 0.85

Pair = tuple[np.ndarray, np.ndarray]


class FlowFrame:
    """A frame as flow sees it: gray uint8 (h, w), smaller and with its contrast evened out.

    Args:
        image: uint8 (H, W, 3).
        grid: rows and columns to bring it to; by default its own proportions, at most :data:`SIDE` long.
    """

    def __init__(self, image: np.ndarray, grid: tuple[int, int] | None = None) -> None:
        scale = min(1.0, SIDE / max(image.shape[:2]))
        rows, columns = grid or (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
        gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        with one_thread():
            gray = cv2.resize(gray, (columns, rows), interpolation=cv2.INTER_AREA)
            self.gray = np.asarray(cv2.createCLAHE(2.0, (8, 8)).apply(gray))

    @property
    def grid(self) -> tuple[int, int]:
        return self.gray.shape[0], self.gray.shape[1]

    @cached_property
    def keypoints(self) -> Pair:
        """Places (n, 2), x and y, and descriptors (n, 128) of SIFT's keypoints."""
        with one_thread():
            points, descriptors = cv2.SIFT.create(1500, contrastThreshold=0.02).detectAndCompute(self.gray, None)
        if descriptors is None:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        return np.array([point.pt for point in points], np.float32), np.asarray(descriptors, np.float32)


class Flow:
    """``displacement`` float32 (h, w, 2), x and y: a target's pixel plus it is where that was in the source.

    ``belief`` float32 (h, w), 0 to 1.
    """

    def __init__(self, displacement: np.ndarray, belief: np.ndarray) -> None:
        self.displacement, self.belief = displacement, belief

    def moved(self, array: np.ndarray) -> np.ndarray:
        """Move a map on the source's grid, (h, w), to the target, float32."""
        return _warped(array, self.displacement)


def picture_flows(source: FlowFrame, target: FlowFrame) -> list[Flow]:
    """The flows from no motion, and from that of the whole picture where its keypoints agree on one."""
    still = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    whole = _motion(source.keypoints, target.keypoints)
    return [_flow(source, target, start) for start in (still, whole) if start is not None]


def structure_flow(source: FlowFrame, target: FlowFrame, mask: np.ndarray) -> Flow | None:
    """The flow that begins with the motion of what lies in or near a mask, bool (h, w), of the source."""
    places, descriptors = source.keypoints
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    rows, columns = (np.clip(places[:, axis].astype(int), 0, mask.shape[1 - axis] - 1) for axis in (1, 0))
    held = wide[rows, columns]
    start = _motion((places[held], descriptors[held]), target.keypoints)
    return None if start is None else _flow(source, target, start)


def _motion(source: Pair, target: Pair) -> np.ndarray | None:
    """The similarity (2, 3) from target to source places on which enough keypoints agree."""
    if len(source[0]) < FEWEST_POINTS or len(target[0]) < FEWEST_POINTS:
        return None
    with one_thread():
        pairs = [pair for pair in cv2.BFMatcher().knnMatch(source[1], target[1], k=2) if len(pair) == 2]
        good = [first for first, second in pairs if first.distance < RATIO * second.distance]
        if len(good) < FEWEST_POINTS:
            return None
        there = np.array([target[0][one.trainIdx] for one in good], np.float32)
        here = np.array([source[0][one.queryIdx] for one in good], np.float32)
        matrix, agreed = cv2.estimateAffinePartial2D(there, here, ransacReprojThreshold=AGREEMENT_PX)
    if matrix is None or int(agreed.sum()) < FEWEST_POINTS:
        return None
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return matrix.astype(np.float32) if SCALES[0] < scale < SCALES[1] else None


def _flow(source: FlowFrame, target: FlowFrame, start: np.ndarray) -> Flow:
    """The flow from a similarity (2, 3) on, target to source."""
    rows, columns = target.grid
    place = _places(rows, columns)
    begun = (place @ start[:, :2].T + start[:, 2] - place).astype(np.float32)
    near = _warped(source.gray, begun).astype(np.uint8)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    with one_thread():  # its pieces are as many as its threads, and the result depends on them
        there = search.calc(target.gray, near, None)  # type: ignore[call-overload]
        back = search.calc(near, target.gray, None)  # type: ignore[call-overload]
    missed = np.linalg.norm(there + _warped(back, there), axis=-1)
    whole = _warped(begun, there) + there
    ends = place + whole
    outside = ((ends < -1) | (ends > np.array([columns, rows], np.float32))).any(axis=-1)
    alike = np.clip(_correlation(_warped(source.gray, whole), target.gray.astype(np.float32)), 0.02, 1.0)
    belief = np.where(outside, 1e-3, np.exp(-((missed / CYCLE_PX) ** 2)) * alike**2)
    return Flow(whole, cv2.GaussianBlur(belief.astype(np.float32), (0, 0), 3.0))


def _places(rows: int, columns: int) -> np.ndarray:
    j, i = np.mgrid[:rows, :columns].astype(np.float32)
    return np.stack([i, j], axis=-1)


def _warped(array: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    at = _places(*displacement.shape[:2]) + displacement
    return np.asarray(
        cv2.remap(array.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Local normalised correlation of two gray images, (h, w)."""

    def mean(one: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(one, (0, 0), CORRELATED_PX))

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    noise = NOISE**2
    return np.asarray(
        (mean(a * b) - mean_a * mean_b) / np.sqrt((np.maximum(spread_a, 0) + noise) * (np.maximum(spread_b, 0) + noise))
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread, so that every run and machine gives the same."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
