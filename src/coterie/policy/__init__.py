"""Who answers at which cost."""
