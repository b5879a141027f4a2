"""Makes specialists from data: trains, calibrates and measures every rung, and stores the cheapest sufficient one."""
