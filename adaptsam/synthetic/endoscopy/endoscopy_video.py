"""A synthetic endoscopy video: a polyp on the moving wall of a colon, with the exact outline of what is seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from adaptsam.errors import InputError
from adaptsam.progress import Progress, silent
from adaptsam.synthetic.endoscopy.mucosa import Camera, Colon, Polyp, draw_colon, look, polyp_place

# The longest time in seconds that light falls on the sensor for one frame.
_SHUTTER = 0.02
VIDEO_KINDS = ("mp4", "avi", "mov", "mkv", "png")
"""What a video can be written as."""


@dataclass(frozen=True)
class EndoscopySettings:
    """Settings of a synthetic endoscopy.

    Attributes:
        size: (height, width) of the frames in pixels.
        fps: frames per second; slower means more motion from frame to frame.
        radius: of the polyp in mm; ``None``: drawn, 2.5 to 8.
        height: how far it stands out, relative to its radius, 0.15 (flat) to 1; ``None``: drawn, one in three flat.
        motion: of the camera, relative to usual; 0 stands still.
        peristalsis: waves of the wall per second.
        blur: out of focus and by motion, relative to usual.
        occlusions: how often per second something passes in front of the lens.
        noise: standard deviation in grey values.
    """

    size: tuple[int, int] = (256, 256)
    fps: float = 25.0
    radius: float | None = None
    height: float | None = None
    motion: float = 1.0
    peristalsis: float = 0.12
    blur: float = 1.0
    occlusions: float = 0.25
    noise: float = 2.5

    def __post_init__(self) -> None:
        if min(self.size) < 16:
            raise InputError(f"A frame has at least 16×16 pixels, not {self.size[0]}×{self.size[1]}.")
        if not self.fps > 0:
            raise InputError(f"A video has more than {self.fps:g} frames per second.")
        if self.radius is not None and not 1 <= self.radius <= 12:
            raise InputError(f"A polyp has a radius of 1 to 12 mm, not {self.radius:g} mm.")
        if self.height is not None and not 0.15 <= self.height <= 1:
            raise InputError(f"A polyp stands out by 0.15 to 1 times its radius, not {self.height:g}.")
        if min(self.motion, self.peristalsis, self.blur, self.occlusions, self.noise) < 0:
            raise InputError("Motion, peristalsis, blur, occlusions and noise of a video are 0 or more.")


@dataclass(frozen=True)
class EndoscopyVideo:
    """``frames`` (n, H, W, 3) uint8 RGB and ``masks`` (n, H, W) bool: the part of the polyp that each frame shows."""

    frames: np.ndarray
    masks: np.ndarray
    description: str


def endoscopy_video(seed: int, frames: int = 100, settings: EndoscopySettings = EndoscopySettings()) -> EndoscopyVideo:
    """A video of one polyp.

    Args:
        seed: colon, polyp and camera; the same seed gives the same pixels.
        frames: how many.
        settings: what it shows.

    Raises:
        InputError: there is no frame.
    """
    pairs = list(endoscopy_frames(seed, frames, settings))
    described = _described(_draw_scene(seed, settings))
    return EndoscopyVideo(np.stack([frame for frame, _ in pairs]), np.stack([mask for _, mask in pairs]), described)


def _described(scene: _Scene) -> str:
    around, _, into = scene.polyp.radii
    return f"{'flat' if into < 0.35 * around else 'raised'} polyp of {2 * around:.0f} mm"


def write_endoscopy(
    folder: Path,
    seed: int,
    frames: int = 100,
    settings: EndoscopySettings = EndoscopySettings(),
    *,
    kind: str = "mp4",
    progress: Progress = silent,
) -> dict[str, object]:
    """Write ``video.mp4`` and ``masks/frame-000000.png``, … (0 and 255), one frame in memory at a time.

    Args:
        folder: where they go; it exists.
        seed: of the video.
        frames: how many.
        settings: what it shows.
        kind: "mp4", "mov", "mkv" or "avi", which lose a little, or "png" for ``frames/frame-000000.png``, ….
        progress: receives "drawing the video".

    Returns:
        What is known: a description, the fps, and for each frame how many pixels show the polyp.

    Raises:
        InputError: an unknown kind, or there is no frame.
    """
    if kind not in VIDEO_KINDS:
        raise InputError(f"There is no video of kind {kind!r}; choose one of {', '.join(VIDEO_KINDS)}.")
    pictures = endoscopy_frames(seed, frames, settings)
    pixels: list[int] = []
    (folder / "masks").mkdir()
    if kind == "png":
        (folder / "frames").mkdir()

    def drawn() -> Iterator[np.ndarray]:
        for number, (frame, mask) in enumerate(pictures):
            progress("drawing the video", number, frames)
            Image.fromarray(mask).convert("L").save(folder / "masks" / f"frame-{number:06d}.png")
            pixels.append(int(mask.sum()))
            yield frame
        progress("drawing the video", frames, frames)

    if kind == "png":
        for number, frame in enumerate(drawn()):
            Image.fromarray(frame).save(folder / "frames" / f"frame-{number:06d}.png")
    else:
        from adaptsam.io.video.video_files import write_video  # PyAV, which frames alone do not need

        write_video(folder / f"video.{kind}", drawn(), settings.fps)
    return {
        "description": _described(_draw_scene(seed, settings)),
        "fps": settings.fps,
        "visible_frames": sum(count > 0 for count in pixels),
        "polyp_pixels": pixels,
    }


def endoscopy_frames(
    seed: int, frames: int = 100, settings: EndoscopySettings = EndoscopySettings()
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw one frame (H, W, 3) and mask (H, W) at a time, whatever the length; see :func:`endoscopy_video`."""
    if seed < 0:
        raise InputError(f"The seed of a video is 0 or more, not {seed}.")
    if frames < 1:
        raise InputError(f"A video has at least one frame, not {frames}.")
    return _frames(seed, frames, settings)


