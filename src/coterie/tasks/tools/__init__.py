"""Choose a function for a text and fill in its arguments, or say that none fits."""
