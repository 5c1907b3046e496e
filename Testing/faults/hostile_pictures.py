"""Videos and pictures that are damaged or mean harm."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
from faults.mutations import damaged, packed_zeros
from PIL import Image

from adaptsam.io import write_video

_VIDEOS = (".mp4", ".avi", ".mkv", ".mov")
_PICTURES = (".png", ".jpg", ".bmp", ".tif", ".webp")


def write_video_seeds(folder: Path) -> None:
    """Twelve small frames in every format that is written."""
    shade = np.linspace(0, 255, 48 * 64).reshape(48, 64, 1)
    frames = [np.roll(shade.repeat(3, axis=2), n, axis=1).astype(np.uint8) for n in range(12)]
    for suffix in _VIDEOS:
        write_video(folder / f"clip{suffix}", frames)


def make_video_case(seeds: Path, rng: Random, case: Path) -> str:
    """``case.mp4``, ``.avi``, ``.mkv`` or ``.mov``."""
    suffix = rng.choice(_VIDEOS)
    path = case / f"case{suffix}"
    good = (seeds / f"clip{suffix}").read_bytes()
    if rng.random() < 0.2:
        return _hostile_video(path, good, rng)
    bad, told = damaged(good, rng, header=1500)
    path.write_bytes(bad)
    return f"{suffix}: {told}"


def _hostile_video(path: Path, good: bytes, rng: Random) -> str:
    """Text that FFmpeg takes for a list of other files, streams and addresses; sizes that nobody films in."""
    secret = path.parent.parent / "canary" / "secret.raw"
    texts = {
        "playlist": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "playlist on the net": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "list": f"ffconcat version 1.0\nfile '{secret}'\nfile '../seeds/clip.mp4'\n",
        "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        "subtitles": "1\n00:00:00,000 --> 00:00:01,000\nx\n",
        "manifest": f'<?xml version="1.0"?><MPD><Period><BaseURL>file://{secret}</BaseURL></Period></MPD>',
    }
    way = rng.choice((*texts, "good list", "large", "raw"))
    if way in texts:
        path.write_text(texts[way])
        return f"refuse {way}"
    if way == "good list":  # of a file beside it that could be read
        shutil.copy(path.parent.parent / "seeds" / "clip.mp4", path.with_name("other.mp4"))
        path.write_text("ffconcat version 1.0\nfile other.mp4\nduration 99999999\nfile other.mp4\n")
        return "refuse a list of files beside it"
    if way == "large":
        changed = bytearray(good)
        size = struct.pack("<II", 48, 64) if rng.random() < 0.5 else struct.pack("<II", 64, 48)
        at = good.find(size)
        if at >= 0:
            side = rng.choice((16384, 32768, 65535, 2**31 - 1))
            changed[at : at + 8] = struct.pack("<II", side, side)
        path.write_bytes(bytes(changed))
        return "frames of an enormous size"
    path.write_bytes(rng.randbytes(rng.choice((0, 1, 100, 50_000))))
    return "noise"


def write_picture_seeds(folder: Path) -> None:
    """A picture in every format, with EXIF data, a palette, an alpha channel and 16 bits where the format has them."""
    shade = np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8)
    color = np.stack([shade, shade[::-1], shade[:, ::-1]], axis=2)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in _PICTURES:
        Image.fromarray(color).save(folder / f"rgb{suffix}", **({} if suffix == ".bmp" else {"exif": exif}))
        Image.fromarray(np.where(shade > 99, 255, 0).astype(np.uint8)).save(folder / f"mask{suffix}")
    Image.fromarray(color).quantize(16).save(folder / "palette.png")
    Image.fromarray(np.dstack([color, shade])).save(folder / "alpha.png")
    Image.fromarray(shade.astype(np.uint16) * 200).save(folder / "deep.png")
    Image.fromarray(shade).save(folder / "packed.tif", compression="tiff_lzw")


def make_picture_case(seeds: Path, rng: Random, case: Path) -> str:
    """One picture, ``case.…``."""
    seed = rng.choice(sorted(seeds.iterdir()))
    path = case / f"case{seed.suffix}"
    good = seed.read_bytes()
    if rng.random() < 0.2:
        return _hostile_picture(path, rng)
    bad, told = damaged(good, rng, header=200)
    path.write_bytes(bad)
    return f"{seed.name}: {told}"


def _hostile_picture(path: Path, rng: Random) -> str:
    """Pictures that unpack to gigabytes, or are of kinds whose reader starts programs."""
    way = rng.choice(("bomb", "bomb", "sizes", "postscript", "metafile", "other kind", "text", "profile"))
    mark = path.parent.parent / "canary" / "mark"
    if way == "bomb":
        side = rng.choice((5000, 11_000, 13_300, 30_000))
        kind, depth, row = rng.choice(
            ((0, 8, side), (2, 8, 3 * side), (6, 8, 4 * side), (3, 1, side // 8 + 1), (0, 16, 2 * side))
        )
        path = path.with_suffix(".png")
        path.write_bytes(_png(side, side, depth, kind, _zeros(row + 1, side)))
        return f"{side} pixels a side, of kind {kind}"
    if way == "sizes":
        sides = rng.choice(((2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (0, 0), (70_000, 70_000)))
        path.with_suffix(".png").write_bytes(_png(*sides, 8, 2, zlib.compress(bytes(4000))))
        return f"says {sides}"
    if way == "postscript":
        code = f"({mark}) (w) file closefile showpage" if rng.random() < 0.5 else "{} loop"
        path.write_text(f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n{code}\n%%EOF\n")
        return "refuse PostScript"
    if way == "metafile":
        path.write_bytes(
            b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<hhhhHIH", 0, 0, 64, 48, 96, 0, 0) + b"\1\0\t\0" + bytes(40)
        )
        return "refuse a metafile"
    if way == "other kind":
        kind = rng.choice(("GIF", "PPM", "TGA", "ICO", "PCX", "SGI", "PDF"))
        Image.new("RGB", (64, 48)).save(path, kind)
        return f"in truth {kind}"
    if way == "text":
        chunk = b"x\0\0" + zlib.compress(bytes(rng.choice((1000, 80_000_000))))
        body = _png(8, 8, 8, 0, zlib.compress(bytes(72)))
        path.with_suffix(".png").write_bytes(body[:33] + _chunk(b"zTXt", chunk) * rng.choice((1, 60)) + body[33:])
        return "text that unpacks to megabytes"
    body = _png(8, 8, 8, 0, zlib.compress(bytes(72)))
    path.with_suffix(".png").write_bytes(
        body[:33] + _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000))) + body[33:]
    )
    return "a large colour profile"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, depth: int, kind: int, packed: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    palette = _chunk(b"PLTE", b"\0\0\0\xff\xff\xff") if kind == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + palette + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _zeros(row: int, rows: int) -> bytes:
    if row * rows > 2 * 10**8:
        return packed_zeros(row * rows // 2**20, kind="zlib")
    packer = zlib.compressobj(1)
    block = bytes(row)
    return b"".join([*(packer.compress(block) for _ in range(rows)), packer.flush()])
