"""Making specialists from data: every rung trained, calibrated, measured, the cheapest sufficient one stored."""
