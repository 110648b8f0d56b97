"""Random requests to Graphite's read API, from a seed: nested calls of every function with right, odd and wrong arguments, all
formats, time forms, and the find and tag APIs. The words are those of graphite_points.py."""
import random
import time

PATHS = [
    'servers.*.cpu.user', 'servers.*.cpu.*', 'servers.web-0[12].cpu.user', 'servers.{web-01,db-01}.cpu.{user,system}', 'servers.web-01.cpu.user',
    'servers.web-03.cpu.user', 'servers.*.mem.*', 'servers.db-01.disk.*.reads', 'servers.web-0?.cpu.idle', 'servers.web-01.**', 'gauges.temp.*',
    'gauges.temp.room1', 'gauges.temp.room[1-3]', 'gauges.temp.cellar', 'gauges.temp.outside', 'gauges.queue.depth', 'counters.*.*',
    'counters.api.requests', 'counters.api.errors', 'counters.net.wrap32', 'edge.*', 'edge.alt', 'edge.const', 'edge.sparse', 'edge.single',
    'edge.zero', 'edge.neg', 'edge.large', 'edge.small', 'edge.square', 'edge.unit', 'edge.ramp', 'edge.bool', 'edge.{zero,neg,alt,unit,sparse}',
    'nat.*.v', 'odd.*.v', 'odd.10.20', 'odd.UPPER.v', 'slow.*.load', 'slow.*.*', 'slow.a.*', 'slow.a.temp', 'slow.b.count',
    'no.such', 'no.*.such', '*.*.v', 'servers.web-0[!1].cpu.user', '*', '**.load', '**.v', 'servers.web-01.cpu',
    'cpu.load;dc=paris;host=a', 'disk.used;disk=vda;host=a;mount=/data.vda', 'lonely;only=one',
]
TAG_EXPRS = [
    'name=cpu.load', 'dc=paris', 'dc!=paris', 'host=a', 'host=~a|b', 'host=~[bc]', 'host!=~a', 'host!=b', 'name=~.*', 'name=~cpu', 'name=~disk|cpu',
    'disk=vda', 'disk=', 'dc=', 'dc!=', 'env=prod', 'env=~dev-\\d', 'env=~dev', 'code=200', 'code=~[45]..', 'code!=200', 'only=one',
    'mount=/data.vda',
    'name=http.requests', 'name!=cpu.load', 'nosuch=1', 'nosuch!=1', 'nosuch=~1', 'host=~^a$', 'host=~.', 'host=~(', 'name=', 'bad', '=a', 'a=~',
    'host=A',
    'name=disk.used', 'host=~', 'host!=~', 'host!=~.*', 'dc=~^p', 'dc=~is$', 'dc=~ar', 'name=servers.web-01.cpu.user',
]
PATHS_FEW = [p for p in PATHS if '**' not in p and p not in ('*', 'edge.*', 'counters.*.*', 'servers.*.cpu.*', 'servers.*.mem.*')]
AGGS = ['average', 'avg', 'avg_zero', 'count', 'current', 'diff', 'last', 'max', 'median', 'min', 'multiply', 'range', 'rangeOf', 'stddev', 'sum',
        'total']
ODD_AGGS = ['first', 'nosuch', 'sumSeries', 'averageSeries', '', 'SUM', 'lastSeries', 'maxSeries', 'p95', 'rangeOfSeries', 'avg_zeroSeries',
            'stddevSeries']
INTERVALS = ['1min', '5min', '10min', '7min', '30s', '90s', '1h', '2h', '1hour', '1hours', '1d', '15minutes', '300s', '1min30s', '-5min', '-1h',
             '+10min',
             '3600seconds', '1h30min', '1w', '120s', '60s', '61s']
ODD_INTERVALS = ['', '0s', 'x', '5', '10', '1', '1x', 'min', '-', '1 min', '5mins', '1m', '1mon', '1y', '-1min-1s', '1min-1s', '0', '1.5h',
                 'hours', '1H', '0min']
NUMBERS = ['0', '1', '2', '3', '5', '10', '-1', '-2.5', '0.5', '1.5', '100', '25', '50', '95', '1e3', '1e-3', '0.1', '1000000', '1e20', '3.14159',
           '-0', '7', '12', '0.25']
