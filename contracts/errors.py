"""The base of every error of ours.

::

    NeuroHubError
    |-- LinkError        the other side cannot be reached or answered wrongly just now: try again
    |   `-- RefusedError    it is reached, and does not let us: someone has to allow it; try again all the same
    |-- SetupError       configuration or environment is wrong: stop and tell the technician
    |   `-- SettingsError   a YAML file was refused (documents)
    |-- DataError        bytes or values that are not what the contract says
    `-- StoreError       a disk or database refused to keep something

A library's exception is translated once, where the library is used, with ``raise ... from``.
"""


class NeuroHubError(Exception):
    """Base of every error of ours."""


class LinkError(NeuroHubError):
    """The other side cannot be reached, or the link broke. The caller closes and tries again later."""


class RefusedError(LinkError):
    """The other side is there and does not let us do this (a broker's access list)."""


class SetupError(NeuroHubError):
    """Trying again cannot help: someone has to change the configuration or the environment.

    The text says what is wrong, where (machine, point, file) and what to do next.
    """


class DataError(NeuroHubError):
    """Bytes or values that are not what the contract says."""


class StoreError(NeuroHubError):
    """A disk or database refused to keep something. Nothing was acknowledged."""
