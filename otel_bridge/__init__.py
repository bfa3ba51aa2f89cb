"""The light half of Flowspan: what a user's process imports. Needs the OpenTelemetry SDK and nothing of the server."""
