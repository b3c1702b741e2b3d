"""Pictures of the page in every state, to be looked at: nothing is compared.

    python -m tests.support.screens out/screens --sizes 1440 390 --schemes dark --tabs mask-to-image

Starts `demo/app.py`, with the bundled models, or takes one that runs (`--address`).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page
from skimage import data

from tests.support.browsing import be_live, drag, opened_at, result, started, upload
from tests.support.load_demo import free_port
from tests.support.load_demo import started as served

SIZES = {1920: 1080, 1440: 900, 1024: 768, 768: 1024, 390: 844}
"""Widths and heights of the window, in pixels."""

SCHEMES = ("light", "dark")
TABS = ("mask-to-image", "mask-to-landscape", "layers", "edge-to-face", "pose-to-body")
PATIENCE = 60_000


def settled(page: Page, tab: str) -> None:
    """Wait for the picture of the last change."""
    page.wait_for_timeout(400)
    fresh = f"#{tab}-result .result[data-state=fresh]"
    page.locator(fresh).wait_for(timeout=PATIENCE)
    page.wait_for_timeout(300)


def first(page: Page, tab: str) -> None:
    page.wait_for_timeout(2500 if tab == "layers" else 300)


def pinned(page: Page, tab: str) -> None:
    box = result(page, tab).bounding_box()
    for x, y in ((0.4, 0.2), (0.6, 0.4), (0.5, 0.7)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def sure(page: Page, tab: str) -> None:
    page.locator(f"#{tab}-result [data-view=sure]").click()


def another(page: Page, tab: str) -> None:
    """Several looks and layouts one after another: the strip of what was painted."""
    for place in (3, 5):
        page.locator(f"#{tab}-gallery button.thumbnail-item").nth(place).click()
        settled(page, tab)
    page.locator(f"#{tab}-examples button.thumbnail-item").nth(2).click()
    settled(page, tab)
    page.evaluate("window.scrollTo(0, 0)")


def stale(page: Page, tab: str) -> None:
    be_live(page, tab, False)
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(4).click()
    page.locator(f"#{tab}-result .result[data-state=stale]").wait_for()
    page.evaluate("window.scrollTo(0, 0)")


def problem(page: Page, tab: str) -> None:
    page.locator(f"#{tab}-canvas [data-do=clear]").click()
    page.locator(f"#{tab}-paint").click()
    page.locator(".toast-body").wait_for()


def refused(page: Page, tab: str) -> None:
    path = Path("/tmp/notes.png")
    path.write_text("not a picture")
    upload(page, f"#{tab}-exemplar-upload", path)
    page.get_by_role("alert").wait_for()


def own_photo(page: Page, tab: str) -> None:
    path = Path("/tmp/plain.png")
    photo = Image.new("RGB", (400, 500), "#7799aa")
    ImageDraw.Draw(photo).ellipse((100, 100, 300, 360), "#ddbb99")
    photo.save(path)
    upload(page, f"#{tab}-exemplar-upload", path)
    settled(page, tab)
    page.evaluate("window.scrollTo(0, 0)")


def makeup(page: Page, tab: str) -> None:
    first(page, tab)
    drag(page, page.locator(f"#{tab}-canvas canvas"), (0.35, 0.6), (0.6, 0.62))
    page.wait_for_timeout(400)


def held(page: Page, tab: str) -> None:
    first(page, tab)
    page.locator(f"#{tab}-results .hold").nth(1).hover()
    page.mouse.down()


def portrait(page: Page, tab: str) -> None:
    """Another portrait, of the visitor's, in which a face is looked for."""
    first(page, tab)
    path = Path("/tmp/portrait.png")
    Image.fromarray(data.astronaut()).save(path)
    upload(page, f"#{tab}-upload", path)
    page.wait_for_timeout(4000)


def hover(page: Page, tab: str) -> None:
    box = result(page, tab).bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.4 * box["height"])
    page.wait_for_timeout(200)


def painting(page: Page, tab: str) -> None:
    page.route("**/queue/data*", lambda _: None)  # no answer
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(4).click()
    page.locator(f"#{tab}-paint").click()
    page.wait_for_timeout(1500)
    page.evaluate("window.scrollTo(0, 0)")


def large(page: Page, tab: str) -> None:
    path = Path("/tmp/large.jpg")
    if not path.exists():
        Image.fromarray(data.astronaut()).resize((6000, 6000)).save(path)
    upload(page, f"#{tab}-exemplar-upload", path)
    page.wait_for_timeout(3000)
    settled(page, tab)
    page.evaluate("window.scrollTo(0, 0)")


