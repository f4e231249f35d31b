"""One module per resource: its router, and beside it the bodies it takes and gives."""
