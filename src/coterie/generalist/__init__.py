"""Small models with a large one above them: what it is told, what it may add, and what is done when it fails."""
