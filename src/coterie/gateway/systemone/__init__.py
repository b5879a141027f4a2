"""`POST /v1/systemone`: TypeSafe's System One API over the network's typed questions."""
