"""Limits on spending: requests, tokens, money and joules, reserved before and settled after."""
