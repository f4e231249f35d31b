"""One folder per protocol. A driver knows its wire, nothing of records or MQTT."""
