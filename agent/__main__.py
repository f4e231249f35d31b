"""``python -m agent``: the same as ``neurohub-agent``."""

from messaging.command import start


def main() -> None:
    """Begin."""
    start("agent")


if __name__ == "__main__":
    main()
