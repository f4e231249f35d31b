"""Durable store-and-forward of a station's results on SQLite (docs/decisions/0004-how-results-are-kept-and-sent.md)."""

from agent.outbox.outbox import Apart, Outbox, Pruned, Settled, StreamState
from agent.outbox.room import Limits
from agent.outbox.streams import Row

__all__ = ["Apart", "Limits", "Outbox", "Pruned", "Row", "Settled", "StreamState"]
