"""Runs a program beside real servers and ends with its exit code.

usage: with_server.py NAME[,NAME...] COMMAND...    the servers are told to it in the environment, see their classes"""
import contextlib
import importlib
import os
import subprocess
import sys

SERVERS = {
    'dynalite': ('server_dynalite', 'Dynalite'),
    'faulty-dynalite': ('server_dynalite', 'FaultyDynalite'),
    'faulty-swift': ('server_swift', 'FaultySwift'),
    'nats': ('server_nats', 'Nats'),
    'nats3': ('server_nats', 'NatsOfThree'),
    'postgres': ('server_postgres', 'Postgres'),
    'radosgw': ('server_radosgw', 'Radosgw'),
    'redis': ('server_redis', 'RedisCluster'),
    'swift': ('server_swift', 'Swift'),
}


def main():
    names, command = sys.argv[1].split(','), sys.argv[2:]
    with contextlib.ExitStack() as stack:
        env = dict(os.environ)
        for name in names:
            module, kind = SERVERS[name]
            env.update(stack.enter_context(getattr(importlib.import_module(module), kind)()).environment())
        return subprocess.run(command, env=env).returncode


sys.exit(main())
