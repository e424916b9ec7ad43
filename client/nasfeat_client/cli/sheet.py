"""Contact sheets: small pictures side by side, each with a line of text."""

import base64
import html
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from nasfeat_client.cli.tables.place import explained, reserved

_SIZE, _CAPTION, _GAP, _COLUMNS = 176, 34, 8, 6
_PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:13px sans-serif;background:#fff;color:#222}}figure{{display:inline-block;margin:6px;width:{size}px;
vertical-align:top}}figcaption{{overflow-wrap:anywhere}}img{{display:block;margin-bottom:4px}}</style>
<h1>{title}</h1>
{figures}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One small picture.

    Attributes:
        name: where the picture is: a file, or in a zip archive ("photos.zip/cat.jpg").
        lines: what is written below.
    """

    name: str
    lines: tuple[str, ...]


def write_sheet(path: Path, tiles: Sequence[Tile], *, title: str) -> None:
    """Write `tiles` as a picture, or as an HTML page with the pictures in it, by the ending of `path`.

    Raises:
        click.ClickException: it cannot be written.
        click.UsageError: it ends neither in .png nor in .html.
    """
    check_ending(path)
    with reserved(path) as place, explained(path):
        if path.suffix.lower() == ".html":
            place.temporary.write_text(_page(tiles, title), encoding="utf-8")
        else:
            _drawn(tiles).save(place.temporary, "PNG")
        place.fill()


def check_ending(path: Path) -> None:
    """Do nothing if a sheet can be written to `path`.

    Raises:
        click.UsageError: it ends in neither of the two.
    """
    if path.suffix.lower() not in {".html", ".png"}:
        raise click.UsageError(f"{path} ends neither in .png nor in .html")


def _drawn(tiles: Sequence[Tile]) -> Image.Image:
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    width, height = _SIZE + _GAP, _SIZE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        left, top = number % columns * width + _GAP, number // columns * height + _GAP
        sheet.paste(_thumbnail(tile.name), (left, top))
        for line, text in enumerate(tile.lines):
            draw.text((left, top + _SIZE + 2 + 15 * line), _shortened(text, draw), fill="#222222")
    return sheet


def _shortened(text: str, draw: ImageDraw.ImageDraw) -> str:
    """Cut the front off what does not fit: names differ at their ends."""
    shown = text
    while draw.textlength(shown) > _SIZE and len(shown) > 2:
        text = text[1:]
        shown = f"...{text}"
    return shown


def _page(tiles: Sequence[Tile], title: str) -> str:
    figures = []
    for tile in tiles:
        packed = io.BytesIO()
        _thumbnail(tile.name).save(packed, "JPEG", quality=85)
        content = base64.b64encode(packed.getvalue()).decode()
        caption = "<br>".join(html.escape(line) for line in tile.lines)
        figures.append(
            f'<figure><img alt="" src="data:image/jpeg;base64,{content}"><figcaption>{caption}</figcaption></figure>'
        )
    return _PAGE.format(title=html.escape(title), size=_SIZE, figures="\n".join(figures))


def _thumbnail(name: str) -> Image.Image:
    """Give a picture at the size of a tile, gray if it is not there any more."""
    try:
        with Image.open(io.BytesIO(_content(name))) as picture:
            picture.draft("RGB", (_SIZE * 2, _SIZE * 2))
            return ImageOps.pad(ImageOps.exif_transpose(picture).convert("RGB"), (_SIZE, _SIZE), color="white")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, zipfile.BadZipFile, KeyError):
        return Image.new("RGB", (_SIZE, _SIZE), "#cccccc")


def _content(name: str) -> bytes:
    archive, found, member = name.partition(".zip/")
    if found:
        with zipfile.ZipFile(f"{archive}.zip") as opened:
            return opened.read(member)
    return Path(name).read_bytes()
