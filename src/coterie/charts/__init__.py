"""Small charts and pages that fetch nothing: SVG and HTML as text, with one look. It knows numbers and pixels only."""

from ._page import card, page
from ._svg import Axis, Chart, element, span

__all__ = ["Axis", "Chart", "card", "element", "page", "span"]
