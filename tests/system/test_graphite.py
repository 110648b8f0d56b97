"""Graphite's clients: what Grafana's data source asks for, and what happens when one goes away."""
import contextlib
import json
import socket
import time
import unittest
import urllib.parse

import carat

NOW = int(time.time()) // 60 * 60
FORM = {'Content-Type': 'application/x-www-form-urlencoded'}

# Takes minutes if nobody ends it.
ENDLESS = "movingMedian(sin('x',1,1),'1d')"


def form(*pairs):
    return urllib.parse.urlencode(pairs)


class Grafana(unittest.TestCase):
    """The requests of Grafana's Graphite data source, one after the other as an editor and a dashboard send them."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.c = cls.stack.enter_context(carat.Carat())
        lines = [f'servers.{h}.cpu.{m} {i + k} {NOW - 600 + 60 * k}\n' for i, h in enumerate(('web-1', 'web-2', 'db-1'))
                 for m in ('user', 'system') for k in range(10)]
        lines += [f'load;dc={d};host={h} {k} {NOW - 600 + 60 * k}\n' for d, h in (('paris', 'a'), ('tokyo', 'b')) for k in range(10)]
        cls.c.graphite_send(''.join(lines))
        carat.wait_for('the points', lambda: cls.c.value_at('load;dc=tokyo;host=b', NOW - 60) == 9 and
                       cls.c.value_at('servers.db-1.cpu.system', NOW - 60) == 11)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def get(self, path, *pairs, status=200):
        code, body = self.c.get(path + ('?' + form(*pairs) if pairs else ''))
        self.assertEqual(code, status, body)
        return json.loads(body)

    def post(self, path, *pairs, status=200):
        code, body = self.c.request('POST', path, form(*pairs).encode(), headers=FORM)
        self.assertEqual(code, status, body)
        return json.loads(body)

    def test_version(self):
        status, body = self.c.get('/version')
        self.assertEqual((status, body), (200, b'1.1.8'))

    def test_data_source_works(self):
        """The test of the data source's page."""
        self.assertIn({'text': 'servers', 'id': 'servers', 'allowChildren': 1, 'expandable': 1, 'leaf': 0}, self.get('/metrics/find', ('query',
            '*')))
        line = self.post('/render', ('target', 'constantLine(100)'), ('from', '-1h'), ('until', 'now'), ('format', 'json'), ('maxDataPoints', 300))
        self.assertEqual({v for v, _ in line[0]['datapoints']}, {100})

    def test_functions(self):
        """The editor's list: names with groups, and parameters with type, default and what to choose from."""
        functions = self.get('/functions')
        self.assertGreater(len(functions), 140)
        for f in functions.values():
            self.assertLessEqual({'name', 'function', 'description', 'group', 'params'}, set(f))
        self.assertEqual([(p['name'], p['type'], p.get('required')) for p in functions['movingAverage']['params']],
                         [('seriesList', 'seriesList', True), ('windowSize', 'intOrInterval', True), ('xFilesFactor', 'float', None)])
        self.assertEqual(functions['summarize']['params'][2]['default'], 'sum')
        self.assertIn('sumSeries', functions['groupByNode']['params'][2]['options'])

    def test_metric_editor_and_variables(self):
        """Levels one by one, with the panel's time range."""
        times = (('from', NOW - 3600), ('until', NOW))
        hosts = self.get('/metrics/find', ('query', 'servers.*'), *times)
        self.assertEqual([(n['text'], n['expandable']) for n in hosts], [('db-1', 1), ('web-1', 1), ('web-2', 1)])
        leaves = self.post('/metrics/find', ('query', 'servers.web-*.cpu.*'), *times)
        self.assertEqual([(n['text'], n['leaf']) for n in leaves], [('system', 1), ('user', 1)])
        self.assertEqual(self.get('/metrics/expand', ('query', 'servers.{web-1,db-1}.cpu'))['results'], ['servers.db-1.cpu', 'servers.web-1.cpu'])

    def test_tag_editor_and_variables(self):
        times = (('from', NOW - 3600), ('until', NOW))
        self.assertEqual([t['tag'] for t in self.get('/tags')], ['dc', 'host', 'name'])
        self.assertEqual([v['value'] for v in self.get('/tags/host')['values']], ['a', 'b'])
        self.assertEqual(self.get('/tags/autoComplete/tags', ('expr', 'name=load'), ('tagPrefix', 'h'), ('limit', 10000), *times), ['host'])
        self.assertEqual(self.get('/tags/autoComplete/values', ('expr', 'name=load'), ('expr', 'dc=tokyo'), ('tag', 'host'), ('limit', 10000)),
                         ['b'])
        self.assertEqual(self.get('/tags/autoComplete/values', ('tag', 'dc'), ('valuePrefix', 'p')), ['paris'])

    def test_panel(self):
        """Two queries, the second of the first, by form."""
        a = 'aliasByNode(servers.*.cpu.user, 1)'
        answer = self.post('/render', ('target', a), ('target', f'sumSeries({a})'), ('from', NOW - 600), ('until', NOW - 60), ('format', 'json'),
                           ('maxDataPoints', 1000))
        self.assertEqual([s['target'] for s in answer[:3]], ['db-1', 'web-1', 'web-2'])
        self.assertEqual(answer[3]['datapoints'][-1], [30.0, NOW - 60])
        thinned = self.post('/render', ('target', a), ('from', '-30min'), ('until', 'now'), ('format', 'json'), ('maxDataPoints', 5),
                            ('cacheTimeout', '60'))
        self.assertTrue(all(len(s['datapoints']) <= 5 for s in thinned))

    def test_annotations(self):
        """Events: none. A metric as annotation: a query like others."""
        self.assertEqual(self.get('/events/get_data', ('from', '-6h'), ('until', 'now'), ('tags', 'deploy')), [])
        self.assertIn('no events', self.post('/events/', ('what', 'deploy'), status=501)['error']['message'])
        self.assertEqual(len(self.post('/render', ('target', 'drawAsInfinite(servers.web-1.cpu.user)'), ('from', '-6h'), ('until', 'now'),
                                       ('format', 'json'), ('maxDataPoints', 100))), 1)

    def test_errors_are_shown(self):
        """Grafana shows the body of an error: it says what and where."""
        message = self.post('/render', ('target', "scale(servers.web-1.cpu.user,'x')"), ('from', '-6h'), ('until', 'now'), ('format', 'json'),
                            status=400)['error']['message']
        self.assertIn("parameter 'factor' expects a number", message)
        self.assertEqual(message.splitlines()[2].strip(), '^')


class GoesAway(unittest.TestCase):
    """A client that closes its connection ends its query, also one that waits for its turn."""

    def ask(self, c):
        s = socket.create_connection(('127.0.0.1', c.http_port), timeout=30)
        query = form(('target', ENDLESS), ('from', 0), ('until', 4000000), ('format', 'json'))
        s.sendall(f'GET /render?{query} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        return s

    def cancelled(self, c):
        return c.metric('carat_query_cancelled_total')

    def test_its_query_ends(self):
        with carat.Carat(['query.timeout=10min']) as c:
            askers = [self.ask(c) for _ in range(8)]  # more than there are threads for queries
            carat.wait_for('all connections', lambda: c.metric('carat_http_connections') >= len(askers))
            self.assertEqual(self.cancelled(c), 0)
            for s in askers:
                s.close()
            carat.wait_for('all of them to be given up', lambda: self.cancelled(c) == len(askers))
            self.assertEqual(c.get('/render?target=constantLine(1)&format=json')[0], 200)
            self.assertEqual(c.stop(), 0)


if __name__ == '__main__':
    unittest.main()
