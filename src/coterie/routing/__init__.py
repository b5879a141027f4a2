"""Who is asked: the learned router, what it knows of the specialists, and the order in which they run."""
