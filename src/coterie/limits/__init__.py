"""What may be spent: requests, tokens, money and joules, reserved before and settled after."""
