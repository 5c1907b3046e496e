"""``adaptsam cache``: what is kept between runs."""

from __future__ import annotations

import argparse

from adaptsam.commands.console import Actions, print_json

DESCRIPTION = """\
What SAM said of a slice or frame, and how two scans were registered, is kept on this machine, so that a second run on
the same images neither encodes nor registers.

  adaptsam cache info       where, how much, and the bound
  adaptsam cache clear      remove all of it

A file holds the features of one slice under one model, or where the points of one scan lie in another; it is named by
a hash of what it was computed from, and no patient is named in it. Of a video too long for half of the folder, nothing
is kept. The folder is the platform's for caches, or what ADAPTSAM_CACHE says; its bound is 4 GB, or what
ADAPTSAM_CACHE_GB says (0 keeps nothing). What was used longest ago goes first.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = Actions(commands, "cache", "what is kept between runs", DESCRIPTION)
    actions.add("info", run_info, "where, how much, and the bound", "adaptsam cache info")
    actions.add("clear", run_clear, "remove all of it", "adaptsam cache clear")


def run_info(args: argparse.Namespace) -> None:
    from adaptsam.storage.disk_cache import KeptFolder, cache_bytes, cache_folder

    kept, most = KeptFolder(cache_folder()).kept(), cache_bytes()
    if args.json:
        print_json({"folder": cache_folder(), "files": kept.files, "bytes": kept.size, "most_bytes": most})
        return
    print(f"{kept.files} files, {kept.size / 1e6:.0f} MB of at most {most / 1e6:.0f} MB\nFolder: {cache_folder()}")


def run_clear(args: argparse.Namespace) -> None:
    from adaptsam.storage.disk_cache import KeptFolder, cache_folder

    gone = KeptFolder(cache_folder()).clear()
    if args.json:
        print_json({"removed": gone.files, "bytes": gone.size})
        return
    print(f"{gone.files} files removed, {gone.size / 1e6:.0f} MB freed")
