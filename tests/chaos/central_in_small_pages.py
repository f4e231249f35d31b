"""``neurohub-central``, which tells a station ten numbers a page when it asks whose records central holds."""

from central import cli
from central.store import contents

contents.PAGE = 10

if __name__ == "__main__":
    cli.app()
