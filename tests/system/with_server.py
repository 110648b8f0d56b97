"""Runs a program beside real servers and ends with its exit code.

usage: with_server.py redis COMMAND...    the servers are told to it in the environment, see their classes"""
import contextlib
import os
import subprocess
import sys

import server_redis

SERVERS = {'redis': server_redis.RedisCluster}


def main():
    names, command = sys.argv[1].split(','), sys.argv[2:]
    with contextlib.ExitStack() as stack:
        env = dict(os.environ)
        for name in names:
            env.update(stack.enter_context(SERVERS[name]()).environment())
        return subprocess.run(command, env=env).returncode


sys.exit(main())
