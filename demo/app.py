"""Paint, draw or pose; choose a look; see the picture and where each part of it came from.

    python demo/app.py
    python demo/app.py --edge-to-face user/repo --port 7861

Runs on the bundled pipelines, or on others by folder or Hub id, which the environment variables
COCOSNET_MASK_TO_IMAGE, COCOSNET_MASK_TO_LANDSCAPE, COCOSNET_EDGE_TO_FACE and COCOSNET_POSE_TO_BODY
name as well; COCOSNET_PIPELINE names one that takes the tab of its condition. `demo` is the page,
for gradio.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it when it is imported

import gradio as gr  # noqa: E402
from studio.api import endpoints  # noqa: E402
from studio.edge_tab import edge_tab  # noqa: E402
from studio.gallery import gallery_of  # noqa: E402
from studio.layer_tab import layer_tab  # noqa: E402
from studio.limits import (  # noqa: E402
    AT_ONCE,
    MOST_WAITING,
    in_browser,
    limits,
    refuse_addresses,
)
from studio.mask_tab import dresses, mask_tab  # noqa: E402
from studio.memory import give_memory_back  # noqa: E402
from studio.page import PRIVATE  # noqa: E402
from studio.painters import (  # noqa: E402
    TABS,
    Painter,
    missing_model,
    named_in_environment,
    open_painters,
)
from studio.pose_tab import pose_tab  # noqa: E402

TITLE = "One picture's look on your own drawing"
NAME = f"CoCosNet: {TITLE}"
WHAT = (
    "Paint, draw or pose; choose a look; see the picture, and where in the look each part of it "
    "came from."
)
CONTENT = {
    "mask-to-image": ("Dress a figure", "Mask to image", mask_tab),
    "layers": ("Makeup", "Layers from face to face", layer_tab),
    "mask-to-landscape": ("Paint a landscape", "Mask to landscape", mask_tab),
    "edge-to-face": ("Draw a face", "Edge to face", edge_tab),
    "pose-to-body": ("Pose a person", "Pose to body", pose_tab),
}
"""Each tab's name for people, what its model does, and its content."""

PAINTED_BY = {"layers": "edge-to-face"}
"""The pipeline of a tab that has none of its own."""

CSS = [Path(__file__).parent / "studio" / name for name in ("style.css", "editors.css")]
ICON = Path(__file__).parent / "studio" / "icon.svg"
THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    font=["ui-sans-serif", "system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)


class Studio(gr.Blocks):
    """A page that launches with its own look and limits, whoever launches it."""

    models: Sequence[str] = ()

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *rest: Any, **more: Any
    ) -> Any:
        """As in gradio, which would fetch files from any address that a client names."""
        refuse_addresses(inputs)
        return await super().preprocess_data(block_fn, inputs, *rest, **more)

    def launch(self, *args: Any, **settings: Any) -> Any:
        """As in gradio; see `limits` for what is set here."""
        give_memory_back()
        look = {"theme": THEME, "css_paths": CSS, "head": in_browser(), "favicon_path": ICON}
        return super().launch(*args, **(limits(NAME, WHAT, self.models) | look | settings))


def build(painters: Mapping[str, Painter | None]) -> Studio:
    """The page, for a painter or None for each of `TABS`."""
    with Studio(title=NAME, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(
            f"<h1>{TITLE}</h1><p>{WHAT}</p>",
            apply_default_css=False,
            elem_id="title",
        )
        with gr.Tabs(elem_id="tabs"):
            for tab, (name, job, content) in CONTENT.items():
                model = PAINTED_BY.get(tab, tab)
                painter = painters[model]
                if tab == "mask-to-image" and painter and not dresses(painter.condition):
                    name = job
                with gr.Tab(name, id=tab) as opened:
                    gr.HTML(f"<h2>{job}</h2>", apply_default_css=False, elem_classes="job")
                    if painter is None:
                        gr.Markdown(missing_model(model), elem_classes="absent")
                    else:
                        content(tab, painter, gallery_of(model, painter.condition))
                opened.select(None, js=f"() => studio.tab('{tab}')", **PRIVATE)
        endpoints(painters)
    page.models = [tab for tab, painter in painters.items() if painter is not None]
    page.queue(max_size=MOST_WAITING, default_concurrency_limit=AT_ONCE)
    return page


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for tab in TABS:
        parser.add_argument(f"--{tab}", metavar="FOLDER_OR_HUB_ID", help=f"pipeline of {tab}")
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for other machines")
    parser.add_argument("--port", type=int)
    return parser.parse_args(arguments)


options = read_options(None if __name__ == "__main__" else [])
given = {tab: getattr(options, tab.replace("-", "_")) for tab in TABS}
demo = build(
    open_painters(named_in_environment() | {tab: name for tab, name in given.items() if name})
)

if __name__ == "__main__":
    demo.launch(server_name=options.host, server_port=options.port)
