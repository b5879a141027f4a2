"""Ends of the names of files that are read. Their parsers are in `_parse`, which runs in a process of its own."""

SUFFIXES = frozenset(
    (".pdf", ".docx", ".html", ".htm", ".xhtml", ".md", ".markdown", ".txt", ".text", ".rst", ".csv", ".tsv")
)
