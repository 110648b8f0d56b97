"""The pages in Chromium: first paint, and a chart of 70 series of a day of minutes (100,000 points): the longest task while
it is drawn, and the frames while the mouse moves over it. Milliseconds."""
import argparse
import json
import math
import os
import socket
import subprocess
import time
from pathlib import Path

import servers

RUN = Path(__file__).resolve().parent.parent / 'web/test/run.mjs'
SERIES, POINTS = 70, 1440


def send(s, until):
    lines = (f'bench.s{i:02} {40 + i + 20 * math.sin(k / 90 + i) + i * k % 7:.2f} {until - 60 * k}\n'
             for k in range(POINTS) for i in range(SERIES))
    with socket.create_connection(('127.0.0.1', s.graphite), timeout=30) as c:
        c.sendall(''.join(lines).encode())


def main():
    p = argparse.ArgumentParser(prog='script/bench web', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--runs', type=int, default=3)
    a = p.parse_args()
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}
    print(f'{"first paint":>12} {"cold":>6} {"points":>8} {"longest task":>13} {"frame":>6} {"longest":>8}')
    with servers.Carat(a.binary) as s:
        send(s, int(time.time()) // 60 * 60)
        s.settle()
        for _ in range(a.runs):
            r = subprocess.run(['node', str(RUN), s.base, 'speed'], capture_output=True, text=True, timeout=180, env=environment)
            if r.returncode:
                raise SystemExit(r.stdout + r.stderr)
            got = json.loads(r.stdout.splitlines()[0])
            paint, draw, hover = got['first_paint_ms'], got['draw_ms'], got['hover_ms']
            print(f'{paint["median"]:12.0f} {paint["first"]:6.0f} {got["points"]:8} {draw["longest_task"]:13.0f} '
                  f'{hover["median"]:6.1f} {hover["longest"]:8.1f}', flush=True)


main()
