"""Small charts and pages that fetch nothing: SVG and HTML as text, with one look. It knows numbers and pixels only."""

from ._style import STYLE, series_style
from ._svg import Axis, Chart, element, span

__all__ = ["STYLE", "Axis", "Chart", "element", "series_style", "span"]
