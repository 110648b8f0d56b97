# What the scripts share. Sourced; sets `root`.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# build_carat DIR TARGET... [-- MESON_OPTION...]: configures DIR, once and when the options are others than before,
# then builds the targets (none: all).
build_carat() {
    local dir=$1 targets=()
    shift
    while (($#)) && [[ $1 != -- ]]; do
        targets+=("$1")
        shift
    done
    (($#)) && shift
    local options=$dir/carat-options
    if [[ ! -f $dir/build.ninja || ! -f $options || $(<"$options") != "$*" ]]; then
        rm -rf "$dir"
        meson setup "$dir" "$root" "$@"
        printf '%s' "$*" >"$options"
    fi
    ninja -C "$dir" -j "$(nproc)" "${targets[@]}"
}
