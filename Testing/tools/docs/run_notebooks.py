"""Run every notebook from an empty folder, as somebody who opens it does; fail on the first error, and tell the times.

python Testing/tools/docs/run_notebooks.py                # all of notebooks/
python Testing/tools/docs/run_notebooks.py lora_on_ten_images  # one of them
python Testing/tools/docs/run_notebooks.py --keep FOLDER  # write them with their outputs
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--keep", type=Path, help="a folder for the notebooks with their outputs")
    args = parser.parse_args()
    names = args.names or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    failed = 0
    for name in names:
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
                said = "done"
            except CellExecutionError as error:
                failed += 1
                said = f"FAILED\n{error}"
        print(f"{name}: {said} in {time.perf_counter() - begin:.0f} s", flush=True)
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, args.keep / f"{name}.ipynb")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
