"""The command as it is started, `python -m collector`: what must be set before the rest is imported."""

from __future__ import annotations

import gc

# Python looks for garbage every 700 objects, which is an eighth of the time that imports take, though all of them stay; less often does as well
# for what a server makes later.
OBJECTS_A_LOOK = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(OBJECTS_A_LOOK)
    from collector import cli  # not before

    cli.main()


if __name__ == "__main__":
    main()
