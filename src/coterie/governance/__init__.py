"""What may leave this process, decided by a rule that the code cannot walk around; and what was decided, kept."""
