"""``python -m adaptsam`` is the command ``adaptsam``."""

from adaptsam.cli import run

if __name__ == "__main__":
    run()
