"""How often a test kills what it interrupts."""

import os


def kills(usual: int) -> int:
    """The environment's KILLS, for those who want to see more than a test has time for."""
    return int(os.environ.get("KILLS", usual))
