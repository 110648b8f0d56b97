"""Asks a real graphite-web and Carat the same random questions and compares the answers.

usage: graphite_compare.py --binary build/carat [--points FILE] [--seed N] [--requests N] [--area NAME] [--function NAME,...]
       graphite_compare.py --graphite URL --carat URL --points FILE ...    (both already running with these points)

FILE has lines "name value time"; without it points are made up. Areas: render, form (times), grammar, find, expand, tags,
tag_writes, registry. Exit 1 if an answer differs. An answer is "tolerated" where graphite-web fails with an error of its own.
Needs the Debian packages graphite-web, gunicorn and python3-whisper."""
import argparse
import collections
import contextlib
import csv
import gzip
import http.client
import io
import itertools
import json
import math
import os
import pickle
import re
import struct
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import graphite_points
from graphite_requests import Requests

SPECIAL = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}


# --- bodies to values


class PlainPickle(pickle.Unpickler):
    """Refuses classes, but for the ones that /metrics/find has in its intervals."""

    def find_class(self, module, name):
        if module.startswith('graphite.intervals'):
            return type(name, (), {'__setstate__': lambda self, state: None})
        raise ValueError('a pickle with classes')


def unmsgpack(data):
    """The subset of msgpack that Graphite uses."""
    at = 0

    def take(n):
        nonlocal at
        at += n
        return data[at - n:at]

    def value():
        c = take(1)[0]
        if c < 0x80:
            return c
        if c >= 0xe0:
            return c - 256
        if c < 0xa0:
            return many(c & 15, c < 0x90)
        if c < 0xc0:
            return take(c & 31).decode()
        if c in (0xc0, 0xc2, 0xc3):
            return {0xc0: None, 0xc2: False, 0xc3: True}[c]
        if 0xca <= c <= 0xd3:
            form = '>' + 'fdBHIQbhiq'[c - 0xca]
            return struct.unpack(form, take(struct.calcsize(form)))[0]
        n = int.from_bytes(take({0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4}[c]), 'big')
        return many(n, c >= 0xde) if c >= 0xdc else take(n).decode()

    def many(n, pairs):
        if pairs:
            return {value(): value() for _ in range(n)}
        return [value() for _ in range(n)]

    return value()


def plain(x, path):
    """Without what differs for good reason: descriptions, row ids, where whisper keeps tagged series."""
    if isinstance(x, float) and not math.isfinite(x):
        return 'NaN' if x != x else 'Infinity' if x > 0 else '-Infinity'
    if isinstance(x, (list, tuple)):
        out = [plain(v, path) for v in x if not of_whisper(v, path)]
        by_path = path == '/metrics/find' and out and isinstance(out[0], dict) and set(out[0]) <= {'path', 'is_leaf',
            'intervals'} and 'is_leaf' in out[0]
        return sorted(out, key=lambda n: n['path']) if by_path else out  # equal names come in any order
    if isinstance(x, dict):
        drop = {'intervals'} if path.startswith('/metrics') else {'id'} if path.startswith('/tags') else {'description',
            'module'} if path.startswith('/functions') else ()
        out = {str(k): plain(v, path) for k, v in x.items() if k not in drop}
        if path == '/metrics/find' and isinstance(out.get('metrics'), list):  # entries of one name have no order
            runs = itertools.groupby(out['metrics'], lambda n: n.get('name'))
            out['metrics'] = [n for _, run in runs for n in sorted(run, key=lambda n: n.get('path', ''))]
        return out
    return x


def of_whisper(v, path):
    if isinstance(v, dict):
        v = v.get('path') or v.get('id') or ''
    return path.startswith('/metrics') and isinstance(v, str) and v.startswith('_tagged')


def decode(body, fmt, path):
    if fmt in ('json', 'dygraph', 'rickshaw'):
        text = body.decode()
        wrapped = re.fullmatch(r'(\w+)\((.*)\);?\s*', text, re.S)
        return [wrapped[1], plain(json.loads(wrapped[2]), path)] if wrapped else plain(json.loads(text), path)
    if fmt == 'pickle':
        return plain(PlainPickle(io.BytesIO(body)).load(), path)
    if fmt == 'msgpack':
        return plain(unmsgpack(body), path)
    return body.decode()


# --- comparing


def number(x):
    return SPECIAL[x] if isinstance(x, str) and x in SPECIAL else x


def is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def close(a, b, scale=0.0):
    a, b = number(a), number(b)
    if not (is_number(a) and is_number(b)):
        return a == b and type(a) is type(b)
    if a != a or b != b:
        return a != a and b != b
    return a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b)) + 1e-13 * scale


