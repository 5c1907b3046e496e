"""Video files in and out, one frame at a time, by FFmpeg through PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from adaptsam.errors import InputError
from adaptsam.image.remarks import Remark
from adaptsam.io.video.frames import Frames, check_frame, numbered
from adaptsam.progress import Progress, silent
from adaptsam.storage.output_staging import staged_file

#: Of what a file may be a container: no playlists, lists and descriptions of streams, which name other files.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,asf"
_ONLY = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
#: Pixels of a frame that are decoded: 8192×4320, and somewhat more.
_MOST_PIXELS = 36_000_000
#: What can be written: the codec, its pixels, and its options. H.264 plays everywhere; Motion JPEG is old AVI's own.
_H264 = ("libx264", "yuv420p", {"crf": "16", "preset": "fast"})
_WRITERS = {".mp4": _H264, ".mov": _H264, ".mkv": _H264, ".avi": ("mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"})}
#: Frames per second of what is written.
SLOWEST, FASTEST = 0.01, 1000.0
#: A video may end so much before the length that its header tells: in frames, and as a share of it.
_FRAMES_SHORT, _SHARE_SHORT = 2.5, 0.02


class VideoFile(Frames):
    """The first video stream of a file; its frames are called ``frame-000000``, ….

    Every frame is decoded once here, so that damage is told before the work and not in the middle of it, and because
    headers do not always know how many frames there are. A single frame is found by decoding all before it, which is
    exact for every codec.

    Args:
        path: the file.
        progress: receives "reading"; may cancel.

    Raises:
        InputError: no video, frames that cannot be decoded, a file that ends too early, or frames of different sizes.
    """

    def __init__(self, path: str | Path, progress: Progress = silent) -> None:
        self._path = Path(path).absolute()
        self.name = self._path.name
        self._check(progress)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._decode():
            yield _upright(frame)

    def _check(self, progress: Progress) -> None:
        with closing(self._open()) as container:
            stream = _video_stream(container, self.name)
            others = len(container.streams.video) - 1
            if others:
                self.remarks = (Remark("further videos in the file", others, "the first one was taken"),)
            self.fps = float(stream.average_rate or stream.guessed_rate or 25)
            expected = stream.frames
            length = _length(container, stream)
            start = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
        count, end = 0, 0.0
        for frame in self._decode():
            progress("reading", count, max(expected, count + 1))
            size = (frame.width, frame.height) if frame.rotation % 180 else (frame.height, frame.width)
            if count == 0:
                self.size = size
            elif size != self.size:
                raise InputError(
                    f"The frames of {self.name} differ in size: the first has {self.size[1]}×{self.size[0]} pixels, "
                    f"frame {count} {size[1]}×{size[0]}; cut the video there."
                )
            count += 1
            end = count / self.fps if frame.time is None else frame.time - start + 1 / self.fps
        if count == 0:
            raise InputError(f"{self.name} holds no frame that can be read; convert it to MP4 with H.264.")
        if length - end > max(_FRAMES_SHORT / self.fps, _SHARE_SHORT * length):
            raise InputError(
                f"{self.name} is truncated: it ends after frame {count - 1} ({end:.1f} s), but should last "
                f"{length:.1f} s; copy it again."
            )
        progress("reading", count, count)
        self.names = tuple(numbered(count))

    def _decode(self) -> Iterator[VideoFrame]:
        number = 0
        with closing(self._open()) as container:
            stream = _video_stream(container, self.name)
            stream.thread_type = "AUTO"
            # Otherwise FFmpeg hides damage by making pixels up.
            stream.codec_context.options = {
                "err_detect": "explode+bitstream+buffer",
                "max_pixels": str(_MOST_PIXELS),
            }
            try:
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        raise self._unreadable(number)
                    yield frame
                    number += 1
            except FFmpegError:
                raise self._unreadable(number) from None

    def _unreadable(self, number: int) -> InputError:
        return InputError(
            f"Frame {number} of {self.name} cannot be read: the file is damaged; copy it again, or cut the video there."
        )

    def _open(self) -> av.container.InputContainer:
        try:
            return av.open(str(self._path), "r", container_options=_ONLY, metadata_errors="replace")
        except FileNotFoundError:
            raise InputError(f"{self.name} does not exist; check the path.") from None
        except (FFmpegError, OSError):
            raise InputError(f"{self.name} is not a video that can be read, or truncated; copy it again.") from None


def _video_stream(container: av.container.InputContainer, name: str) -> VideoStream:
    if not container.streams.video:
        raise InputError(f"{name} holds no video; choose another file.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise InputError(f"{name} holds a video that nothing here can decode; convert it to MP4 with H.264.")
    return stream


def _length(container: av.container.InputContainer, stream: VideoStream) -> float:
    """Seconds that the header promises; 0 where it does not say. Matroska knows only that of sound and picture both."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration / av.time_base) if container.duration and len(container.streams) == 1 else 0.0


def _upright(frame: VideoFrame) -> np.ndarray:
    """uint8 (H, W, 3), turned as a camera says that it was held."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 25.0, *, overwrite: bool = False) -> None:
    """Write frames as a video, of the kind that the suffix names.

    Args:
        path: ``.mp4``, ``.mov`` or ``.mkv`` (H.264) or ``.avi`` (Motion JPEG); both lose a little. For frames without
            loss, see :func:`~adaptsam.io.video.frames.write_pictures`.
        frames: uint8 (H, W, 3) in RGB order or (H, W) gray, of one size; taken one at a time. H.264 needs even sizes:
            an odd last column or row is repeated.
        fps: frames per second.
        overwrite: replace an existing file.

    Raises:
        InputError: an unknown suffix, no frames, or such as cannot be written.
        OutputError: the file is there already or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITERS:
        raise InputError(f"{path.name} has no suffix for a video that is written; use one of {', '.join(_WRITERS)}.")
    if not SLOWEST <= fps <= FASTEST:
        raise InputError(f"A video needs {SLOWEST:g} to {FASTEST:g} frames per second, not {fps:g}.")
    with staged_file(path, overwrite=overwrite) as staged:
        _encode(staged, frames, fps)


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    codec, pixels, options = _WRITERS[path.suffix.lower()]
    rate = Fraction(fps).limit_denominator(1001)
    size: tuple[int, int] | None = None
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = pixels
        for number, given in enumerate(frames):
            frame = check_frame(given, size, number)
            size = (frame.shape[0], frame.shape[1])
            if codec == "libx264":
                frame = np.pad(frame, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        if size is None:
            raise InputError("There is no frame to write.")
        container.mux(stream.encode())
