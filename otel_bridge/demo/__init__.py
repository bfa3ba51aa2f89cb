"""A small data pipeline to watch: `python -m otel_bridge.demo`. A plain client of a Flowspan server, as a user's program is."""
