"""carat cost against a running server and with prices of one's own."""
import json
import subprocess
import tempfile
import time
import unittest

import carat

NOW = int(time.time()) // 60 * 60


def cost(*arguments):
    return subprocess.run([carat.BINARY, 'cost', *arguments], capture_output=True, text=True, timeout=30)


class Cost(unittest.TestCase):
    def test_series_and_bytes_a_point_are_measured(self):
        with carat.Carat(['hot.flush_delay=0s', 'hot.jitter=0', 'hot.flush_round=100ms']) as c:
            old = NOW - 2 * 86400
            c.graphite_send(''.join(f'm.s{i} {i * k % 17} {old + 60 * k}\n' for i in range(60) for k in range(240)))
            carat.wait_for('the flush', lambda: (c.metric('carat_points_flushed_total') or 0) >= 14400, 60)
            got = json.loads(cost('--url', c.url(''), '--json').stdout)
            self.assertEqual((got['series'], got['measured']), (60, True))
            page = json.loads(c.get('/api/v1/cost')[1])
            self.assertEqual({k: page[k] for k in ('series', 'measured', 'month')}, {k: got[k] for k in ('series', 'measured', 'month')})
            self.assertEqual(len(page['windows']), 7)
            self.assertEqual(c.get('/api/v1/cost?series=0')[0], 400)
            again = json.loads(cost('--url', c.url(''), '--json', '--series', '1000').stdout)
            self.assertEqual(again['series'], 1000)

    def test_own_prices(self):
        text = cost('--print-prices').stdout
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as f:
            f.write(text.replace('put_thousand = 0.005', 'put_thousand = 5000'))
            f.flush()
            dear, usual = json.loads(cost('--prices', f.name, '--json').stdout), json.loads(cost('--json').stdout)
            self.assertGreater(dear['month']['cold_requests'], 1000 * usual['month']['cold_requests'])
            f.write('\n[s3]\nnonsense = 1\n')
            f.flush()
            r = cost('--prices', f.name)
            self.assertEqual(r.returncode, 1)
            self.assertIn(f.name, r.stderr)
        self.assertEqual(cost('--series', 'many').returncode, 2)
        r = cost('--url', f'http://127.0.0.1:{carat.free_port()}')
        self.assertEqual(r.returncode, 1)
