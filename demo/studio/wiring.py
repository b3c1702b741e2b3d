"""How the columns of a tab are wired: what paints, what is stale, what is brought back."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from .correspondence import pairs_of, takes_points
from .first_sight import first_sight
from .gallery import Exhibit, Gallery
from .inputs import explained, read_photo
from .moments import example_of, index_in, number_for
from .page import (
    EACH,
    LAST,
    PAINTING,
    PRIVATE,
    RAW,
    ExemplarColumn,
    ExemplarCondition,
    Layout,
    at_once,
)
from .painters import Painter
from .result import (
    Result,
    as_address,
    as_data,
    as_file,
    asked_of,
    board_value,
    look_of,
    wants_draft,
)
from .second_look import SecondLook, classes_of, regions_of

QUEUED: dict[str, Any] = {"show_progress": "minimal"}
"""Painting: how many wait before is told; what is stale dims itself, see `result.js`."""

SAME = 0.995
"""From this score on a picture's condition is the layout itself."""


def wire(
    painter: Painter,
    gallery: Gallery,
    layout: Layout,
    look: ExemplarColumn,
    result: Result,
    own: ExemplarCondition,
    second: SecondLook | None = None,
) -> None:
    """Connect the three columns of a tab, whose first sight is a painted picture.

    second: where a tab offers one, which has no own condition of the exemplar then.
    """
    result.strength.visible = takes_points(painter.pipe)
    result.board.value = first_sight(result.tab, painter, gallery)
    further = second.parts if second else own.parts
    changing: list[Any] = [layout.editor, look.exemplar, look.keep, result.strength, *further]
    everything = [result.board, *changing]

    @explained
    def paint(
        sent: dict[str, Any] | None,
        value: dict[str, Any] | None,
        file: dict[str, Any] | None,
        keep: bool,
        strength: float,
        *values: Any,
    ) -> dict[str, Any]:
        condition, photo = layout.read(value), read_photo(file, "look", tells=False)
        exhibit = gallery.find(photo)
        known = own.read(*values) if own.parts else exhibit and exhibit.condition
        looks = [Exhibit(photo, known)]
        entries: dict[str, Any] = {"layout": example_of(value), "look": gallery.index_of(photo)}
        knobs: dict[str, Any] = {}
        if second and values[0]:
            other, classes = read_photo(values[0], "second look", tells=False), values[1] or []
            found = gallery.find(other)
            looks.append(Exhibit(other, found and found.condition))
            knobs = {"second": looks[1], "regions": regions_of(condition, classes)}
            entries |= {"second": gallery.index_of(other), "taken": ".".join(map(str, classes))}
        if takes_points(painter.pipe):
            pictures = [one.picture for one in looks]
            knobs |= {"strength": strength, "points": pairs_of(sent, look_of(*pictures))}
        if not keep and wants_draft(sent) and takes_points(painter.pipe):
            picture = painter.draft(condition, photo, known, **knobs)
            image = as_data(picture, "picture.jpg")
            return {"draft": True, "asked": asked_of(sent), "image": image}
        before = layout.began(value) if keep else None
        painting = painter.paint(condition, photo, known, before, **knobs)
        shown = board_value(painting, painter, condition, looks, as_address)
        entries |= {"keep": 1} if keep else {}
        link = {name: entry for name, entry in entries.items() if entry is not None}
        return shown | {"asked": asked_of(sent), "link": link, "painted": told(link)}

    def press(sent: dict[str, Any] | None, *values: Any) -> dict[str, Any]:
        """Who presses a button wants the picture itself."""
        return paint((sent or {}) | {"draft": False}, *values)

    def follow(sent: dict[str, Any] | None, *values: Any) -> dict[str, Any]:
        """Without a message over the page, since nobody pressed a button."""
        try:
            return paint(sent, *values)
        except gr.Error as error:
            return {"asked": asked_of(sent), "problem": html.unescape(error.message)}

    # What comes while one is painted replaces the one that waits.
    settings = LAST | RAW | PAINTING | QUEUED
    for trigger, painted in ((result.paint.click, press), (result.board.input, follow)):
        done = trigger(painted, everything, result.board, **settings)
        done.failure(**result.tells("failed"), **PRIVATE)
    for part in changing:
        part.change(**result.tells("stale"), **PRIVATE)
    result.live.change(lambda on: gr.HTML(live=on), result.live, layout.editor, **PRIVATE)
    result.live.change(**result.tells("live"), **PRIVATE)

    def start(event: gr.SelectData, *values: Any) -> Any:
        made = layout.example(event.index, *values)
        return made if len(made) > 1 else made[0]  # as gradio takes what is of one part

    picked = PRIVATE | EACH
    started = layout.examples.select(start, layout.settings, layout.parts, **picked)

    def chosen(index: int) -> list[Any]:
        exhibit = gallery[index]
        return [as_file(exhibit.picture), False, *own.offer(exhibit)]

    @explained
    def suggest(value: dict[str, Any] | None) -> tuple:
        found = gallery.best(layout.query(value))
        labelled = [(gallery[match.index].picture, f"{match.score:.0%}") for match in found]
        # The layout's own picture is no answer to who else could wear it.
        best = next((n for n, match in enumerate(found) if match.score < SAME), 0)
        return (
            gr.Gallery(labelled, selected_index=best),
            [match.index for match in found],
            gr.Button(visible=True),
            *chosen(found[best].index),
        )

    def unsort(file: dict[str, Any] | None) -> tuple:
        return in_first_order(gallery.index_of(read_photo(file, "look")) if file else None)

    def in_first_order(index: int | None) -> tuple:
        return (
            gr.Gallery(gallery.pictures, selected_index=index),
            list(range(len(gallery))),
            gr.Button(visible=False),
        )

    def choose(order: list[int], event: gr.SelectData) -> list[Any]:
        return chosen(order[event.index])

    choice = [look.exemplar, look.keep, *own.parts]
    shown = [look.picker, look.order, look.unsort]
    look.suggest.click(suggest, layout.editor, [*shown, *choice], **RAW)
    look.unsort.click(unsort, look.exemplar, shown, **RAW)
    look.picker.select(choose, look.order, choice, **picked)
    # In the browser: an answer of the server's could come after the visitor's own choice.
    unkept: dict[str, Any] = {"fn": None, "outputs": look.keep, "js": "() => false", **PRIVATE}
    look.exemplar.upload(**unkept)
    # Of these the exemplar is no picture.
    for load in (started, *layout.loads, look.uploaded):
        load.success(**unkept)
    # And these are no example.
    others: list[Callable[..., Any]] = [look.edit.click, *(load.success for load in layout.loads)]
    for other in others:
        other(outputs=layout.examples, **at_once({"selected_index": None}))

    numbers = {"strength": result.strength} | layout.numbers

    @explained
    def bring_back(sent: dict[str, Any] | None, *values: Any) -> list[Any]:
        """What a link or an entry of the strip asks for; what it does not tell of stays."""
        sent = sent or {}
        given: dict[gr.components.Component, float] = {
            slider: number
            for name, slider in numbers.items()
            if (number := number_for(sent.get(name), slider)) is not None
        }
        parts = [gr.skip()] * len(layout.parts)
        layout_index = index_in(sent.get("layout"), len(gallery))
        if layout_index is not None:
            wanted = zip(layout.settings, values, strict=True)
            parts = layout.example(layout_index, *(given.get(part, own) for part, own in wanted))
        if isinstance(sent.get("editor"), dict):
            parts = [*parts[:-1], sent["editor"]]
        shown_looks, exemplar = [gr.skip()] * len(shown), [gr.skip()] * len(choice)
        look_index = index_in(sent.get("look"), len(gallery))
        if look_index is not None:
            shown_looks, exemplar = list(in_first_order(look_index)), chosen(look_index)
        elif sent.get("photo"):
            exemplar[0] = as_file(read_photo(sent["photo"], "look"))
            shown_looks = list(in_first_order(None))
        exemplar[1] = bool(sent.get("keep"))
        return [
            *parts,
            gr.Gallery(selected_index=layout_index),
            *shown_looks,
            *exemplar,
            *(given.get(slider, gr.skip()) for slider in numbers.values()),
            *(bring_second(sent, second) if second else ()),
        ]

    def bring_second(sent: dict[str, Any], second: SecondLook) -> tuple:
        index = index_in(sent.get("second"), len(gallery))
        if index is None and not sent.get("second_photo"):
            return second.left_out()
        photo = gallery[index].picture if index is not None else None
        photo = photo or read_photo(sent["second_photo"], "second look")
        classes = classes_of(sent.get("taken"), second)
        return second.shown(photo, classes, index)

    brought = [*layout.parts, layout.examples, *shown, *choice, *numbers.values()]
    brought += second.outputs if second else []
    asked = [result.moments, *layout.settings]
    back = result.moments.input(bring_back, asked, brought, **(LAST | RAW))
    back.success(**result.tells("again"), **PRIVATE)
    back.failure(**result.tells("failed"), **PRIVATE)


def told(link: Mapping[str, Any]) -> str:
    """What was painted, in words, for those who hear the page."""
    layout = f"example {link['layout'] + 1}" if "layout" in link else "your own drawing"
    look = f"look {link['look'] + 1}" if "look" in link else "your photo"
    return f"{layout}, with {look}" + (" and a second look" if "taken" in link else "")
