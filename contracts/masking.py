"""Text that may hold an address with a password in it, made fit for a log, an error or a screen."""

import re

_USER_INFO = re.compile(r"//.*@|[^\s\"'/]+:(?!//)[^\s\"']*@", re.DOTALL)
"""To the last @: a password may hold any character, and whoever wrote it may have escaped none."""
_QUERY = re.compile(r"(//[^\s\"'?]*)\?[^\s\"']*")


def masked(text: str) -> str:
    """The text without what stands before the host of an address (user name, password) or in its query.

    Rather too much is taken out than too little.
    """
    hidden = _USER_INFO.sub(lambda found: "//***@" if found[0].startswith("//") else "***@", text)
    return _QUERY.sub(r"\1?***", hidden)
