"""The gateway on engines that distribute it."""
