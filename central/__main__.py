"""``python -m central``: the same as ``neurohub-central``."""

from central.cli import app

if __name__ == "__main__":
    app(prog_name="neurohub-central")
