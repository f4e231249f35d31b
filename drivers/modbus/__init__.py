"""Modbus over TCP, RTU, RTU over TCP, ASCII, UDP and TLS."""

import logging

# pymodbus warns of every request that it cannot decode; what matters of that the driver tells itself, once.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