@dataclass(frozen=True)
class _Scene:
    colon: Colon
    polyp: Polyp
    sway: np.ndarray
    start: float


def _draw_scene(seed: int, settings: EndoscopySettings) -> _Scene:
    rng = np.random.default_rng([seed, 7])
    colon = draw_colon(rng)
    drawn = float(np.exp(rng.uniform(np.log(2.5), np.log(8))))
    flat = rng.random() < 1 / 3
    stands = rng.uniform(0.2, 0.3) if flat else rng.uniform(0.6, 0.95)
    radius = drawn if settings.radius is None else settings.radius
    height = stands if settings.height is None else settings.height
    redder = rng.uniform(0.75, 1.05)
    # Between two folds, so that it can be seen.
    z = (np.floor(60 / colon.pitch) + rng.uniform(0.9, 1.1)) * colon.pitch
    polyp = Polyp(
        angle=rng.uniform(0, 2 * np.pi),
        z=float(z),
        radii=(radius, radius * rng.uniform(0.8, 1.2), radius * height),
        color=(colon.color * np.array([1.05, redder, redder])).astype(np.float32),
        offset=rng.uniform(0, 1),
    )
    # Six motions, each a sum of two slow waves: frequencies in Hz and phases. At first it looks at the polyp.
    sway = np.stack([rng.uniform(0.08, 0.5, (6, 2)), rng.uniform(0, 2 * np.pi, (6, 2))])
    sway[1, 3] = -np.pi / 2
    return _Scene(colon, polyp, sway, polyp.z - rng.uniform(15, 21))


