"""One file for each engine. None is imported before its engine is."""
