"""Statistics of measured values and of yield. Pure: no database, no web."""
