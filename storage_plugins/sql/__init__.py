"""Shared by SQL storages: the declarative tables, and the reads over them. Writing is each storage's own."""
