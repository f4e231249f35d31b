"""A driver for SeamCam cameras, for NeuroHub Edge.

This module is imported by every agent of a station on which the package is installed. So it imports nothing but names:
the client library is loaded when a station has such a camera.
"""

from drivers.registry import ProtocolFolder

PROTOCOL = ProtocolFolder(
    name="seamcam",
    settings_at="seamcam.settings:SeamcamSettings",
    driver_at="seamcam.driver:SeamcamDriver",
    simulator_at="seamcam.simulator:SeamcamSimulator",
)
