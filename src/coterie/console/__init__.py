"""The console: web pages in front of the gateway, for watching and operating the network."""
