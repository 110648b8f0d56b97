#!/usr/bin/env bash
# A PostgreSQL server for tests, on a socket in its own directory: nothing listens on the network.
#   postgres.sh start DIR    makes DIR and starts it; connect with "host=DIR dbname=carat user=carat"
#   postgres.sh stop DIR     stops it at once; the data stays
#   postgres.sh kill DIR     kill -9
set -euo pipefail

dir=$2
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
# PostgreSQL refuses to run as root; Debian's package has a user for it.
as=()
((EUID != 0)) || as=(runuser -u postgres --)

start() {
    mkdir -p "$dir"
    ((EUID != 0)) || chown postgres "$dir"
    if [[ ! -f $dir/data/PG_VERSION ]]; then
        "${as[@]}" "$bin/initdb" -D "$dir/data" -U carat -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
        printf "listen_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\nshared_buffers = 16MB\n" "$dir" \
            >>"$dir/data/postgresql.conf"
    fi
    # After a kill the children may hold its shared memory for a moment.
    local tries=0
    until (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 30 start >/dev/null 2>&1); do
        ((++tries < 50)) || { cat "$dir/log" >&2; exit 1; }
        sleep 0.2
    done
    (cd / && "${as[@]}" "$bin/createdb" -h "$dir" -U carat carat 2>/dev/null) || true
}

case $1 in
start) start ;;
stop) (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null) ;;
kill)
    # With its children: one that serves a connection would go on for a moment.
    pid=$(head -n 1 "$dir/data/postmaster.pid")
    read -r -a children <"/proc/$pid/task/$pid/children" || true
    kill -9 "$pid" "${children[@]}"
    ;;
*)
    echo "usage: postgres.sh start|stop|kill DIR" >&2
    exit 2
    ;;
esac
