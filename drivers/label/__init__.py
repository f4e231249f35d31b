"""Label printers: ZPL out, host status back."""
