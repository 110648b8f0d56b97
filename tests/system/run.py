"""Runs the system tests against a built binary and ends with "N passed, N failed".

usage: run.py --binary build/carat [--count FILE] [NAME...]    NAME: part of a case's name"""
import argparse
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Report(unittest.TestResult):
    """A line a case, at once."""

    def __init__(self):
        super().__init__()
        self.passed = self.bad = 0
        self.began = 0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def say(self, word, test, text=''):
        name = test.id().split('.', 1)[-1]
        print(f'{word:5}{name} ({time.monotonic() - self.began:.1f} s)' + ('\n' + text if text else ''), flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.say('ok', test)

    def addSkip(self, test, reason):
        self.say('skip', test, '     ' + reason)

    def fail(self, test, err):
        self.bad += 1
        self.say('FAIL', test, self._exc_info_to_string(err, test))

    addFailure = addError = fail

    def addSubTest(self, test, subtest, err):
        if err:
            self.fail(subtest, err)


def named(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from named(item)
        else:
            yield item


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--binary', required=True)
    p.add_argument('--count')
    p.add_argument('names', nargs='*', metavar='NAME')
    a = p.parse_args()
    os.environ['CARAT_BINARY'] = str(Path(a.binary).resolve())
    if subprocess.run([os.environ['CARAT_BINARY'], 'version'], stdout=subprocess.DEVNULL).returncode:
        p.error(f'{a.binary} does not run')
    sys.path.insert(0, str(HERE))
    tests = [t for t in named(unittest.defaultTestLoader.discover(str(HERE), 'test_*.py'))
             if not a.names or any(n in t.id() for n in a.names)]
    report = Report()
    unittest.TestSuite(tests).run(report)
    if a.count:
        Path(a.count).write_text(f'{report.passed} {report.bad}\n')
    print(f'{report.passed} passed, {report.bad} failed')
    return 1 if report.bad or not tests else 0


sys.exit(main())
