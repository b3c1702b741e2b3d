"""Names and colours of the classes of published data sets, in the order of their label maps."""

from __future__ import annotations

from ..conditions import MaskCondition


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


CITYSCAPES = tuple(
    entry.rsplit(" ", 1)
    for entry in _names(
        """unlabeled 000000, ego vehicle 000001, rectification border 000002, out of roi 000003,
        static 000004, dynamic 6f4a00, ground 510051, road 804080, sidewalk f423e8,
        parking faaaa0, rail track e6968c, building 464646, wall 66669c, fence be9999,
        guard rail b4a5b4, bridge 966464, tunnel 96785a, pole 999999, polegroup 99999a,
        traffic light faaa1e, traffic sign dcdc00, vegetation 6b8e23, terrain 98fb98, sky 4682b4,
        person dc143c, rider ff0000, car 00008e, truck 000046, bus 003c64, caravan 00005a,
        trailer 00006e, train 005064, motorcycle 0000e6, bicycle 770b20"""
    )
)
"""(name, rrggbb) of labelIds 0..33. Several are published as one colour (black, the two poles); a
colour names one class, so these differ by a step here."""

CITYSCAPES_TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The labelIds of labelTrainIds 0..18."""

COCO_STUFF = _names(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, street sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow,
    elephant, bear, zebra, giraffe, hat, backpack, umbrella, shoe, eye glasses, handbag, tie,
    suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
    skateboard, surfboard, tennis racket, bottle, plate, wine glass, cup, fork, knife, spoon, bowl,
    banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, mirror, dining table, window, desk, toilet, door, tv, laptop, mouse, remote,
    keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase,
    scissors, teddy bear, hair drier, toothbrush, hair brush, banner, blanket, branch, bridge,
    building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth,
    clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble,
    floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit,
    furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal,
    mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic,
    platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea,
    shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table,
    tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel,
    wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood"""
)
"""Of the pixel values 0..181 of stuffthingmaps: 91 things, 91 stuffs."""

CLOTHED_PEOPLE = _names(
    """background, hat, hair, glove, sunglasses, upper_clothes, dress, coat, socks, pants,
    jumpsuits, scarf, skirt, face, left_arm, right_arm, left_leg, right_leg, left_shoe,
    right_shoe"""
)
"""LIP's 20 classes, in which VITON's people are parsed."""

CLOTHED_SIDES = ((14, 15), (16, 17), (18, 19))


def cityscapes(trained: bool) -> MaskCondition:
    """The classes of Cityscapes: of labelTrainIds, or of labelIds with all of theirs."""
    if not trained:
        names, colors = zip(*CITYSCAPES, strict=True)
        return MaskCondition(names, tuple(f"#{color}" for color in colors), values={255: 0})
    names, colors = zip(*(CITYSCAPES[label] for label in CITYSCAPES_TRAINED), strict=True)
    last = len(names)
    return MaskCondition(
        (*names, "unlabeled"),
        (*(f"#{color}" for color in colors), "#000000"),
        values={255: last},
    )


def coco_stuff(names: tuple[str, ...] = COCO_STUFF) -> MaskCondition:
    """The classes of COCO-Stuff, and one for what has no label (255)."""
    return MaskCondition((*names, "unlabeled"), values={255: len(names)})