def _frames(seed: int, frames: int, settings: EndoscopySettings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    scene = _draw_scene(seed, settings)
    for number in range(frames):
        rng = np.random.default_rng([seed, 8, number])
        time = number / settings.fps
        wave = 2 * np.pi * settings.peristalsis * time
        camera = _camera(scene, settings, time, wave)
        light, mask = look(scene.colon, scene.polyp, camera, settings.size, wave)
        before = _camera(scene, settings, time - min(0.5 / settings.fps, _SHUTTER), wave)
        light = _blurred(light, camera, before, settings, time)
        light, mask = _occluded(light, mask, seed, settings, time)
        yield _developed(light, settings.noise, rng), mask


def _waves(scene: _Scene, time: float) -> np.ndarray:
    """Six smooth motions between −1 and 1; the first is 0 at the beginning."""
    frequencies, phases = scene.sway
    value = np.sin(2 * np.pi * frequencies * time + phases)
    value[0] -= np.sin(phases[0])
    return value.mean(axis=1)


def _camera(scene: _Scene, settings: EndoscopySettings, time: float, wave: float) -> Camera:
    forth, x, y, off, turn, roll = _waves(scene, time) * settings.motion
    place = np.array([0.3 * x * scene.colon.radius, 0.3 * y * scene.colon.radius, scene.start + 6 * forth])
    to_polyp = polyp_place(scene.colon, scene.polyp, wave) - place
    to_polyp /= np.linalg.norm(to_polyp)
    # It looks somewhere between the polyp and the lumen, and now and then elsewhere.
    away = np.clip(0.35 + 0.65 * off, 0.0, 1.0)
    forward = (1 - away) * to_polyp + away * np.array([0.35 * turn, 0.35 * roll, 1.0])
    forward /= np.linalg.norm(forward)
    up = np.array([np.sin(0.6 * roll + scene.polyp.angle / 7), np.cos(0.6 * roll + scene.polyp.angle / 7), 0.0])
    right = np.cross(up, forward)
    right /= np.linalg.norm(right)
    return Camera(place, np.stack([right, np.cross(forward, right), forward]), np.radians(62))


def _blurred(light: np.ndarray, camera: Camera, before: Camera, settings: EndoscopySettings, time: float) -> np.ndarray:
    if not settings.blur:
        return light
    # What the camera turned by while the shutter was open, in pixels.
    moved = before.axes @ camera.axes[2]
    pixels = min(light.shape[:2]) / 2 / camera.half_angle * settings.blur
    dx, dy = float(moved[0] * pixels), float(moved[1] * pixels)
    steps = int(np.ceil(np.hypot(dx, dy)))
    if steps > 1:
        shares = np.linspace(-0.5, 0.5, min(steps + 1, 9))
        light = np.mean([_shifted(light, round(dy * s), round(dx * s)) for s in shares], axis=0)
    focus = settings.blur * max(0.0, 2.2 * np.sin(2 * np.pi * 0.21 * time - np.pi / 2) - 1.2)
    width = (0.25 * settings.blur + focus) * min(light.shape[:2]) / 256
    return gaussian_filter(light, (width, width, 0), truncate=2.5) if width > 0.3 else light


def _shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(image, ((abs(down),) * 2, (abs(right),) * 2, (0, 0)), mode="edge")
    top, left = abs(down) + down, abs(right) + right
    return padded[top : top + image.shape[0], left : left + image.shape[1]]


def _occluded(
    light: np.ndarray, mask: np.ndarray, seed: int, settings: EndoscopySettings, time: float
) -> tuple[np.ndarray, np.ndarray]:
    """Occlude the view with a clot of debris, or with the wall itself, which hides everything."""
    # One chance a second, the second's own, so that any frame can be drawn alone; never in the first.
    second = int(time)
    rng = np.random.default_rng([seed, 9, second])
    if second == 0 or rng.random() >= settings.occlusions:
        return light, mask
    begin, length = rng.uniform(0, 0.4), rng.uniform(0.25, 0.6)
    share = (time - second - begin) / length
    if not 0 <= share <= 1:
        return light, mask
    if rng.random() < 0.3:
        red = gaussian_filter(light, (20, 20, 0)) * 0.3 + np.array([0.55, 0.10, 0.07], np.float32)
        return red.astype(np.float32), np.zeros_like(mask)
    height, width = mask.shape
    heading = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / min(height, width)
    x, y = x - width / min(height, width) / 2, y - height / min(height, width) / 2
    x, y = x - (2 * share - 1) * np.cos(heading), y - (2 * share - 1) * np.sin(heading)
    clot = np.zeros_like(x)
    for _ in range(7):
        cx, cy, size = rng.normal(0, 0.13), rng.normal(0, 0.13), rng.uniform(0.05, 0.14)
        clot = np.maximum(clot, 1 - ((x - cx) ** 2 + (y - cy) ** 2) / size**2)
    hidden = clot > 0
    relief = np.clip(clot, 0, 1)[..., None] ** 0.5
    color = np.array([0.20, 0.14, 0.04], np.float32) * (0.35 + 0.65 * relief) + 0.15 * relief**40
    return np.where(hidden[..., None], color, light).astype(np.float32), mask & ~hidden


def _developed(light: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Develop linear light to a frame, uint8: tone curve, noise of the sensor, and the round edge of the optics."""
    frame = 255 * np.sqrt(1 - np.exp(-1.6 * np.clip(light, 0, 8)))
    if noise:
        frame = frame + rng.standard_normal(frame.shape, dtype=np.float32) * noise
    height, width = frame.shape[:2]
    x = np.abs(np.arange(width) - (width - 1) / 2) / (width / 2)
    y = np.abs(np.arange(height) - (height - 1) / 2) / (height / 2)
    frame[(x[None, :] + y[:, None]) > 1.62] = 0
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)
