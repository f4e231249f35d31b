"""A station without a machine: a person with a scanner is led through one unit, and makes one record of it."""