ODD_NUMBERS = ["'2'", "'1.5'", "'x'", "''", 'true', 'false', 'none', 'inf', '1e400', "'inf'", "'nan'", '99999999999999999999', 'True', 'None',
               "'1e3'", "' 2 '", "'-1'", '-1e3', '1E3', '007', '2.0', "'2.0'", '"3"', 'Inf', 'INF', "'1_0'"]
INTEGERS = ['0', '1', '2', '3', '4', '5', '7', '10', '-1', '-2', '20', '100']
STRINGS = ["'x'", '"some name"', "'a.b.c'", "'a(b)'", "'caf\u00e9'", "''", "'a;b=c'", '"it\'s"', "'$1'", "'%s'", "'[0]'", "'\\\\1'", "'a,b'",
           "'{x}'", "'1'"]
PATTERNS = ["'web'", "'cpu'", "'^servers'", "'user$'", "'room[12]'", "'0[13]'", "'.'", "''", "'(web|db)'", "'^s.*r$'", "'\\.'", "'['",
            "'(?i)WEB'", "'a|b'", "'\\d+'", "'x'"]
REPLACES = ["'X'", "'\\1'", "'<\\1>'", "'\\g<0>'", "'\\2'", "'\\\\'", "''", "'db'", "'\\n'", "'$1'", "'\\0'", "'web-02'", "'system'", "'idle'",
            "'\\g<1>_'", "'\\g<x>'"]
SEARCHES = ["'user'", "'web-(.)'", "'(web)'", "'^servers\\.([^.]+)\\..*$'", "'(.+)'", "'cpu'", "'web-01'", "'([a-z]+)-(\\d+)'", "'o'",
            "'room(\\d)'", "'^'", "'$'", "'room1'"]
NODES = ['0', '1', '2', '3', '-1', '-2', "'host'", "'dc'", "'name'", '"env"', "'nosuch'", '5', '-6', "'1'", '1.0', "'0'", '0.5', 'true']
TAGS = ["'host'", "'dc'", "'name'", '"env"', "'nosuch'", "'code'", "'disk'", '0', '1', "'aggregatedBy'"]
DATES = ["'12:30_20261120'", "'20261120'", "'-1h'", "'-30min'", "'now'", "'-2h'", "'-20min'", "'midnight'", "'noon_yesterday'", "''", "'nosuch'",
         "'1795176000'", "'1795177500'",
         "'-1h30min'", "'-90s'", 'none', '5', "'-1d'", "'+10min'"]
COLORS = ["'red'", "'blue'", "'ff0000'", "'nosuch'", "''"]
# The lists have the times of points that begin on 2026-11-20 (UTC); others are put in their place.
BEGIN, SPAN = 1795132800, 36 * 3600
CREATORS = ['constantLine', 'threshold', 'verticalLine', 'identity', 'sin', 'sinFunction', 'time', 'timeFunction', 'randomWalk',
            'randomWalkFunction', 'events', 'seriesByTag']
SLOW = ['holtWintersForecast', 'holtWintersConfidenceBands', 'holtWintersConfidenceArea', 'holtWintersAberration', 'timeStack']


