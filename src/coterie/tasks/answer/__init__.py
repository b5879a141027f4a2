"""Answer from documents with citations, or say that they do not say."""
