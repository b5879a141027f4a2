"""What an answer costs: joules and money for every step, and the totals for people and scripts."""
