"""MQTT 5 for agent and central; the only place that imports paho."""
