"""Command-line tools on the station, supervised: a firmware flasher, a programmer, a calibration program."""
