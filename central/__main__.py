"""``python -m central``: the same as ``neurohub-central``."""

from messaging.command import start


def main() -> None:
    """Begin."""
    start("central")


if __name__ == "__main__":
    main()
