"""The environment variables that switch the bridge on. Apart from the other settings: a program that does not want it looks at these alone."""

from __future__ import annotations

# The first that is set counts. The second spelling is seed 000's: a program of auto-workflow's may have it already.
URL_NAMES = ("FLOWSPAN_URL", "AUTO_WORKFLOW_SERVER_URL")
KEY_NAMES = ("FLOWSPAN_API_KEY", "AUTO_WORKFLOW_SERVER_API_KEY")
