# What .ci/run and the parts in .ci/long share. Sourced by bash in the root of the repository.

say() { printf '\n== %s\n' "$*"; }

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

# Installs Debian's packages of these names.
install() {
    [ $# -gt 0 ] || return 0
    say "installing $*"
    if [ -z "${LASTBYTE_APT_UPDATED:-}" ]; then
        "${as_root[@]}" apt-get update -qq
        export LASTBYTE_APT_UPDATED=1
    fi
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Programs that the tests use as peers or run under the shim, because nobody here
# wrote them, and Debian's packages that have them; one a line, so that one more is
# one line more.
declare -A package=(
    [apache2]=apache2
    [cc]=gcc
    [curl]=curl
    [fish]=fish
    [groff]=groff
    [ip]=iproute2
    [make]=make
    [man]=man-db
    [nc]=netcat-openbsd
    [nginx]=nginx-light
    [nm]=binutils
    [pgbench]=postgresql
    [pkg-config]=pkg-config
    [promtool]=prometheus
    [python3]=python3
    [redis-benchmark]=redis-tools
    [redis-server]=redis-server
    [setpriv]=util-linux
    [socat]=socat
    [ss]=iproute2
    [strace]=strace
    [tmux]=tmux
    [wrk]=wrk
    [zsh]=zsh
)

# Installs all of them.
install_programs() {
    local program missing=()
    for program in "${!package[@]}"; do
        command -v "$program" >/dev/null || missing+=("${package[$program]}")
    done
    # Headers, for the lab's feature lwip.
    [ -d /usr/include/lwip ] || missing+=(liblwip-dev)
    install "${missing[@]}"
    # With all of them there, a test that reports that it lacks something has failed.
    export LASTBYTE_REQUIRE_ALL_TESTS=1
}

# Installs a subcommand of cargo: `cargo_tool deny`. Without optimisation: these run for
# seconds and take minutes to build.
cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1 || {
        say "installing cargo-$1"
        cargo install --quiet --locked --debug "cargo-$1"
    }
}

# `nightly cargo …`: with the nightly toolchain, or where there is none with the default one,
# which then accepts the same unstable options.
nightly() {
    local program=$1
    shift
    if "$program" +nightly --version >/dev/null 2>&1; then
        "$program" +nightly "$@"
    else
        RUSTC_BOOTSTRAP=1 "$program" "$@"
    fi
}

# Ends a part that this machine cannot run: the summary lists it with the reason.
not_run() {
    printf 'not run: %s\n' "$*"
    exit 77
}
