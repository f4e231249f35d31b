"""Fixtures of the contract suites."""

from tests.support.api import api, shared_api
from tests.support.stores import new_database, store

__all__ = ["api", "new_database", "shared_api", "store"]
