"""The cost-quality policy: which model answers at which cost."""
