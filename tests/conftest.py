"""Fixtures that every folder of tests may ask for; nothing starts until one does."""

from tests.support.postgres import postgres_cluster, postgres_url
from tests.support.stores import new_database, store

__all__ = ["new_database", "postgres_cluster", "postgres_url", "store"]
