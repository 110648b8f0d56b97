# What the scripts share. Sourced; sets `root`.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# build_carat DIR TARGET... [-- MESON_OPTION...]: configures DIR once, then builds the targets (none: all).
build_carat() {
    local dir=$1 targets=()
    shift
    while (($#)) && [[ $1 != -- ]]; do
        targets+=("$1")
        shift
    done
    (($#)) && shift
    if [[ ! -f $dir/build.ninja ]]; then
        rm -rf "$dir"
        meson setup "$dir" "$root" "$@"
    fi
    ninja -C "$dir" -j "$(nproc)" "${targets[@]}"
}
