"""See a scan: `save_png` writes a picture, `save_html` a page to turn and zoom it in."""

from gossamer.view.page import save_html
from gossamer.view.palette import class_colors, palette
from gossamer.view.picture import save_png

__all__ = ["class_colors", "palette", "save_html", "save_png"]
