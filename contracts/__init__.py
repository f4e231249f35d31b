"""What agent and central agree on: pure models and functions, no I/O, no clock."""
