"""Every mistake gets a clear answer, and nothing good beside it is lost."""
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest

import carat

NOW = int(time.time()) // 60 * 60


class BadStart(unittest.TestCase):
    """Exit code and message of a server that cannot start."""

    def refused(self, c, code, *words):
        with self.assertRaises(carat.Refused) as caught:
            c.start()
        self.assertEqual(c.exit_code(), code, str(caught.exception))
        for w in words:
            self.assertIn(w, str(caught.exception))

    def test_unknown_key(self):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as f:
            f.write('[http]\nlissen = 127.0.0.1:1\n')
            f.flush()
            c = carat.Carat(config=f.name)
            self.addCleanup(c.__exit__)
            self.refused(c, 2, f'{f.name}:2: unknown key http.lissen; did you mean http.listen?')

    def test_wrong_values(self):
        for setting, words in (('http.listen=nonsense', 'http.listen'), ('http.threads=0', 'from 1 to 64'),
                               ('stream.keep=yesterday', 'duration'), ('log.level=loud', 'log.level'),
                               ('retention.schemas=/nonexistent', '/nonexistent')):
            with self.subTest(setting):
                c = carat.Carat([setting])
                self.addCleanup(c.__exit__)
                with self.assertRaises(carat.Refused) as caught:
                    c.start()
                self.assertIn(c.exit_code(), (1, 2))
                self.assertIn(words, str(caught.exception))

    def test_port_in_use(self):
        for key in ('http.listen', 'graphite.listen'):
            with self.subTest(key), socket.socket() as s:
                s.bind(('127.0.0.1', 0))
                s.listen()
                address = '127.0.0.1:%d' % s.getsockname()[1]
                c = carat.Carat([f'{key}={address}'])
                self.addCleanup(c.__exit__)
                self.refused(c, 1, address, 'in use')

    def test_unwritable_data_directory(self):
        c = carat.Carat(data='/proc/carat')  # refuses root too
        self.addCleanup(c.__exit__)
        self.refused(c, 1, '/proc/carat')

    def test_data_directory_is_a_file(self):
        c = carat.Carat()
        self.addCleanup(c.__exit__)
        with open(c.data, 'w'):
            pass
        self.refused(c, 1, c.data)

    def test_data_directory_of_something_else(self):
        c = carat.Carat()
        self.addCleanup(c.__exit__)
        os.mkdir(c.data)
        with open(c.data + '/holiday.jpg', 'w') as f:
            f.write('x')
        self.refused(c, 1, c.data)
        self.assertEqual(set(os.listdir(c.data)) - {'lock'}, {'holiday.jpg'})

    def test_data_directory_of_another_version(self):
        with carat.Carat() as c:
            self.assertEqual(c.post_points('h', [('custom.a', NOW, 5)]), 200)
            self.assertEqual(c.stop(), 0)
            mark = os.path.join(c.data, FORMAT_MARK)
            with open(mark, encoding='utf-8') as f:
                ours = f.read()
            with open(mark, 'w', encoding='utf-8') as f:
                f.write(ours.replace('1', '999', 1))
            self.refused(c, 1, '999')
            with open(mark, 'w', encoding='utf-8') as f:
                f.write(ours)
            c.start()
            self.assertEqual(c.value_at('host.h.custom.a', NOW), 5)

    def test_two_servers_on_one_data_directory(self):
        with carat.Carat() as first:
            second = carat.Carat(data=first.data)
            self.addCleanup(second.__exit__)
            self.refused(second, 1, first.data)
            self.assertEqual(first.post_points('h', [('custom.a', NOW, 1)]), 200)


FORMAT_MARK = 'FORMAT'  # src/server/data_dir.c


