"""YAML files that people write: read strictly, with every mistake at once and the place it stands at.

``reading`` makes a tree that knows where everything was written, ``explain`` a model of it, or the mistakes in words
a technician uses. For the agent's station files and central's criteria files alike.
"""
