"""The viewer: pages, read API and live sockets over collector.storage.Reader. A plugin like any other; see plugin.py."""
