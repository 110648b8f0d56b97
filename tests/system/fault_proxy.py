"""A proxy that does to requests and answers what test servers never do: throttling, parts of batches left undone, pages cut
short, answers that are lost after the effect, cut short or sent twice, silence. What happens is drawn from a seed.

usage: fault_proxy.py --upstream PORT --kind dynamodb|s3 --seed N [--share PERCENT]
Prints its port, and what it did when its stdin ends."""
import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

SILENCE_S = 30  # longer than any client waits for one attempt

# Weights. "effect": the request reaches the server first.
FAULTS = {
    'throttle': 20,
    'partial': 25,           # BatchWriteItem: some requests are left undone; Query: a page of one or two items
    'error': 10,             # 500 without effect
    'error_after_effect': 10,
    'hang_up': 10,
    'hang_up_after_effect': 15,
    'cut': 10,               # the answer ends somewhere
    'twice': 10,             # the answer is sent twice
    'silence': 1,
    'silence_after_effect': 1,
}


class Request:
    def __init__(self, head, body):
        lines = head.decode('latin-1').split('\r\n')
        self.method, self.target, _ = lines[0].split(' ', 2)
        self.lines = lines[:1] + [x for x in lines[1:] if x]
        self.body = body

    def header(self, name):
        for line in self.lines[1:]:
            key, _, value = line.partition(':')
            if key.lower() == name:
                return value.strip()
        return ''

    def bytes(self):
        keep = [x for x in self.lines if x.split(':')[0].lower() not in ('content-length', 'connection')]
        if self.body or self.method in ('PUT', 'POST'):
            keep.append(f'Content-Length: {len(self.body)}')
        return ('\r\n'.join(keep + ['Connection: keep-alive']) + '\r\n\r\n').encode('latin-1') + self.body


async def read_request(reader):
    """None at the end of the connection."""
    try:
        head = await reader.readuntil(b'\r\n\r\n')
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    r = Request(head, b'')
    length = int(r.header('content-length') or 0)
    if length:
        try:
            r.body = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
    return r


def answer(status, body, kind):
    text = body.encode()
    content = 'application/x-amz-json-1.0' if kind == 'dynamodb' else 'application/xml'
    return (f'HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {len(text)}\r\n\r\n').encode() + text


