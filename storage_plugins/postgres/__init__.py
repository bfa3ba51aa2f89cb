"""Postgres: for teams, several replicas, days that are dropped whole. plugin.py is the entry point."""
