"""
A process with snapshots of its own: reads a token a line, and writes what calls with it get, whenever that changes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading

import django


async def main() -> None:
    from gateway.snapshots import open_snapshots
    from tests.gateway.callers import seen

    tokens: list[str] = []

    def read() -> None:
        for line in sys.stdin:
            tokens.append(line.strip())

    threading.Thread(target=read, daemon=True).start()
    said = None
    async with open_snapshots() as snapshots:
        while True:
            await asyncio.sleep(0.005)
            if tokens and said != (says := (tokens[-1], await seen(snapshots, tokens[-1]))):
                said = says
                print(json.dumps(said), flush=True)


if __name__ == "__main__":
    django.setup()
    asyncio.run(main())
