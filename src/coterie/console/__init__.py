"""The console: pages in front of the gateway, in which one sees the network think and runs it."""