def second(page: Page, tab: str) -> None:
    page.locator(f"#{tab}-second-look button").first.click()
    page.locator(f"#{tab}-second-gallery button.thumbnail-item").nth(5).click()
    settled(page, tab)
    page.locator(f"#{tab}-second-look").scroll_into_view_if_needed()


def stroke(page: Page, tab: str) -> None:
    """Where the visitor is just after a stroke, or the move of a joint."""
    if tab == "pose-to-body":
        joint = page.locator(f"#{tab}-pose [data-joint='4']")
        drag(page, joint, (0.5, 0.5), (4, -4))
    else:
        drag(page, page.locator(f"#{tab}-canvas canvas"), (0.2, 0.5), (0.8, 0.6))
    settled(page, tab)


def undone(page: Page, tab: str) -> None:
    stroke(page, tab)
    editor = "pose" if tab == "pose-to-body" else "canvas"
    page.locator(f"#{tab}-{editor} [data-do=undo]").click()
    settled(page, tab)


def edited(page: Page, tab: str) -> None:
    page.locator(f"#{tab}-edit").click()
    settled(page, tab)
    if tab != "pose-to-body":
        drag(page, page.locator(f"#{tab}-canvas canvas"), (0.2, 0.5), (0.8, 0.6))
        settled(page, tab)


def linked(page: Page, tab: str) -> None:
    page.evaluate(f"location.hash = '{tab}?layout=3&look=4'")
    settled(page, tab)


def end(page: Page, tab: str) -> None:
    """The lower end of the page, after some pictures."""
    if tab != "layers":
        another(page, tab)
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_timeout(300)


def joints(page: Page, tab: str) -> None:
    page.locator(f"#{tab}-joints button").first.click()
    page.locator(f"#{tab}-joints").scroll_into_view_if_needed()
    page.wait_for_timeout(500)


STATES: dict[str, Callable[[Page, str], None]] = {
    "first": first,
    "pinned": pinned,
    "sure": sure,
    "another": another,
    "stale": stale,
    "problem": problem,
    "refused": refused,
    "own-photo": own_photo,
    "makeup": makeup,
    "held": held,
    "portrait": portrait,
    "hover": hover,
    "painting": painting,
    "large": large,
    "second": second,
    "stroke": stroke,
    "undone": undone,
    "edited": edited,
    "linked": linked,
    "joints": joints,
    "end": end,
}

MAKEUP_ONLY = {"makeup", "held", "portrait"}


def states_of(tab: str) -> list[str]:
    if tab == "layers":
        return ["first", *(state for state in STATES if state in MAKEUP_ONLY), "end"]
    left_out = MAKEUP_ONLY | (set() if tab.startswith("mask") else {"second"})
    left_out |= {"problem"} if tab == "pose-to-body" else {"joints"}
    return [state for state in STATES if state not in left_out]


def screens(browser: Browser, address: str, options: argparse.Namespace) -> None:
    for width in options.sizes:
        for scheme in options.schemes:
            for tab in options.tabs:
                for state in options.states or states_of(tab):
                    if state not in states_of(tab):
                        continue
                    context = browser.new_context(
                        viewport={"width": width, "height": SIZES[width]},
                        color_scheme=scheme,
                        has_touch=width <= 768,
                        is_mobile=width <= 768,
                    )
                    page = opened_at(context.new_page(), address)
                    page.evaluate(f"location.hash = '{tab}'")
                    page.locator(f"#{tab}-canvas .stage, #{tab}-pose .stage").first.wait_for()
                    STATES[state](page, tab)
                    name = f"{width}-{scheme}-{tab}-{state}"
                    page.screenshot(path=options.folder / f"{name}.png", full_page=options.whole)
                    print(name, *page.complaints, flush=True)
                    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", help="of a page that runs; by default one is started")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES), choices=SCHEMES)
    parser.add_argument("--tabs", nargs="+", default=list(TABS), choices=TABS)
    parser.add_argument("--states", nargs="+", choices=list(STATES))
    parser.add_argument("--whole", action="store_true", help="the page to its end, not the window")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = None if options.address else served(port)[0]
    try:
        with started() as browser:
            screens(browser, options.address or f"http://127.0.0.1:{port}", options)
    finally:
        if server is not None:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
