"""Clients that know what a server must hold, for tests that kill it."""
import http.client
import json
import random
import threading
import time

SERIES = 8        # of a client
POINTS = 16       # of a post
APPLY_S = 10      # a point is readable so long after its answer at the latest
OVERWRITES = 0.25  # share of points that go to a slot written before


class Client(threading.Thread):
    """Posts until told to stop; holds still, with no post under way, while `posting` is held by another.

    It owns a host and posts in order, so for each slot it knows which value must be there: the last acknowledged
    one, or one of those sent after it whose answer never came. Anything else is lost, stale or invented."""
    step_s = 60
    pause_s = 0.0005  # after a good post

    def __init__(self, port, host, seed, oldest):
        super().__init__(daemon=True)
        self.port, self.host, self.oldest = port, host, oldest
        self.random = random.Random(seed)
        self.sent = 0        # also the next unique value
        self.next_slot = [0] * SERIES
        self.acked = {}      # (series, slot) -> value
        self.unsure = {}     # (series, slot) -> values sent after that, without an answer
        self.posts = self.refused = 0
        self.posting = threading.Lock()
        self.ended = False
        self.connection = None

    def pick(self):
        """A series and a slot number: mostly the next one, sometimes an earlier one again."""
        series = self.random.randrange(SERIES)
        if self.next_slot[series] and self.random.random() < OVERWRITES:
            return series, self.random.randrange(self.next_slot[series])
        self.next_slot[series] += 1
        return series, self.next_slot[series] - 1

    def post_once(self):
        points = {}
        for _ in range(POINTS):
            self.sent += 1
            points[self.pick()] = self.sent
        body = json.dumps([{'hostId': self.host, 'name': f'custom.s{s}', 'time': self.time_of(k), 'value': v}
                           for (s, k), v in points.items()])
        status = self.exchange(body)
        self.posts += 1
        if status == 200:
            self.acked.update(points)
            for key in points:
                self.unsure.pop(key, None)
        else:
            self.refused += status is not None
            for key, value in points.items():
                self.unsure.setdefault(key, []).append(value)
        return status == 200

    def exchange(self, body):
        """The status; None if there was no answer."""
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
            self.connection.request('POST', '/api/v0/tsdb', body, {'Content-Type': 'application/json'})
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return None

    def time_of(self, slot):
        return self.oldest + self.step_s * slot

    def run(self):
        while not self.ended:
            with self.posting:
                good = self.post_once()
            time.sleep(self.pause_s if good else 0.05)

    # --- what must be there

    def read(self, server):
        """{(series, slot): value} of all the server has."""
        until = self.time_of(max(self.next_slot)) + self.step_s
        got = server.render(f'host.{self.host}.custom.*', self.oldest - self.step_s, until)
        return {(int(name.rsplit('.s', 1)[1]), (t - self.oldest) // self.step_s): v for name, points in got.items()
                for t, v in points.items()}

    def compare(self, server):
        """Reads everything of this client: what was seen, and a list of complaints."""
        seen, bad = self.read(server), []
        for key in self.acked.keys() | self.unsure.keys() | seen.keys():
            allowed = ([self.acked[key]] if key in self.acked else [None]) + self.unsure.get(key, [])
            if seen.get(key) not in allowed:
                bad.append(f'{self.host} series {key[0]} slot {key[1]}: read {seen.get(key)}, allowed {allowed}')
        return seen, bad

    def verify(self, server):
        """A list of complaints that stay. The last points before the pause may need a moment to be applied."""
        until = time.monotonic() + APPLY_S
        seen, bad = self.compare(server)
        while bad and time.monotonic() < until:
            time.sleep(0.1)
            seen, bad = self.compare(server)
        # What was read once must not change again: an unsure slot is settled from here on.
        for key in self.unsure:
            if seen.get(key) is not None:
                self.acked[key] = seen[key]
        self.unsure.clear()
        return bad
