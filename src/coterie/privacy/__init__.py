"""Personal data and secrets in text: a detector's findings, and the label that they require. It knows no policy."""
