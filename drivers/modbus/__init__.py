"""Modbus TCP and RTU."""

import logging

# pymodbus tells of every lost link and timeout itself; the supervisor is the one who tells, and tells it once.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