class BadPoints(unittest.TestCase):
    """Refused points are counted under their reason; the good ones around them arrive."""

    def setUp(self):
        self.carat = carat.Carat()
        self.addCleanup(self.carat.__exit__)
        self.carat.start()

    def among_good_ones(self, lines, reason, rejected):
        c, before = self.carat, self.carat.rejected(reason)
        c.graphite_send(b'good.before 1 %d\n%sgood.after 2 %d\n' % (NOW, lines, NOW))
        carat.wait_for('the good points', lambda: c.value_at('good.before', NOW) == 1 and c.value_at('good.after', NOW) == 2)
        self.assertEqual(c.rejected(reason) - before, rejected)

    def test_a_line_of_10_megabytes(self):
        self.among_good_ones(b'x' * 10_000_000 + b'\n', 'line_too_long', 1)

    def test_a_name_of_10000_bytes(self):
        self.among_good_ones(b'%s 1 %d\n' % (b'n' * 10_000, NOW), 'name_too_long', 1)

    def test_nan_and_infinities(self):
        lines = b''.join(b'not.finite %s %d\n' % (v, NOW) for v in (b'nan', b'inf', b'-inf', b'NaN', b'Infinity'))
        self.among_good_ones(lines, 'not_finite', 5)

    def test_milliseconds_as_seconds(self):
        self.among_good_ones(b'ms 1 %d\n' % (NOW * 1000), 'future', 1)

    def test_the_year_2100(self):
        self.among_good_ones(b'future 1 4102444800\n', 'future', 1)

    def test_negative_time(self):
        self.among_good_ones(b'negative 1 -86400\n', 'bad_time', 1)

    def test_not_a_graphite_line(self):
        self.among_good_ones(b'GET / HTTP/1.1\nHost: x\n\x00\x01\xff\n', 'syntax', 2)

    def test_mackerel_json_says_what_is_wrong(self):
        c = self.carat
        for body, words in (([{'hostId': 'h', 'name': 'custom.x', 'time': NOW * 1000, 'value': 1}], ''),
                            ([{'hostId': 'h', 'name': '', 'time': NOW, 'value': 1}], 'name'),
                            ([{'hostId': 'h', 'name': 'custom.x', 'time': NOW, 'value': 'high'}], 'value'), ({'a': 1}, '')):
            status, answer = c.post_json('/api/v0/tsdb', body)
            self.assertEqual(status, 400, answer)
            self.assertIn(words, json.loads(answer)['error']['message'])
        self.assertEqual(c.request('POST', '/api/v0/tsdb', b'{')[0], 400)
        self.assertEqual(c.post_points('h', [('custom.x', NOW, 1)]), 200)


class BadClients(unittest.TestCase):
    def test_a_body_over_the_bound(self):
        with carat.Carat(['http.max_body=64K']) as c:
            try:
                self.assertEqual(c.request('POST', '/api/v0/tsdb', b'[' + b' ' * 200_000)[0], 413)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may close before all was sent
            self.assertEqual(c.post_points('h', [('custom.x', NOW, 1)]), 200)

    def test_clients_that_say_nothing(self):
        with carat.Carat() as c:
            silent = [c.graphite() for _ in range(20)]
            silent += [socket.create_connection(('127.0.0.1', c.http_port)) for _ in range(20)]
            self.assertEqual(c.post_points('h', [('custom.x', NOW, 1)]), 200)
            c.graphite_send(f'a.b 3 {NOW}\n')
            carat.wait_for('the point', lambda: c.value_at('a.b', NOW) == 3)
            for s in silent:
                s.close()

    def test_5000_connections(self):
        with carat.Carat() as c:
            crowd = []
            try:
                for i in range(5000):
                    s = c.graphite()
                    crowd.append(s)
                    s.sendall(b'crowd.c%d %d %d\n' % (i, i, NOW))
                carat.wait_for('all points', lambda: c.metric('carat_points_received_total') == 5000, 60)
                carat.wait_for('the last', lambda: c.value_at('crowd.c4999', NOW) == 4999)
            finally:
                for s in crowd:
                    s.close()

    def test_half_a_line_then_nothing(self):
        with carat.Carat() as c:
            with c.graphite() as s:
                s.sendall(b'whole.line 1 %d\nhalf.li' % NOW)
                carat.wait_for('the whole line', lambda: c.value_at('whole.line', NOW) == 1)
            self.assertEqual(c.render('half*', NOW - 60, NOW + 60), {})


class Collectd(unittest.TestCase):
    def test_write_graphite(self):
        collectd = next((p for p in ('/usr/sbin/collectd', '/usr/bin/collectd') if os.path.exists(p)), None)
        if not collectd:
            self.skipTest('collectd is not installed')
        with carat.Carat() as c:
            conf = os.path.join(c.dir, 'collectd.conf')
            with open(conf, 'w', encoding='utf-8') as f:
                f.write(f'''Hostname "box"
FQDNLookup false
BaseDir "{c.dir}"
PIDFile "{c.dir}/collectd.pid"
Interval 1
LoadPlugin load
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "carat">
    Host "127.0.0.1"
    Port "{c.graphite_port}"
    Protocol "tcp"
    Prefix "collectd."
  </Node>
</Plugin>
''')
            p = subprocess.Popen([collectd, '-f', '-C', conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                def arrived():
                    return c.render('collectd.box.load.load.*', NOW - 60, time.time() + 60)
                carat.wait_for('the load averages', lambda: len(arrived()) == 3)
            finally:
                p.terminate()
                p.wait(10)
            self.assertEqual(c.metric('carat_points_rejected_total') or 0, 0)
