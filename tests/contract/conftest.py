"""Fixtures of the contract suites."""

from tests.support.stores import new_database, store

__all__ = ["new_database", "store"]
