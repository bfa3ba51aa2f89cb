"""The command as it is started, `python -m collector`: what must be set before the rest is imported."""

from __future__ import annotations

import gc

# What a start imports stays. Every 700 objects, as is usual, Python looks for garbage among them: that is an eighth of the time imports take.
OBJECTS_A_LOOK = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(OBJECTS_A_LOOK)
    from collector import cli  # not before

    cli.main()


if __name__ == "__main__":
    main()