class Requests:
    def __init__(self, seed, functions, begin, areas=None):
        """functions: graphite-web's /functions; begin: midnight before the first point."""
        self.r = random.Random(seed)
        self.begin = begin
        self.moved = []
        for day in (0, 1):
            was, now = (time.gmtime(b + day * 86400) for b in (BEGIN, begin))
            for form in ('%Y%m%d', '%m/%d/%Y', '%m/%d/%y', '%b%d', '%b %d'):
                self.moved.append((time.strftime(form, was).lower(), time.strftime(form, now).lower()))
        self.functions = functions
        self.names = sorted(functions)
        self.areas = areas

    def then(self, text):
        """A time of the lists as one of these points."""
        if text.strip("'").isdigit() and len(text.strip("'")) == 10:
            return text.replace(text.strip("'"), str(int(text.strip("'")) - BEGIN + self.begin))
        for was, now in self.moved:
            text = text.replace(was, now)
        return text

    def pick(self, *choices):
        return self.r.choice(choices)

    def chance(self, p):
        return self.r.random() < p

    # --- arguments

    def number(self):
        if self.chance(0.12):
            return self.r.choice(ODD_NUMBERS)
        if self.chance(0.2):
            return repr(round(self.r.uniform(-50, 150), self.r.randrange(5)))
        return self.r.choice(NUMBERS)

    def integer(self):
        if self.chance(0.12):
            return self.r.choice(ODD_NUMBERS + NUMBERS)
        return self.r.choice(INTEGERS)

    def string(self, usual, odd=(), quote=True):
        text = self.r.choice(odd if odd and self.chance(0.15) else usual)
        if not quote:
            return text
        return text if text[:1] in '\'"' and len(text) > 1 else self.pick("'%s'", '"%s"', "'%s'") % text

    def interval(self):
        return self.string(INTERVALS, ODD_INTERVALS)

    def agg(self):
        return self.string(AGGS, ODD_AGGS)

    def series(self, depth):
        if depth <= 0 or self.chance(0.35):
            if self.chance(0.18):
                return self.by_tag()
            return self.r.choice(PATHS if self.chance(0.4) else PATHS_FEW)
        return self.call(depth - 1)

    def by_tag(self):
        n = self.pick(1, 1, 2, 2, 3)
        exprs = [self.r.choice(TAG_EXPRS[:28] if self.chance(0.85) else TAG_EXPRS) for _ in range(n)]
        return 'seriesByTag(%s)' % ','.join(self.pick("'%s'", '"%s"') % e for e in exprs)

    def template(self):
        return self.pick("'%.cpu.user'", "'sumSeries(%.cpu.*)'", "'%'", "'divideSeries(%.mem.used,%.mem.total)'", "'scale(%.*.*,2)'", "'no.%'",
                         "'%.*'", "'averageSeries(%.**)'", "'x%('")

    def argument(self, f, p, depth):
        special = getattr(self, '_arg_%s_%s' % (f, p['name']), None)
        if special:
            return special()
        kind = p['type']
        name = p['name']
        if self.chance(0.02):  # of quite another type
            return self.pick('5', "'x'", 'true', 'none', 'servers.web-01.cpu.user', 'no.such', '1.5', 'inf')
        if kind == 'seriesList':
            return self.series(depth)
        if kind == 'seriesLists':
            nodes = self.pick('1', '0', '2', '1,3', "'host'", '0,1', '-1')
            return 'mapSeries(%s,%s)' % (self.series(0), nodes) if self.chance(0.93) else self.series(depth)
        if kind == 'boolean':
            return self.pick('true', 'false', 'True', 'False', 'true', 'false', '0', '1', "'true'", "'false'", 'none', "'x'", '2')
        if kind == 'float':
            return self.number()
        if kind in ('integer', 'intOrInf'):
            return self.integer() if self.chance(0.9) else 'inf'
        if kind == 'interval':
            return self.interval()
        if kind == 'intOrInterval':
            return self.pick('1', '2', '3', '5', '7', '10', '60', '0',
                             '-2') if self.chance(0.5) else self.interval() if self.chance(0.9) else self.number()
        if kind in ('node', 'nodeOrTag'):
            return self.r.choice(NODES[:9] if self.chance(0.8) else NODES)
        if kind == 'tag':
            return self.r.choice(TAGS)
        if kind == 'aggFunc':
            return self.agg()
        if kind == 'aggOrSeriesFunc':
            return self.string(AGGS + ['sumSeries', 'averageSeries', 'maxSeries', 'minSeries', 'countSeries', 'asPercent', 'diffSeries',
                                       'rangeOfSeries', 'stddevSeries',
                                       'multiplySeries', 'powSeries', 'pct'], ODD_AGGS + ['sumSeriesWithWildcards', 'scale', 'absolute',
                                           'sumSeriesLists'])
        if kind == 'date':
            return self.then(self.r.choice(DATES))
        if kind == 'any':
            return self.pick(self.series(depth), self.number(), 'none', self.series(0))
        if p.get('options') and self.chance(0.85):
            return self.string([str(o) for o in p['options']])
        if 'color' in name.lower():
            return self.r.choice(COLORS)
        if name == 'pattern':
            return self.r.choice(PATTERNS)
        if name == 'search':
            return self.r.choice(SEARCHES)
        if name == 'replace':
            return self.r.choice(REPLACES)
        return self.r.choice(STRINGS)

    def _arg_applyByNode_templateFunction(self):
        return self.template()

    def _arg_applyByNode_newName(self):
        return self.pick("'%.x'", "'%'", "'x'", 'none')

    def _arg_applyByNode_nodeNum(self):
        return self.pick('0', '1', '2', '1', '-1', '3', "'host'", '9')

    def _arg_consolidateBy_consolidationFunc(self):
        return self.string(['average', 'avg', 'sum', 'min', 'max', 'first', 'last', 'avg_zero'], ['nosuch', '', 'count', 'median', 'Sum'])

    def _arg_filterSeries_operator(self):
        return self.string(['=', '!=', '>', '>=', '<', '<='], ['==', '', '<>', 'x'])

    def _arg_smartSummarize_alignTo(self):
        return self.pick("'days'", "'hours'", "'minutes'", "'seconds'", "'weeks'", "'months'", "'years'", 'none', 'true', 'false', "'x'", "'h'",
                         "'1d'", "'weeks3'", "''", "'day'", "'weeks9'", "'min'")

    def _arg_integralByInterval_intervalUnit(self):
        return self.interval()

    def _arg_legendValue_valuesTypes(self):
        return self.string(AGGS + ['si', 'binary'], ODD_AGGS)

    def _arg_randomWalk_step(self):
        return self.pick('60', '30', '300', '7')

    _arg_randomWalkFunction_step = _arg_randomWalk_step

    def _arg_sin_step(self):
        return self.pick('60', '30', '300', '7', '1', '3600', "'60'")

    _arg_sinFunction_step = _arg_time_step = _arg_timeFunction_step = _arg_sin_step

    def _arg_reduceSeries_reduceFunction(self):
        return self.string(['asPercent', 'sumSeries', 'diffSeries', 'divideSeries', 'averageSeries', 'multiplySeries', 'maxSeries', 'group',
                            'pct', 'countSeries', 'powSeries'],
                           ['nosuch', 'sum', 'avg', 'scale', 'limit', ''])

    def _arg_reduceSeries_reduceMatchers(self):
        return self.pick("'user'", "'system'", "'idle'", "'used'", "'total'", "'nosuch'", "'load'", "'temp'", '1')

    def _arg_reduceSeries_reduceNode(self):
        return self.pick('3', '3', '2', '1', '0', '-1', "'host'")

    _arg_reduce_reduceFunction, _arg_reduce_reduceMatchers = _arg_reduceSeries_reduceFunction, _arg_reduceSeries_reduceMatchers
    _arg_reduce_reduceNode = _arg_reduceSeries_reduceNode

    def _arg_reduceSeries_seriesLists(self):
        return self.pick('mapSeries(servers.*.cpu.*,1)', 'mapSeries(servers.*.mem.*,1)', 'mapSeries(slow.*.*,1)', 'mapSeries(servers.*.*.*,1,2)',
                         'map(servers.*.cpu.{user,idle},1)',
                         'mapSeries(no.such,1)', "mapSeries(seriesByTag('name=cpu.load'),'host')", 'servers.*.cpu.user')

    _arg_reduce_seriesLists = _arg_reduceSeries_seriesLists

    def _arg_timeStack_timeShiftStart(self):
        return self.pick('0', '1', '2', '-1', '0', "'1'", '1.0')

    def _arg_timeStack_timeShiftEnd(self):
        return self.pick('1', '2', '3', '0', '2', "'2'", '2.0')

    def _arg_timeStack_timeShiftUnit(self):
        return self.pick("'1h'", "'30min'", "'-1h'", "'1d'", "'10min'", "''", "'x'", "'+1h'", '1')

    def _arg_holtWintersForecast_bootstrapInterval(self):
        return self.pick("'1h'", "'2h'", "'30min'", "'6h'", "'1d'", "'x'", "'0s'", "'7min'")

    def _arg_holtWintersForecast_seasonality(self):
        return self.pick("'1h'", "'30min'", "'10min'", "'2h'", "'1d'", "'0s'", "'x'", "'7min'")

    def _arg_randomWalk_name(self):
        return "'x'"

    def _arg_verticalLine_ts(self):
        return self.then(self.pick("'12:30_20261120'", "'-30min'", "'1795176600'", "'now'", "'nosuch'", "'18:00_20261120'", '5'))

    def call(self, depth):
        f = self.r.choice(self.names)
        if f in SLOW and self.chance(0.6) or f in ('randomWalk', 'randomWalkFunction', 'mapSeries', 'map', 'events') and self.chance(0.9):
            return self.call(depth)
        return self.call_of(f, depth)

    def call_of(self, f, depth):
        if f == 'seriesByTag':
            return self.by_tag()
        positional, named = [], []
        name_rest = False
        for p in self.functions[f]['params']:
            if name_rest and not p.get('multiple'):
                if self.chance(0.7):
                    named.append('%s=%s' % (p['name'], self.argument(f, p, depth)))
                continue
            optional = not p.get('required') or 'default' in p
            if p.get('multiple'):
                positional += [self.argument(f, p, depth) for _ in range(self.pick(1, 1, 1, 2, 2, 3) if not optional or self.chance(0.8) else 0)]
            elif optional and self.chance(0.45):
                name_rest = self.chance(0.4)
                if not name_rest:
                    break
            elif positional and self.chance(0.06):
                named.append('%s=%s' % (p['name'], self.argument(f, p, depth)))
                name_rest = True
            else:
                positional.append(self.argument(f, p, depth))
        if self.chance(0.01):
            positional.append(self.number())
        if self.chance(0.01) and positional:
            positional.pop()
        if self.chance(0.01):
            named.append('nosuch=1')
        arguments = positional + named
        if f in ('randomWalk', 'randomWalkFunction'):
            return 'scale(%s(%s),0)' % (f, ','.join(arguments))
        if len(positional) > 0 and self.chance(0.06) and '=' not in arguments[0]:
            return '%s|%s(%s)' % (arguments[0], f, ','.join(arguments[1:]))
        return '%s(%s)' % (f, self.pick(',', ',', ',', ', ', ' , ').join(arguments))

    def target(self):
        if self.chance(0.04):
            body = self.call(1)
            k = self.pick('h', 'x', '1')
            body = body.replace('web-01', '$' + k) if self.chance(0.7) else body.replace(',5', ',$' + k, 1)
            value = self.pick("'web-01'", "'db-01'", '5', "'5'", "'*'", '1.5', "'-3.2'", "'1.2.3'", 'true')
            return 'template(%s,%s)' % (body, '%s=%s' % (k, value) if k != '1' else value)
        text = self.call(self.pick(0, 0, 1, 1, 1, 2, 2, 3))
        if self.chance(0.02):  # damaged
            at = self.r.randrange(len(text) + 1)
            text = text[:at] + self.pick('', ' ', '(', ')', ',', "'", '"', '|', '=', '$', '{', '}', '\\', ';', '#', '%') + text[at + self.pick(0,
                1):]
        return text

    def grammar(self):
        """Texts at the borders of the language."""
        bits = ['servers.web-01.cpu.user', 'a.b', 'scale(', 'sumSeries(', 'alias(', 'template(', 'group(', ')', ')', ')', ',', ',', ' ', ' , ',
                '|', ' | ', "'x'", '"y"', "'", '"', '5', '1.5', '-2',
                '1e3', '1e-3', '.5', '5.', '+5', 'inf', 'nan', 'true', 'None', '=', 'factor=2', 'x=1', 'h="web-02"', '$h', '$1', '{', '}',
                '{a,b}', '{web-01,db-01}', '[', ']', '[ab]', '*', '?', '**', '.', '..',
                '\\(', '\\=', '\\', ';', '%', '#', '~', '`', '<', '&', '@', '!', 'caf\u00e9', '\t', '\n', '()', '(1)', 'odd.paren\\(1\\).v',
                'odd.eq\\=1.v', 'odd.pct%.v', 'odd.colon:x.v', 'edge.const|scale(2)',
                'edge.*', 'seriesByTag(', "'host=a'", 'scale(edge.const,2)', 'Scale(', '_f(', 'f1(', '1f(', 'a(b', 'true()', 'none.x', 'true.x',
                'inf.x', '5.x', '5x', 'servers.{web-01,web-02}.cpu.user',
                'alias(edge.const,"it\'s")', '-', '--5', '0x1', '1_0', 'servers.web-01.cpu.', '.cpu', 'a,b', 'a b']
        text = ''.join(self.r.choice(bits) for _ in range(self.pick(1, 2, 2, 3, 3, 4, 5, 6)))
        if self.chance(0.5):
            text = self.pick('scale(edge.const,%s)', 'alias(edge.const,%s)', 'sumSeries(%s)', 'group(edge.const,%s)', '%s|scale(2)',
                             'template(%s,h=\'web-01\')', 'limit(edge.*,%s)', 'scale(%s,2)',
                             'movingAverage(edge.const,%s)', 'alias(edge.const, newName=%s)', 'scale(edge.const,2)%s', ' %s', 'edge.%s',
                             'constantLine(%s)') % text
        return {'path': '/render', 'params': [('target', text), ('from', str(self.begin + 43200)), ('until', str(self.begin + 43500)), ('format',
            'json')], 'format': 'json', 'area': 'grammar'}

    # --- /render

    def times(self):
        if self.chance(0.12):
            return [('now', str(self.begin + self.pick(86400, 86430, 57200))), ('from', self.time_form())] + ([('until',
                self.time_form())] if self.chance(0.6) else [])
        span = self.pick(600, 1800, 3600, 3600, 3600, 7200, 10800, 14400, 300, 60, 120, 1, 43200)
        start = self.r.randrange(self.begin - 3600, self.begin + SPAN)
        if self.chance(0.6):
            start -= start % self.pick(60, 300, 3600)
        return [('from', str(start)), ('until', str(start + span))]

    def time_form(self):
        return self.then(self.some_time())

    def some_time(self):
        if self.chance(0.15):
            return self.pick('', 'nosuch', '-1', '1h', '-', '+', '-1x', 'now-', 'now+1h', '25:00', '12:60', 'feb30', '-1h+5min', '--1h', 'today-',
                             '1.5h', '-1.5h', 'Monday', 'nov', 'nov_20_2026',
                             '00:00', '1:00', '100:00', 'pm', '13pm', '0am', '12am', '12pm', 'noon', 'midnight+1h', 'teatime',
                             'teatime_yesterday', 'tomorrow', '06:00pm_20261120', '11/20', '20/11/2026')
        return self.pick('-1h', '-30min', '-2h', '-90min', 'now-1h', 'now', 'now-5min', '12:00_20261120', '20261120', '11/20/26', '11/20/2026',
                         'nov20', 'nov 20', 'friday', 'yesterday', 'noon_yesterday',
                         'midnight', 'today', '6pm', '6am_20261120', '14:30_20261120', '1795176000', '1795176017', '-3600s', '-1hour', '-1d',
                         'today+1h', 'noon-30min', '-86400', 'fri', 'Friday', '3am friday',
                         '10:00am_20261120', '10:00pm_20261120', '-1w', '-1h-30min', '-1h30min', '20261120+6h', 'midnight_20261121', 'saturday',
                         'sat', 'NOW-1H', ' -1h ')

    def render(self):
        targets = [self.target() for _ in range(self.pick(1, 1, 1, 1, 1, 1, 2, 3))]
        params = [('target', t) for t in targets] + self.times()
        fmt = self.pick('json', 'json', 'json', 'json', 'json', 'json', 'json', 'csv', 'raw', 'pickle', 'msgpack', 'rickshaw', 'dygraph')
        params.append(('format', fmt))
        if self.chance(0.2):
            params.append(('maxDataPoints', self.pick('1', '2', '7', '10', '20', '33', '50', '100', '500', '3', 'x', '-1', '', '1.5', '0010')))
        if self.chance(0.08):
            params.append(('noNullPoints', self.pick('1', 'true', '', '0')))
        if self.chance(0.08):
            params.append(('xFilesFactor', self.pick('0', '0.3', '0.5', '1', '0.9', 'x', '2', '-1', '')))
        if self.chance(0.04):
            params.append(('tz', self.pick('Europe/Berlin', 'UTC', 'America/New_York', 'Asia/Tokyo', 'No/Such', 'Asia/Kolkata', '')))
        if self.chance(0.03) and fmt in ('json', 'rickshaw', 'dygraph'):
            params.append(('jsonp', 'cb'))
        if self.chance(0.03):
            params.append(('template[%s]' % self.pick('h', 'x', '1'), self.pick('web-02', '7', 'x')))
        if self.chance(0.03):
            params.append(('pretty', '1'))
        if self.chance(0.02):
            params.append(('cacheTimeout', self.pick('0', '60', 'x')))
        return {'path': '/render', 'params': params, 'format': fmt, 'area': 'render'}

    def form(self):
        """A time form alone; what it gives shows in the answer."""
        params = [('target', self.pick('servers.web-01.cpu.user', 'slow.a.load', 'edge.single', 'constantLine(5)', "time('t')")), ('now',
            str(self.begin + self.pick(86400, 86430, 57200)))]
        params += [(k, self.time_form()) for k in ('from', 'until') if self.chance(0.8)]
        if self.chance(0.5):
            params.append(('tz', self.pick('Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Pacific/Apia')))
        return {'path': '/render', 'params': params + [('format', 'raw')], 'format': 'raw', 'area': 'time'}

    # --- names

    def pattern(self):
        p = self.r.choice(PATHS[:-3])
        k = self.r.random()
        if k < 0.35:
            p = '.'.join(p.split('.')[:self.pick(1, 2, 3)])
        if k < 0.1:
            p = p + '.*'
        if self.chance(0.1):
            at = self.r.randrange(len(p) + 1)
            p = p[:at] + self.pick('*', '?', '{', '}', '[', ']', '.', '..', '**', ',', '\\', ' ', '[a-z]', '{a,b}', '[!a]', '%', '+') + p[at:]
        return p

    def find(self):
        fmt = self.pick('treejson', 'treejson', 'completer', 'completer', 'json', 'nodelist', 'pickle', 'msgpack', 'nosuch')
        pattern = self.pattern()
        if fmt == 'nodelist' and pattern[0] in '*?[':  # would list where whisper keeps tagged series
            pattern = 'servers.' + pattern
        params = [('query', pattern)]
        if fmt != 'treejson' or self.chance(0.5):
            params.append(('format', fmt))
        for name, values, p in (('wildcards', '0 1 1 2 x', 0.25), ('leavesOnly', '0 1 1 x', 0.2), ('position', '0 1 2 -1 -2 9 x',
            0.4 if fmt == 'nodelist' else 0.02), ('automatic_variants', '0 1 x', 0.1),
                                ('from', '-1h 1795176000 -1 x now', 0.15), ('until', 'now 1795179600 -1 x -1h', 0.15), ('jsonp', 'cb', 0.05),
                                ('local', '1 0 x', 0.05), ('tz', 'Europe/Berlin No/Such', 0.05),
                                ('now', '1795176000 x', 0.03), ('pretty', '1', 0.03)):
            if self.chance(p):
                params.append((name, self.then(self.r.choice(values.split()))))
        if self.chance(0.02):
            params = params[1:]
        return {'path': '/metrics/find', 'params': params, 'format': fmt if fmt in ('pickle', 'msgpack') else 'json', 'area': 'find'}

    def expand(self):
        params = [('query', self.pattern()) for _ in range(self.pick(0, 1, 1, 1, 2, 3))]
        for name, values, p in (('groupByExpr', '0 1 1 x', 0.4), ('leavesOnly', '0 1 1 x', 0.4), ('jsonp', 'cb', 0.05), ('local', '1 x', 0.05),
                                ('pretty', '1', 0.05)):
            if self.chance(p):
                params.append((name, self.r.choice(values.split())))
        return {'path': '/metrics/expand', 'params': params, 'format': 'json', 'area': 'expand'}

    def tags(self):
        path = self.pick('/tags', '/tags/host', '/tags/dc', '/tags/name', '/tags/nosuch', '/tags/findSeries', '/tags/findSeries',
                         '/tags/autoComplete/tags', '/tags/autoComplete/tags',
                         '/tags/autoComplete/values', '/tags/autoComplete/values', '/tags/autoComplete/values', '/tags/code', '/tags/mount')
        params = []
        if 'find' in path or 'auto' in path:
            params += [(self.pick('expr', 'expr', 'expr', 'expr', 'expr', 'expr[]'),
                        self.r.choice(TAG_EXPRS[:28] if self.chance(0.8) else TAG_EXPRS)) for _ in range(self.pick(0, 1, 1, 2, 3))]
        if 'auto' in path:
            if 'values' in path and self.chance(0.97):
                params.append(('tag', self.pick('host', 'dc', 'name', 'code', 'env', 'nosuch', 'disk', 'mount', '')))
            if self.chance(0.4):
                params.append((self.pick('tagPrefix', 'valuePrefix', 'valuePrefix'), self.pick('', 'd', 'h', 'a', 'c', 'cpu', '2', 'x', 'A', '.',
                    '(', 'pa', '/d', 'ho')))
        elif 'find' not in path and self.chance(0.6):
            params.append(('filter', self.pick('h', '^h', 'd.', '^d$', 'd', '.*', '[', '^(a|b)', '4..', '', 'name|env', 'o', '(?i)H', 'x$')))
        if self.chance(0.4):
            params.append(('limit', self.pick('1', '2', '3', '100', '0', '-1', 'x', '', '1.5', ' 2')))
        if self.chance(0.05):
            params.append(('pretty', '1'))
        return {'path': path, 'params': params, 'format': 'json', 'area': 'tags'}

    def tag_writes(self):
        path = self.pick('/tags/tagSeries', '/tags/tagMultiSeries', '/tags/tagSeries', '/tags/delSeries')
        known = () if 'del' in path else ('cpu.load;host=a;dc=paris',)
        name = self.pick(*known, 'new;a=1', 'b;z=1;a=2', 'x', 'x;', ';a=1', 'x;a', 'x;a=', 'x;=1', 'x;a=1;a=2', 'x;a=b=c', 'a.b;c=~d', 'x;!a=1',
                         '', 'x;name=y', 'nosuch;a=1')
        params = [('path', name)]
        if 'Multi' in path:
            params = [(self.pick('path', 'path', 'path[]'), self.pick('cpu.load;host=a;dc=paris', 'lonely;only=one', 'bad;',
                'lonely;only=one')) for _ in range(self.pick(0, 1, 2))]
        return {'path': path, 'params': params, 'format': 'json', 'area': 'tag writes', 'method': self.pick('POST', 'POST', 'POST', 'GET')}

    def registry(self):
        name = self.r.choice(self.names)
        path = self.pick('/functions', '/functions', '/functions/' + name, '/functions/' + name, '/functions/nosuch')
        params = [(k, self.pick(*v)) for k, v in (('group', ['Alias', 'Combine', 'Calculate', 'nosuch', '', 'Special', 'Transform',
            'Filter Series']), ('grouped', ['1', 'true', '0', 'True', 'x', '']),
                                                  ('type', ['pie', 'x', '']), ('pretty', ['1'])) if self.chance(0.3)]
        return {'path': path, 'params': params, 'format': 'json', 'area': 'functions'}

    def any(self):
        areas = self.areas or ['render'] * 72 + ['grammar'] * 6 + ['form'] * 6 + ['find'] * 6 + ['expand'] * 3 + ['tags'] * 6 + ['registry']
        request = getattr(self, self.r.choice(areas))()
        if 'method' not in request:
            post = request['path'] not in ('/tags', '/functions') and not request['path'].startswith('/functions/') and self.chance(0.1)
            request['method'] = 'POST' if post else 'GET'
        return request
