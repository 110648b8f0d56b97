"""Counts the test cases of a `meson test` run from its logs, and prints what failed.

usage: meson_count.py LOGDIR COUNTFILE; writes "PASSED FAILED". A case is one line of a program's TAP; a program
that speaks no TAP is one case; one that failed without a failed case (a crash, a time-out) is one failure."""
import json
import re
import sys
from pathlib import Path

TAP = re.compile(r'^(not )?ok \d+', re.M)


def cases(test):
    """(passed, failed) of one program."""
    found = TAP.findall(test.get('stdout') or '')
    bad = sum(1 for f in found if f)
    if test['result'] in ('OK', 'EXPECTEDFAIL', 'SKIP'):
        return max(len(found), 0 if test['result'] == 'SKIP' else 1), 0
    return len(found) - bad, max(bad, 1)


def main():
    logs, count = Path(sys.argv[1]), Path(sys.argv[2])
    lines = (logs / 'testlog.json').read_text().splitlines() if (logs / 'testlog.json').exists() else []
    passed = failed = 0
    for line in lines:
        test = json.loads(line)
        good, bad = cases(test)
        passed, failed = passed + good, failed + bad
        if bad:
            print(f"{test['name']}: {test['result']} after {test['duration']:.1f} s")
            for stream in ('stdout', 'stderr'):
                shown = [t for t in (test.get(stream) or '').splitlines() if not t.startswith('ok ')]
                print('\n'.join('  ' + t for t in shown[-60:]))
    if not lines:
        failed = 1
        print(f'no results in {logs}')
    count.write_text(f'{passed} {failed}\n')
    return 1 if failed else 0


sys.exit(main())
