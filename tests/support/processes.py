"""What accelerate remembers of the processes of a run."""

from accelerate.state import AcceleratorState, GradientState, PartialState


def forget_processes() -> None:
    """As in a new process; accelerate has no public way, its own tests go this one too."""
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()
