"""An outage replayed beside the usual traffic: how long it takes until a new point can be read.

Agents send the usual points, a minute of all series a time. Then, beside it, what they held back for six hours: newest
and oldest minutes mixed, a tenth of it twice; by default at half the usual rate (1.5 times the load in all) and at one
and a half times. All the while one client posts a point of its own, asks /render until it is there, and posts the next.
A refused request counts as a second try, not as an error."""
import argparse
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request

import servers

OUTAGE_MINUTES = 360


class Prober(threading.Thread):
    """Measures in the background; take() gives the times in ms since the last call."""

    def __init__(self, base):
        super().__init__(daemon=True)
        self.base, self.ms, self.n, self.refused, self.stopping = base, [], 0, 0, False

    def ask(self, request):
        """The answer, asked for again as long as it is refused."""
        while True:
            try:
                return urllib.request.urlopen(request, timeout=60).read()
            except urllib.error.HTTPError:
                if self.stopping:
                    raise
                self.refused += 1
                time.sleep(0.02)

    def probe(self):
        self.n += 1
        now = int(time.time())
        begun = time.monotonic()
        body = json.dumps([{'hostId': 'probe', 'name': 'custom.readable', 'time': now, 'value': self.n}]).encode()
        self.ask(urllib.request.Request(self.base + '/api/v0/tsdb', body, {'Content-Type': 'application/json'}))
        query = f'{self.base}/render?target=host.probe.custom.readable&from={now - 120}&until={now + 60}&format=json'
        while True:
            answer = json.loads(self.ask(query))
            if answer and any(v == self.n for v, _ in answer[0]['datapoints']):
                return (time.monotonic() - begun) * 1000

    def run(self):
        try:
            while not self.stopping:
                self.ms.append(self.probe())
                time.sleep(0.02)
        except OSError:
            if not self.stopping:
                raise

    def take(self):
        """Sorted times in ms, and requests that were refused."""
        taken, refused = (self.ms, self.refused)
        self.ms, self.refused = [], 0
        return sorted(taken), refused


def quantile(values, q):
    return values[min(len(values) - 1, int(q * len(values)))] if values else float('nan')


class Sender:
    """The generator, ready to begin."""

    def __init__(self, a, server, **options):
        args = [a.generator, '--port', str(server.graphite), '--connections', '1', '--wait']
        for k, v in options.items():
            args += [f'--{k}'] if v is True else [f'--{k}', str(v)]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def begin(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()

    def is_done(self):
        return self.process.poll() is not None

    def end(self):
        self.process.kill()
        self.process.communicate()


def received(server):
    return servers.metric(server.metrics(), 'carat_points_received_total') or 0


def phase(a, server, prober, name, start, backlog):
    """a.seconds of the usual traffic, its first minute at `start`, with the backlog at that many points a second beside
    it (0: none). Returns where the next minute begins."""
    minutes = max(1, round(a.rate * a.seconds / a.series))
    senders = [Sender(a, server, series=a.series, points=minutes, start=start, rate=a.rate)]
    if backlog:
        hosts = min(a.series, int(1.2 * backlog * a.seconds / OUTAGE_MINUTES / 50 + 1) * 50)
        senders.append(Sender(a, server, series=hosts, points=OUTAGE_MINUTES, start=a.outage, mixed=True, again=100, rate=backlog))
    begun, was, cpu = time.monotonic(), received(server), server.cpu_seconds()
    prober.take()
    for s in senders:
        s.begin()
    while not senders[0].is_done() and time.monotonic() - begun < a.seconds * 3:
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    (ms, refused), rate = prober.take(), (received(server) - was) / seconds
    for s in senders:
        s.end()
    print(f'{name:34} {rate:12,.0f} {100 * (server.cpu_seconds() - cpu) / seconds:6.0f} {len(ms):7} '
          f'{quantile(ms, .5):8.1f} {quantile(ms, .9):8.1f} {quantile(ms, .99):8.1f} {quantile(ms, 1):8.1f} {refused:7}', flush=True)
    return start + 60 * minutes


def main():
    p = argparse.ArgumentParser(prog='script/bench late', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--series', type=int, default=20000)
    p.add_argument('--rate', type=float, default=100000, help='usual points a second')
    p.add_argument('--seconds', type=float, default=15, help='of each phase')
    p.add_argument('--share', type=float, action='append', help='of the outage, in parts of the usual rate; may be repeated')
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    now = int(time.time()) // 60 * 60
    a.outage = now - 10 * 3600  # six hours that were missed; the usual points come after them
    start = now - 4 * 3600
    print(f'{a.series} series, {a.rate:,.0f} points/s as usual')
    print(f'{"":34} {"points/s":>12} {"CPU %":>6} {"probes":>7} {"p50 ms":>8} {"p90":>8} {"p99":>8} {"max":>8} {"refused":>7}')
    with servers.Carat(a.binary, *a.set) as s:
        prober = Prober(s.base)
        prober.probe()
        prober.start()
        start = phase(a, s, prober, 'usual traffic', start, 0)
        for share in a.share or [0.5, 1.5]:
            start = phase(a, s, prober, f'and {share:g} times as much of the outage', start, share * a.rate)
            start = phase(a, s, prober, 'usual traffic', start, 0)
        prober.stopping = True
        prober.join(60)


main()
