"""An audit log for tests."""

import asyncio


class Notes:
    """An audit log in memory; with an error, one that cannot be written."""

    def __init__(self, error=None):
        self.events, self.closed, self.error = [], 0, error

    async def append(self, event, *, sync=False):
        """Keep it, a turn of the event loop later."""
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        self.events.append(event)

    def append_soon(self, events):
        """Keep them."""
        self.events += events

    def sync_soon(self):
        """Nothing waits."""

    def digest(self, text):
        """A stand-in for the hash: its length."""
        return f"<{len(text)}>"

    async def close(self):
        """Count."""
        self.closed += 1
