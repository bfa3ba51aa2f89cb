"""The server: receives, stores, folds and tells. Plugins know it; it knows no plugin."""

from importlib.util import find_spec

if find_spec("fastapi") is None:  # said here, once, for every server package: all of them import this one
    raise ImportError("the Flowspan server is not installed: pip install 'flowspan[server]'")
