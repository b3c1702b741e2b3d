"""Signs that a run goes wrong, each told once with its remedy."""

from collections.abc import Mapping
from statistics import median

from .report import phase_sums

ALIKE = 1e-4
"""Mean difference, of a range of 2, below which pictures are the same."""
LOGS_TO_JUDGE = 10
RISE = 5.0
HUNGRY = 0.3

COPIED = (
    "held-out photos are their own exemplars, so that validation is answered by copying: "
    "target_l1 and best/ say nothing. Hold out more photos, or set data.retrieve=true, "
    "data.exemplar_column or data.exemplar_list."
)
COPIES = (
    "the outputs are nearly their exemplars (copy_score {copy:.3g}, the true photos differ from "
    "them by {exemplar:.3g}): the condition is ignored. Go on from best/ with a higher "
    "data.real_probability or more data.elastic and data.zoom, so that the exemplar is not the "
    "answer, and lower losses.contextual."
)
COLLAPSED = (
    "the outputs are nearly alike (they vary {variety:.2g} times as much as the true photos): the "
    "painter has collapsed. Go on from best/ with a lower optimizer.discriminator_lr and "
    "diff_augment=true."
)
UNMATCHED = (
    "a third of the run is over and the matching carries labels no better (warp_accuracy "
    "{warped:.3g}) than an exemplar that is not moved ({unmoved:.3g}). Teach it first by "
    "--config train/configs/layers/correspondence.yaml, or raise losses.warped_mask."
)
RISING = (
    "the {phase} loss is {rise:.1f} times its lowest: the run diverges. Go on from an older "
    "checkpoint or best/ with lower rates, optimizer.generator_lr and optimizer.discriminator_lr, "
    "or with optimizer.max_grad_norm=10."
)
WAITING = (
    "{share:.0%} of the time is spent waiting for data: raise data.workers, or make large photos "
    "smaller before the training."
)


class Watch:
    """Looks at what is logged and validated.

    total: steps of the run.
    """

    def __init__(self, total: int):
        self.total = total
        self._told: set[str] = set()
        self._sums: dict[str, list[float]] = {}
        self._logs = 0

    def losses(self, values: Mapping[str, float]) -> list[str]:
        """Warnings about training values, by the names of the log."""
        self._logs += 1
        found = []
        for phase, value in phase_sums(values).items():
            past = self._sums.setdefault(phase, [])
            past.append(value)
            if len(past) >= LOGS_TO_JUDGE:
                smooth = [median(past[end - 3 : end]) for end in range(3, len(past) + 1)]
                rise = smooth[-1] / max(min(smooth), 1e-3)
                if smooth[-1] > 1 and rise > RISE:
                    found.append(RISING.format(phase=phase, rise=rise))
        # The first steps start the loading processes.
        if self._logs > 1 and values.get("data_waiting_share", 0) > HUNGRY:
            found.append(WAITING.format(share=values["data_waiting_share"]))
        return self._new(found)

    def scores(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Warnings about a validation."""
        found = []
        exemplar = metrics.get("exemplar_l1")
        if exemplar is not None and exemplar < ALIKE:
            found.append(COPIED)
        elif (
            exemplar is not None
            and 3 * step > self.total
            and metrics["copy_score"] < 0.2 * exemplar
        ):
            found.append(COPIES.format(copy=metrics["copy_score"], exemplar=exemplar))
        if 3 * step <= self.total:  # what is too early to tell
            return self._new(found)
        if (variety := metrics.get("variety")) is not None and variety < 0.1:
            found.append(COLLAPSED.format(variety=variety))
        warped, unmoved = metrics.get("warp_accuracy"), metrics.get("identity_accuracy")
        if warped is not None and unmoved is not None and warped <= unmoved < 1:
            found.append(UNMATCHED.format(warped=warped, unmoved=unmoved))
        return self._new(found)

    def _new(self, found: list[str]) -> list[str]:
        """Those of a kind that has not been told yet."""
        new = {text[:24]: text for text in found if text[:24] not in self._told}
        self._told |= new.keys()
        return [f"warning: {text}" for text in new.values()]
