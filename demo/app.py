"""Paint, draw or pose; choose a look; see the picture and where each part of it came from.

    python demo/app.py
    python demo/app.py --edge-to-face user/repo --port 7861

Runs on the bundled pipelines, or on others by folder or Hub id, which the environment variables
COCOSNET_MASK_TO_IMAGE, COCOSNET_EDGE_TO_FACE and COCOSNET_POSE_TO_BODY name as well;
COCOSNET_PIPELINE names one that takes the tab of its condition. `demo` is the page, for gradio.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it when it is imported

import gradio as gr  # noqa: E402
from studio.api import endpoints  # noqa: E402
from studio.edge_tab import edge_tab  # noqa: E402
from studio.gallery import gallery_of  # noqa: E402
from studio.layer_tab import layer_tab  # noqa: E402
from studio.limits import give_memory_back, limits, refuse_addresses  # noqa: E402
from studio.mask_tab import mask_tab  # noqa: E402
from studio.painters import (  # noqa: E402
    TABS,
    Painter,
    missing_model,
    named_in_environment,
    open_painters,
)
from studio.pose_tab import pose_tab  # noqa: E402

TITLE = "One image's look on another image's layout"
NO_LAYERS = "A layer follows a matching, and the model of Edge to face paints without one."
CONTENT = {
    "mask-to-image": ("Mask to image", mask_tab),
    "edge-to-face": ("Edge to face", edge_tab),
    "pose-to-body": ("Pose to body", pose_tab),
}
THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    font=["ui-sans-serif", "system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)


class Studio(gr.Blocks):
    """A page that launches with its own look and limits, whoever launches it."""

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *rest: Any, **more: Any
    ) -> Any:
        """As in gradio, which would fetch files from any address that a client names."""
        refuse_addresses(inputs)
        return await super().preprocess_data(block_fn, inputs, *rest, **more)

    def launch(self, *args: Any, **settings: Any) -> Any:
        """As in gradio; see `limits` for what is set here."""
        give_memory_back()
        look = {"theme": THEME, "css_paths": Path(__file__).parent / "studio" / "style.css"}
        return super().launch(*args, **(limits() | look | settings))


def build(painters: Mapping[str, Painter | None]) -> Studio:
    """The page, for a painter or None for each of `TABS`."""
    with Studio(
        title=f"CoCosNet: {TITLE}", analytics_enabled=False, delete_cache=(600, 3600)
    ) as page:
        gr.HTML(
            f"<h1>{TITLE}</h1><p>Paint, draw or pose a layout, choose an exemplar, and see the "
            "picture, and where in the exemplar each part of it came from.</p>",
            apply_default_css=False,
            elem_id="title",
        )
        with gr.Tabs(elem_id="tabs"):
            for tab, (name, content) in CONTENT.items():
                with gr.Tab(name, id=tab):
                    painter = painters[tab]
                    if painter is None:
                        gr.Markdown(missing_model(tab), elem_classes="absent")
                    else:
                        content(tab, painter, gallery_of(tab, painter.condition))
            with gr.Tab("Layers", id="layers"):
                portraits = painters["edge-to-face"]
                if portraits and not portraits.pipe.has_matching:
                    gr.Markdown(NO_LAYERS, elem_classes="absent")
                elif portraits:
                    layer_tab(portraits, gallery_of("edge-to-face", portraits.condition))
                else:
                    gr.Markdown(missing_model("edge-to-face"), elem_classes="absent")
        endpoints(painters)
    page.queue(max_size=64, default_concurrency_limit=4)
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
