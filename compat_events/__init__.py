"""One file a door: the wire formats of systems that do not speak OTLP."""
