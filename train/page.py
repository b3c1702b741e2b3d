"""One page on a run that stands alone: curves, pictures, figures and settings."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import yaml
from PIL import Image

from cocosnet_hf.whole_files import write_whole

from .card import columns_of
from .config import TrainConfig, to_dict
from .report import read_metrics

PAGE_FILE = "report.html"
WIDTH, HEIGHT, MARGIN = 300, 110, 4
LARGEST_SHEET = 1600
"""Pixels of a picture's longer side on the page."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff }
.curves { display: flex; flex-wrap: wrap; gap: 1em }
figure { margin: 0 } figcaption { font-size: 13px; color: #555 }
svg { background: #f6f6f6 } polyline { fill: none; stroke: #2a5db0; stroke-width: 1.5 }
img { max-width: 100% } td { padding: 0 1.5em 0 0 } pre { overflow-x: auto }
"""


def write_page(config: TrainConfig, header: str, end: str) -> Path:
    """Write <output_dir>/report.html, which needs no other file, and say where.

    header: what the run said at its start. end: how it ended.
    """
    folder = Path(config.output_dir)
    rows = read_metrics(folder)
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and value is not None:
                curves.setdefault(name, []).append((row["step"], value))
    scores = {
        name.partition("/")[2]: [f"{value:.4g}" for _, value in (points[0], points[-1])]
        for name, points in sorted(curves.items())
        if name.startswith("validation/")
    }
    body = [f"<h1>{html.escape(folder.name)}</h1>", f"<p>{html.escape(end)}</p>"]
    body.append(f"<pre>{html.escape(header)}</pre>")
    if scores:
        cells = (
            f"<tr><td>{html.escape(name)}</td><td>{first}</td><td>{last}</td></tr>"
            for name, (first, last) in scores.items()
        )
        heads = "<tr><th></th><th>first</th><th>last</th></tr>"
        body.append(f"<h2>Validation</h2><table>{heads}{''.join(cells)}</table>")
    body.append("<h2>Pictures</h2>" + "".join(_sheets(config, folder / "pictures")))
    drawn = (curve(name, points) for name, points in sorted(curves.items()))
    body.append(f'<h2>Curves</h2><div class="curves">{"".join(drawn)}</div>')
    settings = html.escape(yaml.safe_dump(to_dict(config), sort_keys=False))
    body.append(f"<details><summary>Settings</summary><pre>{settings}</pre></details>")
    path = folder / PAGE_FILE
    write_whole(
        path,
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(folder.name)}</title><style>{STYLE}</style>"
        f"<body>{''.join(body)}</body></html>\n",
    )
    return path


def curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    """A figure of (step, value), first to last, with its smallest and largest value."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = min(values), max(values)
    across = (WIDTH - 2 * MARGIN) / (max(steps) - min(steps) or 1)
    up = (HEIGHT - 2 * MARGIN) / (high - low or 1)
    line = " ".join(
        f"{MARGIN + (step - min(steps)) * across:.1f},{HEIGHT - MARGIN - (value - low) * up:.1f}"
        for step, value in points
    )
    caption = f"{html.escape(name)}: {values[-1]:.4g} ({low:.4g} to {high:.4g})"
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{html.escape(name)}"><polyline points="{line}"/></svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _sheets(config: TrainConfig, folder: Path) -> list[str]:
    """The first and the newest sheet of the held-out pairs, and the newest of the training."""
    held_out = sorted(folder.glob("validation-*.png"))
    shown = dict.fromkeys([*held_out[:1], *held_out[-1:], *sorted(folder.glob("training-*"))[-1:]])
    columns = ", ".join(columns_of(config))
    sheets = []
    for path in shown:
        with Image.open(path) as opened:
            sheet = opened.convert("RGB")
        sheet.thumbnail((LARGEST_SHEET, LARGEST_SHEET))
        stream = io.BytesIO()
        sheet.save(stream, "JPEG", quality=90)
        data = base64.b64encode(stream.getvalue()).decode()
        sheets.append(
            f'<figure><img alt="{path.stem}" src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{path.stem}: {html.escape(columns)}</figcaption></figure>"
        )
    return sheets
