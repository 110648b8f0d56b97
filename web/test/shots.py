"""Takes the pictures of doc/ui/ anew: a server with six hours of made-up history under light load, and each page of it.

usage: shots.py BINARY [FILE.png=HASH...]    without files: those of doc/ui"""
import contextlib
import math
import os
import random
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
os.environ['CARAT_BINARY'] = str(Path(sys.argv[1]).resolve())
sys.path.insert(0, str(ROOT / 'tests/system'))
import carat  # noqa: E402

SETTINGS = ['watch.store=true', 'watch.node=n1', 'watch.interval=1s', 'watch.probe_interval=1s', 'hot.flush_delay=0s', 'hot.jitter=0',
            'hot.flush_round=100ms', 'cold.after=2d', 'cold.interval=1s']
SHOTS = ['pipeline.png=pipeline', 'pipeline-dark.png=pipeline?part=hot', 'pipeline-phone.png=pipeline',
         'explore.png=explore?target=servers.*.cpu.user&target=sumSeries(servers.*.cpu.system)&unit=%25',
         'dashboard.png=dashboards/web-servers', 'host.png=hosts/db1', 'cost.png=cost?series=250000']
HOSTS = ['db1', 'db2', 'web1', 'web2', 'web3']
MINUTES = 360


def history(now):
    """Lines of the server's own series, of some machines, and of the agent's names."""
    rng = random.Random(1)
    for k in range(MINUTES, 0, -1):
        t, w = now - 60 * k, 1 + .4 * math.sin(k / 50) + rng.random() * .1
        values = {'carat.n1.points_received.graphite.per_min': 90000 * w, 'carat.n1.points_received.mackerel.per_min': 41000 * w,
                  'carat.n1.points_received.watch.per_min': 900, 'carat.n1.points_rejected.syntax.per_min': rng.choice([0] * 20 + [3]),
                  'carat.n1.ingest_ack.p50_ms': 2 * w, 'carat.n1.ingest_ack.p99_ms': 8 * w, 'carat.n1.hot_bytes': 1.2e8 * w,
                  'carat.n1.hot_windows': 9000 * w, 'carat.n1.catalog_series': 8000 + k}
        for i, host in enumerate(HOSTS):
            for state, usual in ('user', 30), ('system', 8), ('iowait', 3):
                values[f'servers.{host}.cpu.{state}'] = usual * w * (1 + i / 9) + rng.random() * 2
                values[f'host.{host}.cpu.{state}.percentage'] = usual * w * (1 + i / 9) + rng.random() * 2
            values |= {f'servers.{host}.memory.used': (2 + i / 3) * 1e9 * w, f'host.{host}.cpu.idle.percentage': 160 - 40 * w,
                       f'host.{host}.loadavg1': w + rng.random() * .3, f'host.{host}.loadavg5': w, f'host.{host}.loadavg15': 1,
                       f'host.{host}.memory.total': 8 << 30, f'host.{host}.memory.used': 3e9 * w,
                       f'host.{host}.memory.available': (8 << 30) - 3e9 * w, f'host.{host}.disk.sda.reads.delta': 20 * w,
                       f'host.{host}.disk.sda.writes.delta': 60 * w, f'host.{host}.interface.eth0.rxBytes.delta': 2e6 * w,
                       f'host.{host}.interface.eth0.txBytes.delta': 8e5 * w, f'host.{host}.filesystem.sda1.used': 1.5e10 + 1e6 * (360 - k)}
        yield from (f'{name} {v:.3f} {t}\n' for name, v in values.items())


def old(now):
    """Points of three days ago, which are in cold soon, and of one, which are in warm."""
    rng = random.Random(2)
    for days in 3, 1:
        for k in range(1440):
            yield from (f'old.s{i} {rng.random() * 9:.2f} {now - days * 86400 - 60 * k}\n' for i in range(40))


def load(c, end):
    """Some 1,500 points a second."""
    with c.graphite() as s:
        while not end.wait(.1):
            with contextlib.suppress(OSError):
                s.sendall(''.join(f'load.h{i // 20}.m{i % 20} {i % 97} {int(time.time())}\n' for i in range(150)).encode())


def dashboard(c):
    panels = [{'title': 'Processors', 'targets': ['aliasByNode(servers.*.cpu.user,1)'], 'unit': '%', 'width': 2},
              {'title': 'Waiting for disks', 'targets': ['aliasByNode(servers.*.cpu.iowait,1)'], 'unit': '%'},
              {'title': 'Memory', 'targets': ['aliasByNode(servers.*.memory.used,1)'], 'unit': 'B'},
              {'title': 'All processors', 'targets': ['sumSeries(servers.*.cpu.user)', 'sumSeries(servers.*.cpu.system)'], 'unit': '%',
               'width': 2}]
    body = carat.json.dumps({'title': 'Web servers', 'panels': panels}).encode()
    assert c.request('PUT', '/api/v1/dashboards/web-servers', body)[0] == 204


def shrink(path):
    """The same picture, packed as tightly as PNG does; the browser is in a hurry."""
    png, data, out, at = path.read_bytes(), b'', b'', 8
    while at < len(png):
        n = int.from_bytes(png[at:at + 4], 'big')
        kind, body, at = png[at + 4:at + 8], png[at + 8:at + 8 + n], at + 12 + n
        data += body if kind == b'IDAT' else b''
        if kind == b'IHDR':
            out = png[:8] + chunk(kind, body)
    path.write_bytes(out + chunk(b'IDAT', zlib.compress(zlib.decompress(data), 9)) + chunk(b'IEND', b''))


def chunk(kind, body):
    return len(body).to_bytes(4, 'big') + kind + body + zlib.crc32(kind + body).to_bytes(4, 'big')


def main():
    shots, directory = sys.argv[2:] or SHOTS, Path.cwd() if sys.argv[2:] else ROOT / 'doc/ui'
    directory.mkdir(exist_ok=True)
    with carat.Carat(SETTINGS) as c:
        now = int(time.time()) // 60 * 60
        c.graphite_send(''.join(old(now)))
        c.graphite_send(''.join(history(now)))
        dashboard(c)
        carat.wait_for('packs', lambda: c.metric('carat_cold_packs'), 60)
        end = threading.Event()
        sender = threading.Thread(target=load, args=(c, end))
        sender.start()
        try:
            subprocess.run(['node', str(HERE / 'shoot.mjs'), c.url(''), *shots], cwd=directory, timeout=180, check=True)
        finally:
            end.set()
            sender.join()
        for shot in shots:
            shrink(directory / shot.split('=')[0])


main()
