"""Cost of answers: joules and money for every step, and the totals for people and for scripts."""
