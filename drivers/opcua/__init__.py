"""OPC-UA."""
