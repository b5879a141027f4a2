"""Personal data and secrets in text: what a detector finds, and the label that it asks for. It knows no policy."""
