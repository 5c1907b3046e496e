"""Model files that are damaged or mean harm: checkpoints, adapters, agents, trainings, embeddings, recipes."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import torch
from faults.mutations import damaged

# What a value of JSON may be that is not meant.
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**9, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\x1b[2J", "a" * 70_000,
    [], [[]], {}, {"a": 1}, [1] * 5000, "../canary/secret.raw", "$__import__('os').system('touch mark')",
)  # fmt: skip


class _Run:
    """Unpickled, it calls something."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def make_pickle_case(seed: Path, path: Path, rng: Random) -> str:
    """A file of ``torch.save`` that is damaged, or whose pickle means harm."""
    good = seed.read_bytes()
    if rng.random() < 0.55:
        bad, told = damaged(good, rng, header=2000)
        path.write_bytes(bad)
        return told
    return rng.choice((_running_pickle, _running_pickle, _odd_pickle, _odd_zip, _huge_tensors))(good, path, rng)


def _running_pickle(good: bytes, path: Path, rng: Random) -> str:
    """Code that runs where a pickle is read without care."""
    mark = str(path.parent.parent / "canary" / "mark")
    harm = rng.choice(
        (
            _Run(os.system, f"touch {mark}"),
            _Run(eval, f"open({mark!r}, 'w')"),
            _Run(exec, f"open({mark!r}, 'w')"),
            _Run(open, mark, "w"),
            _Run(__import__, "os"),
            _Run(torch.load, mark),
            _Run(bytearray, 2**33),
            _Run(torch.nn.Linear, 2**20, 2**20),
        )
    )
    content = {"state_dict": {"a": torch.zeros(2), "b": harm}} if rng.random() < 0.5 else harm
    way = rng.choice(("zip", "old", "bare", "tar"))
    if way == "bare":
        path.write_bytes(pickle.dumps(content, protocol=rng.choice((0, 2, 4))))
    elif way == "tar":
        path.write_bytes(pickle.dumps(harm)[:-1].ljust(512, b"\0") + good)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    return f"refuse code in a pickle ({way})"


def _odd_pickle(good: bytes, path: Path, rng: Random) -> str:
    """Values where weights should be."""
    with io.BytesIO(good) as file:
        content = torch.load(file, weights_only=True)
    nested: Any = []
    for _ in range(rng.choice((10, 400))):
        nested = [nested]
    odd = rng.choice(
        (
            None,
            3,
            "x",
            [],
            {},
            nested,
            {1: torch.zeros(1)},
            torch.zeros(3),
            {"state_dict": {"state_dict": {}}},
            {"model": None},
        )
    )
    if isinstance(content, dict) and rng.random() < 0.7:
        holder = (
            content if rng.random() < 0.5 else next((v for v in content.values() if isinstance(v, dict) and v), content)
        )
        key = rng.choice(list(holder))
        value = holder[key]
        choices: list[Any] = [odd, "x", -1, float("nan"), 10**40]
        if isinstance(value, torch.Tensor):
            choices += [value.long(), value[None], value.flatten(), value * float("nan"), value.to(torch.complex64)]
            choices += [value.to_sparse(), torch.zeros(0), value.bool(), torch.empty(value.shape, device="meta")]
        holder[key] = rng.choice(choices)
        if rng.random() < 0.3:
            holder[f"{key}.more"] = torch.zeros(1)
    else:
        content = odd
    torch.save(content, path)
    return "odd values"


def _odd_zip(good: bytes, path: Path, rng: Random) -> str:
    """The zip archive around a pickle with other names, entries twice, or a content that unpacks to gigabytes."""
    way = rng.choice(("names", "twice", "bomb", "missing", "packed"))
    if not zipfile.is_zipfile(io.BytesIO(good)):
        return _odd_pickle(good, path, rng)
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if way == "missing" and rng.random() < 0.3:
                continue
            kind = zipfile.ZIP_DEFLATED if way in ("packed", "bomb") else zipfile.ZIP_STORED
            if way == "bomb" and name.endswith("data.pkl"):
                data += bytes(100_000_000)
            if way == "names" and rng.random() < 0.3:
                name = rng.choice(("../../canary/mark", "/tmp/mark", "a" * 60_000, name.upper()))
            new.writestr(zipfile.ZipInfo(name), data, kind)
            if way == "twice" and rng.random() < 0.3:
                new.writestr(zipfile.ZipInfo(name), data[::-1], kind)
    return f"zip: {way}"


def _huge_tensors(good: bytes, path: Path, rng: Random) -> str:
    """Tensors that say that they are larger than what the file holds of them."""
    with io.BytesIO(good) as file:
        content = torch.load(file, weights_only=True)
    holder = content if isinstance(content, dict) else {}
    while holder and not any(isinstance(value, torch.Tensor) for value in holder.values()):
        holder = next((v for v in holder.values() if isinstance(v, dict)), {})
    names = [key for key, value in holder.items() if isinstance(value, torch.Tensor)]
    for key in rng.sample(names, min(len(names), rng.choice((1, 5, len(names))))):
        value = holder[key]
        shape = tuple(rng.choice((side, 2**10, 2**15)) for side in value.shape) or (2**20,)
        holder[key] = torch.zeros(1).expand(shape)
    torch.save(content, path)
    return "tensors larger than the file"


