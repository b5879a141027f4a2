"""Small charts and pages that fetch nothing: SVG and HTML as text, with one look. It knows numbers and pixels only."""
