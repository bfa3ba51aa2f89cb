"""The embedded default: one SQLite file, or memory. plugin.py is the entry point."""
