"""The lock under which the bridge's threads import what they need."""

from __future__ import annotations

import threading

# Held while modules are imported: a fork in the middle would leave the child with half a module and a lock that nobody holds.
importing = threading.Lock()