class Proxy:
    def __init__(self, upstream, kind, seed, share):
        self.upstream, self.kind, self.share = upstream, kind, share
        self.random = random.Random(seed)
        self.done = collections.Counter()
        self.tasks = set()  # asyncio itself would let go of those that wait

    def choose(self):
        if self.random.random() * 100 >= self.share:
            return None
        return self.random.choices(list(FAULTS), FAULTS.values())[0]

    async def forward(self, request):
        """The answer's bytes, with a length and without what is said of the connection."""
        reader, writer = await asyncio.open_connection('127.0.0.1', self.upstream, limit=1 << 26)
        try:
            writer.write(request.bytes())
            with contextlib.suppress(ConnectionError):  # it may refuse without reading all
                await writer.drain()
            head = await reader.readuntil(b'\r\n\r\n')
            lines = head.decode('latin-1').split('\r\n')
            keep = [x for x in lines if x and x.split(':')[0].lower() not in ('connection', 'keep-alive', 'transfer-encoding')]
            body = b''
            if request.method != 'HEAD':
                if any(x.lower().startswith('transfer-encoding') for x in lines):
                    body = await self.read_chunks(reader)
                    keep.append(f'Content-Length: {len(body)}')
                else:
                    lengths = [x.split(':')[1] for x in lines if x.lower().startswith('content-length')]
                    body = await reader.readexactly(int(lengths[0])) if lengths else b''
            return '\r\n'.join(keep).encode('latin-1') + b'\r\n\r\n' + body
        finally:
            writer.close()

    @staticmethod
    async def read_chunks(reader):
        body = b''
        while True:
            size = int((await reader.readline()).split(b';')[0], 16)
            body += await reader.readexactly(size)
            await reader.readline()
            if not size:
                return body

    # --- what only the DynamoDB API has

    async def partial(self, request):
        operation = request.header('x-amz-target').rpartition('.')[2]
        if operation == 'BatchWriteItem':
            return await self.partial_batch(request)
        if operation == 'Query':
            body = json.loads(request.body)
            body['Limit'] = self.random.randint(1, 2)
            request.body = json.dumps(body).encode()
            self.done['short pages'] += 1
        return await self.forward(request)

    async def partial_batch(self, request):
        body = json.loads(request.body)
        (table, requests), = body['RequestItems'].items()
        self.random.shuffle(requests)
        cut = self.random.randint(0, len(requests) - 1)
        body['RequestItems'] = {table: requests[:cut]}
        rest = {table: requests[cut:]}
        self.done['unprocessed items'] += len(requests) - cut
        if not cut:
            return answer('200 OK', json.dumps({'UnprocessedItems': rest, 'ConsumedCapacity': []}), self.kind)
        request.body = json.dumps(body).encode()
        got = await self.forward(request)
        head, _, text = got.partition(b'\r\n\r\n')
        if b' 200 ' not in head.split(b'\r\n')[0]:
            return got
        result = json.loads(text)
        result['UnprocessedItems'] = rest
        return answer('200 OK', json.dumps(result), self.kind)

    # --- a request

    def refusal(self, what):
        if what == 'error':
            return answer('500 Internal Server Error', '{"__type":"InternalServerError","message":"injected"}'
                          if self.kind == 'dynamodb' else '<Error><Code>InternalError</Code></Error>', self.kind)
        if self.kind == 'dynamodb':
            return answer('400 Bad Request', '{"__type":"x#ProvisionedThroughputExceededException","message":"injected"}', self.kind)
        return answer('503 Slow Down', '<Error><Code>SlowDown</Code></Error>', self.kind)

    async def serve_one(self, request, writer):
        """False: the connection ends."""
        fault = self.choose()
        if fault == 'partial' and self.kind != 'dynamodb':
            fault = None
        self.done[fault or 'good'] += 1
        if fault == 'silence':
            await asyncio.sleep(SILENCE_S)
            return False
        if fault == 'hang_up':
            return False
        if fault in ('throttle', 'error'):
            writer.write(self.refusal(fault))
            return True
        got = await (self.partial(request) if fault == 'partial' else self.forward(request))
        if fault == 'silence_after_effect':
            await asyncio.sleep(SILENCE_S)
            return False
        if fault == 'hang_up_after_effect':
            return False
        if fault == 'error_after_effect':
            writer.write(self.refusal('error'))
            return True
        if fault == 'cut':
            writer.write(got[:self.random.randrange(len(got))])
            return False
        writer.write(got)
        if fault == 'twice':
            if self.random.random() < 0.5:
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.write(got)
        return True

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            while True:
                request = await read_request(reader)
                if not request or not await self.serve_one(request, writer):
                    break
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the server is away, or the client has gone
        finally:
            self.tasks.discard(task)
            writer.close()


async def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--upstream', type=int, required=True)
    p.add_argument('--kind', choices=('dynamodb', 's3'), required=True)
    p.add_argument('--seed', type=int, required=True)
    p.add_argument('--share', type=float, default=10)
    p.add_argument('--port', type=int, default=0)
    a = p.parse_args()
    proxy = Proxy(a.upstream, a.kind, a.seed, a.share)
    server = await asyncio.start_server(proxy.serve, '127.0.0.1', a.port, limit=1 << 26)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(f'# faults of seed {a.seed}: {dict(proxy.done)}', flush=True)
    os._exit(0)


class FaultProxy:
    """A context manager around the program above; `report` is what it said at its end."""

    def __init__(self, upstream, kind, share=10, seed=None):
        self.seed = int(os.environ.get('SEED') or seed or random.SystemRandom().randrange(1 << 31))
        self.command = [sys.executable, str(Path(__file__).resolve()), '--upstream', str(upstream), '--kind', kind, '--seed',
                        str(self.seed), '--share', str(share)]
        self.process = self.port = None
        self.report = ''

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        try:
            self.report = self.process.stdout.read()
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()
        print(self.report, end='', flush=True)

    @property
    def endpoint(self):
        return f'http://127.0.0.1:{self.port}'


if __name__ == '__main__':
    asyncio.run(main())
