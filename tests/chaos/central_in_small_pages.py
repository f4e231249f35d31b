"""``neurohub-central``, which tells a station three numbers a page when it asks whose records central holds."""

from central import cli
from central.store import contents

contents.PAGE = 3

if __name__ == "__main__":
    cli.app()
