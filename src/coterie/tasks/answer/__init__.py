"""Answers from documents with citations, or says that the documents do not state the answer."""
