"""``python -m agent``: the same as ``neurohub-agent``."""

from agent.cli import app

if __name__ == "__main__":
    app(prog_name="neurohub-agent")
