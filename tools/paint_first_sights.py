"""Paint what each tab of the demo shows first, so that nobody need wait for it.

    python -m tools.paint_first_sights

Run it whenever a bundled model or the gallery has changed; the demo's tests say so. Which layout
gets which look: FIRST_PAIRS in demo/studio/gallery.py.
"""

from __future__ import annotations

import argparse

from cocosnet_hf import bundled
from demo.studio.first_sight import store
from demo.studio.gallery import gallery_of
from demo.studio.layer_tab import MODEL, store_first
from demo.studio.painters import TABS, Painter


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tabs", nargs="*", default=list(TABS), help="by default all of them")
    for tab in parser.parse_args(arguments).tabs:
        painter = Painter(bundled(tab), is_bundled=True)
        gallery = gallery_of(tab, painter.condition)
        store(tab, painter, gallery)
        if tab == MODEL:
            store_first(painter, gallery)


if __name__ == "__main__":
    main()
