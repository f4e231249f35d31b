"""Machines that send one text frame per result over a serial line: scanners, flashers, gauges."""
