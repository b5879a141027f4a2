"""Reports as HTML pages that load nothing: values in, one self-contained file out, with SVG charts."""
