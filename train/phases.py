"""The updates of a training step: `phase(*names)` is all that a system sees of the trainer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cocosnet_hf.systems import Networks, System, Terms

from .mistakes import Diverged

DIVERGED = (
    "step {step} diverged: {broken}. Lower optimizer.generator_lr and "
    "optimizer.discriminator_lr, or set optimizer.max_grad_norm, and go on with --resume latest; "
    "or start again with lower weights of the losses."
)


class Phases:
    """Opens each phase of a step and makes its update, see `cocosnet_hf.systems.Phase`.

    prepared: the networks that are trained, as accelerate wraps them. optimizers: theirs.
    max_grad_norm: to which the gradient of all networks of a phase is cut.

    values: of the last batch's terms, by phase and name. A phase is known by its number within the
    step: over the batches of a step it gathers gradients of its own, whichever other phases train
    the same networks, and in float16 it has a scale of its own.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        system: System,
        prepared: Networks,
        optimizers: Mapping[str, torch.optim.Optimizer],
        max_grad_norm: float | None,
    ):
        self.accelerator, self.system = accelerator, system
        self.prepared, self.optimizers = prepared, optimizers
        self.max_grad_norm = float("inf") if max_grad_norm is None else max_grad_norm
        self.step, self.unit, self.share = 0, 0, 0.0
        self.values: dict[str, Tensor] = {}
        self._number = 0
        self._gathered: dict[int, dict[nn.Parameter, Tensor]] = {}
        self._scalers: dict[int, torch.amp.GradScaler] = {}
        self._scales: dict[int, dict[str, Any]] = {}

    def begin_step(self, step: int, unit: int, share: float) -> None:
        """Before the batches of a step. unit, share: see `Phase`."""
        self.step, self.unit, self.share = step, unit, share
        self.values = {}

    def begin_batch(self) -> None:
        """Before the phases of a batch."""
        self._number = 0

    @contextmanager
    def __call__(self, *names: str, name: str | None = None) -> Iterator[tuple[Networks, Terms]]:
        """See `Phase`."""
        networks = self.system.networks
        if unknown := [one for one in names if one not in networks]:
            raise ValueError(f"a phase trains {unknown}, the system has {', '.join(networks)}.")
        number, self._number = self._number, self._number + 1
        trained = [one for one in names if one in self.prepared]
        still = [
            parameter
            for one, network in networks.items()
            if one not in trained
            for parameter in network.parameters()
            if parameter.requires_grad
        ]
        nets = {one: self.prepared[one] if one in trained else networks[one] for one in networks}
        for parameter in still:  # which passes gradients on and collects none
            parameter.requires_grad_(False)
        terms: Terms = {}
        try:
            with self.accelerator.autocast():
                yield nets, terms
            if terms:
                self._update(number, trained, name or "+".join(names), terms)
        finally:
            for parameter in still:
                parameter.requires_grad_(True)

    def _update(self, number: int, trained: list[str], name: str, terms: Terms) -> None:
        """Add up the gradients, and after the last batch of a step let the optimisers go."""
        for parameter, gradient in self._gathered.pop(number, {}).items():
            parameter.grad = gradient
        scaler = self._scaler(number)
        loss = sum(terms.values()) / self.accelerator.gradient_accumulation_steps
        (loss if scaler is None else scaler.scale(loss)).backward()
        values = {f"{name}/{term}": value.detach() for term, value in terms.items()}
        parameters = [p for one in trained for p in self.system.networks[one].parameters()]
        parameters = [parameter for parameter in parameters if parameter.grad is not None]
        if not self.accelerator.sync_gradients:
            gradients = ((parameter, parameter.grad) for parameter in parameters)
            self._gathered[number] = {one: given for one, given in gradients if given is not None}
            for parameter in parameters:
                parameter.grad = None
        else:
            values |= self._step(scaler, trained, name, parameters, values)
        self.values |= values

    def _step(
        self,
        scaler: torch.amp.GradScaler | None,
        trained: list[str],
        name: str,
        parameters: list[nn.Parameter],
        values: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        learning = set(parameters)
        optimizers = [
            optimizer
            for optimizer in (self.optimizers[one] for one in trained)
            if any(p in learning for group in optimizer.param_groups for p in group["params"])
        ]
        if scaler is not None:
            for optimizer in optimizers:
                scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        # A scaler leaves out the steps whose gradient overflowed.
        norms = {f"{name}/gradient_norm": norm} if scaler is None else {}
        self._require_finite({**values, **norms})
        for optimizer in optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
            optimizer.zero_grad()
        if scaler is not None:
            scaler.update()
        return norms

    def _require_finite(self, values: Mapping[str, Tensor]) -> None:
        """Before a step: what is lost by it would be lost in the averages too."""
        if torch.stack(list(values.values())).isfinite().all():
            return
        named = {name: value.item() for name, value in values.items()}
        broken = [f"{name} = {value}" for name, value in named.items() if not isfinite(value)]
        raise Diverged(DIVERGED.format(step=self.step, broken=", ".join(broken)))

    def _scaler(self, number: int) -> torch.amp.GradScaler | None:
        if self.accelerator.scaler is None:
            return None
        if number not in self._scalers:
            self._scalers[number] = torch.amp.GradScaler(self.accelerator.device.type)
            if state := self._scales.get(number):
                self._scalers[number].load_state_dict(state)
        return self._scalers[number]

    def state_dict(self) -> dict[int, dict[str, Any]]:
        """The scale of each phase; none without float16."""
        return self._scales | {one: scaler.state_dict() for one, scaler in self._scalers.items()}

    def load_state_dict(self, state: Mapping[int, dict[str, Any]]) -> None:
        """Go on from a `state_dict`, with the next use of each phase."""
        self._scales, self._scalers = dict(state), {}
