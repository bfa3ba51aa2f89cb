"""The `flowspan` command's light half: finds the server's commands if they are installed, else says how to install them."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

GROUP = "flowspan.commands"


def main() -> None:
    """Run the command line. Exits with 2 where only the bridge is installed."""
    try:
        for entry in entry_points(group=GROUP, name="server"):
            entry.load()()
            return
    except ModuleNotFoundError as error:
        sys.exit(f"the Flowspan server is not installed ({error.name} is missing): pip install 'flowspan[server]'")
    except ImportError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
