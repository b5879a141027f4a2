"""Control of what may leave this process, by a rule that no code can bypass, and the record of the decisions."""
