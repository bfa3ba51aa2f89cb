"""The `flowspan` command's light half: finds the server's commands if they are installed, else says how to install them."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import NoReturn

GROUP = "flowspan.commands"
# The same as the server's commands answer when a person must mend something first.
MUST_BE_MENDED = 2


def main() -> None:
    """Run the command line. Exits with 2 where only the bridge is installed."""
    try:
        for entry in entry_points(group=GROUP, name="server"):
            entry.load()()
            return
    except ModuleNotFoundError as error:
        _give_up(f"the Flowspan server is not installed ({error.name} is missing): pip install 'flowspan[server]'")
    except ImportError as error:
        _give_up(str(error))


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"{reason}\n")
    sys.exit(MUST_BE_MENDED)


if __name__ == "__main__":
    main()
