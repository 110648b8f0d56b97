"""Bytes a point on disk, everything included (keys, index, names, checksums), on real and generated data.

Carat: the warm tier and the catalog after a clean stop. victoria-metrics: its directory after a forced final merge."""
import argparse
import gzip
import os
import pathlib
import socket
import subprocess
import time

import servers

DATA = pathlib.Path(os.environ.get('CARAT_TEST_DATA', pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'))


def lines_of(source, generator):
    if source == 'mix':
        return subprocess.run([generator, '--stdout', '--series', '5000', '--points', '1440'], check=True,
                              stdout=subprocess.PIPE).stdout
    path = DATA / source
    return gzip.open(path).read() if source.endswith('.gz') else path.read_bytes()


def feed(server, lines):
    count = lines.count(b'\n')
    with socket.create_connection(('127.0.0.1', server.graphite)) as s:
        s.sendall(lines)
    end = time.monotonic() + 120
    while server.points_in() < count:
        if time.monotonic() > end:
            raise SystemExit(f'{server.name}: {server.points_in():.0f} of {count} points after 120 s')
        time.sleep(0.05)
    return count


def carat(binary, lines, rules):
    with servers.Carat(binary, f'retention.schemas={rules}') as s:
        n = feed(s, lines)
        s.stop()
        s.start()  # the second start and stop let the store tidy up after itself
        s.stop()
        return n, servers.tree_bytes(f'{s.dir}/data/warm'), servers.tree_bytes(f'{s.dir}/data/catalog')


def victoria(lines):
    with servers.VictoriaMetrics() as s:
        n = feed(s, lines)
        servers.http_get(s.base + '/internal/force_flush')
        servers.http_get(s.base + '/internal/force_merge')
        time.sleep(3)
        s.stop()
        index = servers.tree_bytes(f'{s.dir}/vm/indexdb')
        return n, servers.tree_bytes(f'{s.dir}/vm/data'), index


def main():
    p = argparse.ArgumentParser(prog='script/bench size', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--peer', action='store_true', help='measure victoria-metrics on the same data')
    p.add_argument('--data', action='append', help='mix, host.txt.gz or nab.txt; default: all that are there')
    a = p.parse_args()
    sources = a.data or ['mix'] + [f for f in ('host.txt.gz', 'nab.txt') if (DATA / f).exists()]
    print(f'{"data":12} {"server":17} {"points":>9} {"values B":>10} {"names B":>9} {"B/point":>8} {"values only":>11}')
    with open('/tmp/carat-bench-schemas.conf', 'w') as f:
        f.write('[nab]\npattern = ^nab\\.\nretentions = 300s:20y\n[all]\npattern = .*\nretentions = 60s:460d\n')
    for source in sources:
        lines = lines_of(source, a.generator)
        rows = [('carat', carat(a.binary, lines, f.name))]
        if a.peer:
            rows.append(('victoria-metrics', victoria(lines)))
        for name, (n, values, names) in rows:
            print(f'{source:12} {name:17} {n:9} {values:10} {names:9} {(values + names) / n:8.3f} {values / n:11.3f}', flush=True)
    os.unlink(f.name)


main()
