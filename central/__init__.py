"""The central service: ingests the stations streams and keeps the factory database."""