def make_safetensors_case(seed: Path, path: Path, rng: Random) -> str:
    """A safetensors file that is damaged, or whose header or description means harm."""
    good = seed.read_bytes()
    way = rng.random()
    if way < 0.45:
        bad, told = damaged(good, rng, header=600)
        path.write_bytes(bad)
        return told
    (length,) = struct.unpack("<Q", good[:8])
    header, data = json.loads(good[8 : 8 + length]), good[8 + length :]
    if way < 0.8:
        key = next(iter(header["__metadata__"]))
        text = header["__metadata__"][key]
        if text.startswith("{"):
            described = json.loads(text)
            told = odd_json(described, rng)
            text = json.dumps(described)
        else:
            text, told = rng.choice(("", text[:-1], text[::-1], "x" * 9000)), "odd text"
        if rng.random() < 0.1:
            text, told = rng.choice(("[" * 100_000, "{", "null", "[]", '{"a":' * 3000, "9" * 9000)), "odd description"
        header["__metadata__"][key] = text
    else:
        told = "odd header"
        name = rng.choice([name for name in header if name != "__metadata__"])
        entry = header[name]
        change = rng.choice(("shape", "dtype", "offsets", "name", "lost", "twice", "float16", "metadata"))
        if change == "shape":
            entry["shape"] = rng.choice(([2**40], [0], [], [2**62, 2**62], [-1], entry["shape"][::-1]))
        elif change in ("dtype", "float16"):
            entry["dtype"] = rng.choice(("F64", "I8", "BOOL", "BF16", "F8_E4M3", "X")) if change == "dtype" else "F16"
        elif change == "offsets":
            entry["data_offsets"] = rng.choice(([0, 2**60], [5, 1], [0, 4], [-4, 0]))
        elif change == "name":
            header[rng.choice(("", "\x1b[2J", "a" * 50_000, "../x"))] = header.pop(name)
        elif change == "lost":
            del header[name]
        elif change == "twice":
            header[f"{name}.again"] = entry
        else:
            header["__metadata__"] = rng.choice(({}, {"x": "y"}, {next(iter(header["__metadata__"])): ""}))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", rng.choice((len(text),) * 9 + (2**40,))) + text + data)
    return told


def odd_json(value: Any, rng: Random) -> str:
    """Change some places of a nested value, which is changed itself; returns which."""
    places = list(_places(value))
    told = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder, key = rng.choice(places)
        told.append(str(key))
        before = holder[key] if isinstance(holder, list) or key in holder else None
        way = rng.random()
        if isinstance(holder, dict) and way < 0.1:
            holder.pop(key, None)
        elif isinstance(holder, dict) and way < 0.2:
            holder[rng.choice(("more", "__class__", "self"))] = deepcopy(before)
        elif isinstance(before, int) and not isinstance(before, bool) and way < 0.7:
            holder[key] = rng.choice((0, -1, 1, before + 1, before * 2, 2**15, 2**31, 10**12))
        else:
            holder[key] = deepcopy(rng.choice(_ODD))
    return f"odd {', '.join(told)}"


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])


def make_recipe_case(seeds: Path, rng: Random, case: Path) -> str:
    """A bundle's folder whose ``configs/train.json`` is not what it was."""
    (case / "configs").mkdir()
    path = case / "configs" / "train.json"
    good = (seeds / "train.json").read_bytes()
    way = rng.random()
    if way < 0.5:
        bad, told = damaged(good, rng)
        path.write_bytes(bad)
        return told
    content = json.loads(good)
    mark = case.parent / "canary" / "mark"
    if way < 0.75:
        told = odd_json(content, rng)
        path.write_text(json.dumps(content))
        return told
    harm = rng.choice(
        (
            {"epochs": f"$__import__('os').system('touch {mark}')"},
            {"imports": [f"$open({str(mark)!r}, 'w')"]},
            {"epochs": "%/etc/passwd::x"},
            {"epochs": f"%{case.parent}/canary/secret.raw"},
            {"epochs": "%../../canary/secret.json::a"},
            {"epochs": "@epochs"},
            {"a": "@b", "b": "@a", "epochs": "@a"},
            {"epochs": {"_target_": "os.system", "command": f"touch {mark}"}},
            {"+epochs": 3, "epochs": [1]},
            {"_requires_": f"$open({str(mark)!r}, 'w')"},
        )
    )
    path.write_text(json.dumps(content | harm))
    if rng.random() < 0.2:
        path.write_text(rng.choice(("[" * 100_000, '{"a":' * 100_000, "[]", "3", "null", "NaN", '"x"', '{"a": 1e999}')))
    return f"harm: {json.dumps(harm)[:60]}"


def make_weights_case(seeds: Path, rng: Random, case: Path) -> str:
    """A folder of fetched weights: a file and its record, which is JSON."""
    shutil.copy(seeds / "tiny.pth", case / "p2sam-lora.pth")
    good = (seeds / "record.json").read_bytes()
    path = case / "record.json"
    if rng.random() < 0.6:
        bad, told = damaged(good, rng)
        path.write_bytes(bad)
        return told
    content = json.loads(good)
    told = odd_json(content, rng)
    path.write_text(json.dumps(content))
    return told