def deep(a, b, at=''):
    """The first difference, or None."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            if k not in a or k not in b:
                return '%s.%s: %s' % (at, k, 'missing' if k in a else 'extra')
        return next(filter(None, (deep(a[k], b[k], at + '.' + k) for k in sorted(a))), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return '%s: %d entries, expected %d: %.150r, expected %.150r' % (at, len(b), len(a), b, a)
        return next(filter(None, (deep(x, y, '%s[%d]' % (at, i)) for i, (x, y) in enumerate(zip(a, b)))), None)
    return None if close(a, b) else '%s: %.200r, expected %.200r' % (at, b, a)


def series_of(answer, fmt):
    """[(name, {time: value}, the rest)] of any of the formats that have series."""
    if fmt == 'json':
        return [(s['target'], [(t, v) for v, t in s['datapoints']], s['tags']) for s in answer]
    if fmt == 'rickshaw':
        return [(s['target'], [(p['x'], p['y']) for p in s['datapoints']], None) for s in answer]
    if fmt in ('pickle', 'msgpack'):
        return [(s['name'], list(enumerate(s['values'])), {k: v for k, v in s.items() if k not in ('name', 'values')}) for s in answer]
    if fmt == 'csv':
        out = []
        for row in csv.reader(io.StringIO(answer)):
            if not out or out[-1][0] != row[0] or row[1] in [p[0] for p in out[-1][1]]:
                out.append((row[0], [], None))
            out[-1][1].append((row[1], float(row[2]) if row[2] else None))
        return out
    out = []
    for line in answer.splitlines():
        head, values = line.rsplit('|', 1)
        name, start, end, step = head.rsplit(',', 3)
        out.append((name,
                    list(enumerate(None if v == 'None' else float(v.strip("'")) if v.strip("'") != 'x' else v for v in values.split(',') if v)),
                    [start, end, step]))
    return out


def points_differ(a, b):
    scale = max([abs(v) for v in (number(v) for _, v in a) if is_number(v) and math.isfinite(v)] or [0])
    if [t for t, _ in a] != [t for t, _ in b]:
        return 'times %.150r.. (%d), expected %.150r.. (%d)' % ([t for t, _ in b][:4], len(b), [t for t, _ in a][:4], len(a))
    for (t, x), (_, y) in zip(a, b):
        if not close(x, y, scale):
            return 'at %s: %r, expected %r' % (t, y, x)
    return None


def render_differs(want, got, fmt):
    if fmt == 'dygraph':
        return deep(want, got)
    if fmt in ('json', 'rickshaw') and want and isinstance(want[0], str):
        if want[0] != got[0]:
            return 'another callback'
        want, got = want[1], got[1]
    a, b = [s for s in series_of(want, fmt) if '_tagged.' not in str(s[0])], series_of(got, fmt)
    if [s[0] for s in a] != [s[0] for s in b]:
        return 'names %.300r, expected %.300r' % ([s[0] for s in b], [s[0] for s in a])
    for x, y in zip(a, b):
        d = points_differ(x[1], y[1]) or deep(x[2], y[2], 'meta')
        if d:
            return '%s: %s' % (x[0], d)
    return None


CRASHES = re.compile(r"^(ZeroDivisionError|OverflowError|UnboundLocalError|IndexError|AttributeError: 'NoneType'|TypeError: '[<>]' not supported|TypeError: \w+\(\) got an unexpected keyword argument '(alignDst|stack)'|TypeError: 'float' object cannot be interpreted|user-defined function raised)")


# Refused here, as doc/query.md says.
DOCUMENTED = r'not series\b|by series\b|expects a whole number, not [-\d.]+\\n|expects a number, not (x|)\\n'


def compare(request, want, got):
    """(kind, explanation); kind is equal, different, documented (refused here, an odd answer there), or tolerated: graphite-web failed
    where Carat does not."""
    if want[0] >= 500:
        text = want[1].decode(errors='replace')
        raised = re.match(r'(\w+) at /\S*\s*\n(.*)', text)
        line = '%s: %s' % raised.groups() if raised else text.strip()[:200]
        line = line.replace('{"error": "', '')
        if got[0] >= 400:
            return 'equal', ''
        return 'tolerated' if CRASHES.match(line) else 'different', 'status %d, expected %d: %s' % (got[0], want[0], line)
    if want[0] >= 400:
        return ('equal', '') if got[0] // 100 == 4 else ('different', 'status %d, expected %d: %.200s' % (got[0], want[0],
            want[1].decode(errors='replace')))
    if got[0] == 400 and re.search(DOCUMENTED, got[1].decode(errors='replace')):
        return 'documented', ''
    if got[0] != want[0]:
        return 'different', 'status %d: %.300s; expected %d: %.200s' % (got[0], got[1].decode(errors='replace'), want[0],
            want[1].decode(errors='replace'))
    try:
        w = decode(want[1], request['format'], request['path'])
    except ValueError as e:
        return 'tolerated', "graphite-web's own answer cannot be read: %s" % e
    try:
        g = decode(got[1], request['format'], request['path'])
        d = render_differs(w, g, request['format']) if request['path'] == '/render' else deep(w, g)
    except Exception as e:
        d = 'cannot be read: %s: %s' % (type(e).__name__, e)
    return ('different', d) if d else ('equal', '')


class Server:
    def __init__(self, url):
        u = urllib.parse.urlsplit(url)
        self.address = u.hostname, u.port

    def ask(self, request):
        """(status, body); status 0: no answer."""
        query = urllib.parse.urlencode(request['params'])
        path = urllib.parse.quote(request['path'])
        post = request['method'] == 'POST'
        headers = {'Accept': 'application/json'}
        if post:
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(request['method'], path if post or not query else path + '?' + query, query if post else None, headers)
            with connection.getresponse() as a:
                return a.status, a.read()
        except (OSError, http.client.HTTPException) as e:
            return 0, str(e).encode()
        finally:
            connection.close()


def text_of(request):
    return '%s %s?%s' % (request['method'], request['path'], '&'.join('%s=%s' % p for p in request['params']))


def run(graphite, carat, requests, show):
    count = collections.Counter()
    for request in requests:
        began = time.monotonic()
        want = graphite.ask(request)
        between = time.monotonic()
        got = carat.ask(request)
        if time.monotonic() - began > 5:
            print('slow: graphite-web %.1f s, carat %.1f s: %s' % (between - began, time.monotonic() - between, text_of(request)), flush=True)
        if want[0] == 0:
            count['no answer'] += 1
            continue
        kind, why = compare(request, want, got)
        count[kind] += 1
        if kind != 'equal' and show(kind):
            print('%s: %s\n    %s' % (kind, text_of(request), why), flush=True)
    return count


def both(o, stack, series):
    """The two servers, started here or not."""
    if o.graphite:
        return Server(o.graphite), Server(o.carat)
    os.environ['CARAT_BINARY'] = os.path.abspath(o.binary)
    import carat  # which looks at CARAT_BINARY
    import graphite_web
    missing = graphite_web.missing()
    if missing:
        sys.exit(f'{missing}: install graphite-web, gunicorn and python3-whisper')
    schemas = tempfile.NamedTemporaryFile('w', suffix='.conf')
    stack.enter_context(schemas).write('[slow]\npattern = ^slow\\.\nretentions = 300s:460d\n[all]\npattern = .*\nretentions = 60s:460d\n')
    schemas.flush()
    c = stack.enter_context(carat.Carat([f'retention.schemas={schemas.name}', 'watch.store=false']))
    text = graphite_points.lines(series)
    c.graphite_send(text)
    carat.wait_for('the points', lambda: c.metric('carat_points_received_total') == text.count('\n'))
    g = stack.enter_context(graphite_web.GraphiteWeb(series))
    return Server(g.url()), Server(c.url(''))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--binary', default='build/carat')
    p.add_argument('--graphite')
    p.add_argument('--carat')
    p.add_argument('--points')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--requests', type=int, default=2000)
    p.add_argument('--area', action='append')
    p.add_argument('--function')
    p.add_argument('--tolerated', action='store_true', help='show these, too')
    o = p.parse_args()
    today = int(time.time()) // 86400 * 86400
    series = graphite_points.load(o.points) if o.points else graphite_points.make(today - 2 * 86400)
    with contextlib.ExitStack() as stack:
        graphite, carat = both(o, stack, series)
        functions = json.loads(graphite.ask({'path': '/functions', 'method': 'GET', 'params': []})[1])
        generator = Requests(o.seed, functions, graphite_points.begin_of(series), o.area)
        if o.function:
            generator.target = lambda: generator.call_of(generator.r.choice(o.function.split(',')), generator.pick(0, 0, 1))
        requests = (generator.any() for _ in range(o.requests))
        count = run(graphite, carat, requests, lambda kind: kind == 'different' or o.tolerated)
    print(', '.join(f'{n} {kind}' for kind, n in sorted(count.items())))
    return 1 if count['different'] else 0


if __name__ == '__main__':
    sys.exit(main())
