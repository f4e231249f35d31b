"""How many generated streams of bytes a property is tried on."""

import os

from hypothesis import settings

many = settings(max_examples=300) if "HYPOTHESIS_PROFILE" not in os.environ else settings()
"""Decorates a property of streams: a few hundred in the suite, as many as the profile says where one is named."""
