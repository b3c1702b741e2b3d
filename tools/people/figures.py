"""Somebody to draw: postures, clothes, and the figures of the demo's gallery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """Degrees of upper arm and forearm: 0 hangs down, 90 points away from the body.

    hand: whether it is seen; a hand in a pocket is not.
    """

    upper: float
    fore: float
    hand: bool = True


@dataclass(frozen=True)
class Leg:
    """Degrees as of an arm; `foot` is the way its toes point, `length` how long its shin looks."""

    thigh: float
    shin: float
    foot: float
    length: float = 1


@dataclass(frozen=True)
class Posture:
    """How somebody stands, in degrees; what is tilted sinks to the picture's right.

    arms, legs: right, left. lean: of the spine, tilt: of the head against it. turn: where the face
    looks, from -1, the picture's left, to 1. front: the leg that is before the other, "r" or "l".
    """

    arms: tuple[Arm, Arm]
    legs: tuple[Leg, Leg]
    lean: float = 0
    shoulders: float = 0
    hips: float = 0
    tilt: float = 0
    turn: float = 0
    front: str = "l"


@dataclass(frozen=True)
class Garment:
    """What covers trunk or legs.

    hem: the level where it ends. sleeve: where its sleeves end, from 0, none, to 2, the wrist.
    ease: how far it is from the body. flare: how much farther one level below the waist.
    neckline: the level of its lowest point.
    """

    hem: float
    sleeve: float = 0
    ease: float = 1.5
    flare: float = 0
    neckline: float = 0.2


@dataclass(frozen=True)
class Figure:
    """Somebody to draw.

    hair: "short", "bob", "long", "bun", "tail" or "curls". hat: "cap", "beanie" or "brim".
    tucked: whether the top is under skirt, shorts or trousers. opening: half the gap of the coat.
    heels: whether shoes are pumps. boot: the level up to which boots reach.
    bag: "hand" or "shoulder", both at the left, or "clutch", in the right hand.
    """

    posture: Posture
    hair: str
    hat: str | None = None
    glasses: bool = False
    scarf: bool = False
    top: Garment | None = None
    tucked: bool = True
    dress: Garment | None = None
    belt: bool = False
    coat: Garment | None = None
    opening: float = 8
    trousers: Garment | None = None
    shorts: Garment | None = None
    skirt: Garment | None = None
    heels: bool = False
    boot: float | None = None
    bag: str | None = None


FIGURES = (
    Figure(  # at ease
        Posture(
            arms=(Arm(9, 3), Arm(14, 6)),
            legs=(Leg(-1, -2, -12), Leg(9, 4, 38)),
            lean=-2, shoulders=-2, hips=-4, tilt=4, turn=0.4,
        ),
        hair="long",
        top=Garment(hem=0.8, sleeve=0.6, neckline=0.24),
        trousers=Garment(hem=2.9, ease=1, flare=0.3),
    ),
    Figure(  # arms akimbo
        Posture(
            arms=(Arm(42, -46), Arm(40, -44)),
            legs=(Leg(7, 3, -30), Leg(5, 5, 28)),
            lean=1, shoulders=1, hips=2, turn=-0.3,
        ),
        hair="bob",
        dress=Garment(hem=1.9, sleeve=0.55, flare=7),
        belt=True,
        heels=True,
    ),
    Figure(  # walking
        Posture(
            arms=(Arm(4, 12), Arm(22, 6)),
            legs=(Leg(1, -1, -8), Leg(6, -6, 6, length=0.84)),
            lean=1, shoulders=3, hips=-4, tilt=-2, turn=-0.5, front="r",
        ),
        hair="short",
        top=Garment(hem=0.9, neckline=0.1),
        coat=Garment(hem=1.8, sleeve=1.95, ease=4, flare=5),
        opening=12,
        trousers=Garment(hem=2.85, ease=1.4),
    ),
    Figure(  # waving
        Posture(
            arms=(Arm(10, 6), Arm(125, 170)),
            legs=(Leg(4, 2, -22), Leg(4, 1, 28)),
            lean=-3, shoulders=-6, hips=3, tilt=-3, turn=0.3,
        ),
        hair="bun",
        glasses=True,
        top=Garment(hem=0.75, sleeve=0.5),
        skirt=Garment(hem=2.5, flare=8),
    ),
    Figure(  # a step to the side
        Posture(
            arms=(Arm(20, 10), Arm(17, 24)),
            legs=(Leg(3, 0, -15), Leg(16, 13, 46)),
            lean=-2, shoulders=2, hips=-3, tilt=4, turn=0.6,
        ),
        hair="curls",
        top=Garment(hem=1.05, sleeve=0.7, ease=3),
        tucked=False,
        shorts=Garment(hem=1.6, ease=3, flare=3),
        bag="shoulder",
    ),
    Figure(  # legs crossed, a hand on the hip
        Posture(
            arms=(Arm(12, -12), Arm(40, -48)),
            legs=(Leg(-8, -15, -4), Leg(-5, -10, 2)),
            lean=2, shoulders=-3, hips=3, tilt=-5, turn=-0.6, front="r",
        ),
        hair="tail",
        top=Garment(hem=0.9, neckline=0.14),
        coat=Garment(hem=1.15, sleeve=1.9, ease=3.5),
        trousers=Garment(hem=2.9, ease=0.6),
        boot=2.7,
    ),
    Figure(  # hands in pockets
        Posture(
            arms=(Arm(26, -25, hand=False), Arm(28, -27, hand=False)),
            legs=(Leg(5, 3, -30), Leg(6, 4, 32)),
            shoulders=1, tilt=2, turn=0.3,
        ),
        hair="short",
        hat="beanie",
        scarf=True,
        top=Garment(hem=1, sleeve=1.9, ease=3, neckline=0.1),
        coat=Garment(hem=1.65, sleeve=2, ease=5, flare=3),
        opening=7,
        trousers=Garment(hem=2.85, ease=2),
    ),
    Figure(  # a hand on the hip
        Posture(
            arms=(Arm(44, -48), Arm(10, 4)),
            legs=(Leg(9, 5, -35), Leg(0, -2, 12)),
            lean=2, shoulders=4, hips=-5, tilt=-4, turn=0.5,
        ),
        hair="long",
        hat="brim",
        dress=Garment(hem=1.65, flare=5, neckline=0.28),
        boot=2.25,
        bag="hand",
    ),
    Figure(  # legs apart
        Posture(
            arms=(Arm(12, 4), Arm(16, 2)),
            legs=(Leg(10, 8, -36), Leg(10, 7, 34)),
            shoulders=-1, turn=-0.2,
        ),
        hair="short",
        glasses=True,
        top=Garment(hem=1.1, sleeve=1.9, ease=3, neckline=0.12),
        tucked=False,
        trousers=Garment(hem=2.9, ease=2.2),
    ),
    Figure(  # holding something before the body
        Posture(
            arms=(Arm(14, -72), Arm(11, 4)),
            legs=(Leg(1, -3, -6), Leg(7, 2, 30)),
            lean=-1, shoulders=2, hips=-3, tilt=3, turn=-0.4,
        ),
        hair="bob",
        glasses=True,
        top=Garment(hem=0.9, neckline=0.24),
        coat=Garment(hem=1, sleeve=1.7, ease=3),
        skirt=Garment(hem=1.9, ease=1),
        heels=True,
        bag="clutch",
    ),
    Figure(  # a hand in the hair
        Posture(
            arms=(Arm(112, 236), Arm(14, 0)),
            legs=(Leg(6, 2, -25), Leg(1, -1, 16)),
            lean=3, shoulders=5, hips=4, tilt=-8, turn=-0.4, front="r",
        ),
        hair="long",
        dress=Garment(hem=2.85, flare=8, neckline=0.24),
        heels=True,
    ),
    Figure(  # strolling
        Posture(
            arms=(Arm(16, 10), Arm(6, -16)),
            legs=(Leg(5, -7, -10, length=0.82), Leg(0, 1, 10)),
            lean=-1, shoulders=-3, hips=4, turn=0.5,
        ),
        hair="tail",
        hat="cap",
        top=Garment(hem=1, sleeve=1.95, ease=3, neckline=0.12),
        tucked=False,
        trousers=Garment(hem=2.95, ease=0.3),
        skirt=Garment(hem=1.4, flare=5),
        boot=2.75,
        bag="hand",
    ),
)  # fmt: skip
