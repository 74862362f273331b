"""A report as one self-contained HTML file: headings, tables and inlined pictures.

All text is escaped. Read next: ``plots.py``, the figures.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure
from matplotlib.text import Text

from common import UserError

DPI = 110
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2129; background: #fff;
       max-width: 66rem; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.9rem; line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid #d5d9e0;
padding-top: 1.4rem; } h3 { margin-top: 2rem; }
p { max-width: 46rem; } code { background: #f2f4f7; padding: .1rem .3rem; border-radius: 3px;
font-size: .88em; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #e6e9ee; }
td:first-child, th:first-child { text-align: left; } th { font-weight: 600; }
figure { margin: 1.4rem 0; } figure img { max-width: 100%; height: auto; }
.lead { font-size: 1.15rem; } table, pre { display: block; max-width: 100%; overflow-x: auto; }
video { max-width: 100%; height: auto; } @media (max-width: 40rem) { body { margin: 1rem auto; }
h1 { font-size: 1.4rem; } figure { overflow-x: auto; } figure img { max-width: none; width: 46rem; }
figcaption { position: sticky; left: 0; } }
summary { cursor: pointer; color: #2f6fde; }
figcaption { color: #4c5564; font-size: .9rem; max-width: 46rem; }
"""


def document(title: str, blocks: Sequence[str]) -> str:
    """The HTML page made of blocks from the functions below."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(blocks) + "\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading of level 2 or 3."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """Plain text."""
    return f"<p>{escape(text)}</p>"


def lead(text: str) -> str:
    """An introductory paragraph in larger type."""
    return f'<p class="lead">{escape(text)}</p>'


def command(text: str) -> str:
    """A command line."""
    return f"<p><code>{escape(text)}</code></p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column names its rows.

    Raises:
      UserError: if a row's length differs from the header's.
    """
    for row in rows:
        if len(row) != len(header):
            raise UserError(
                f"table: expected rows of {len(header)} cells, received {len(row)}: {list(row)}; "
                "fill the row"
            )

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f"<table>\n<thead>{line(header, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def details(summary: str, block: str) -> str:
    """A block that opens on a click."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n{block}\n</details>"


def figure(drawn: Figure, caption: str) -> str:
    """A figure as an inlined PNG; the caption is also its alternative text."""
    data = base64.b64encode(png(drawn)).decode("ascii")
    text = escape(caption, quote=True)
    return (
        f'<figure>\n<img alt="{text}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{text}</figcaption>\n</figure>"
    )


def video(mp4: bytes, caption: str) -> str:
    """A looping video, inlined."""
    data, text = base64.b64encode(mp4).decode("ascii"), escape(caption, quote=True)
    return (
        '<figure>\n<video controls autoplay loop muted playsinline aria-label="' + text + '" '
        f'src="data:video/mp4;base64,{data}"></video>\n<figcaption>{text}</figcaption>\n</figure>'
    )


def png(drawn: Figure) -> bytes:
    """The bytes of a figure's PNG."""
    plain_text(drawn)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def plain_text(drawn: Figure) -> None:
    """Show a figure's text literally: a name with dollar signs is not a formula."""
    for text in drawn.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
