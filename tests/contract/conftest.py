"""Fixtures of the contract suites."""

from tests.support.api import api, shared_api
from tests.support.stores import database_kind, migrated_file, migrated_name, new_database, store

__all__ = ["api", "database_kind", "migrated_file", "migrated_name", "new_database", "shared_api", "store"]
