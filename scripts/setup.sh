# shellcheck shell=bash
# Sourced by the front doors: what the machine must have, and a virtual environment equal to a lock file.
# Quiet when there is nothing to do. Nothing here starts a service.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=${RECEIVER_VENV:-$root/.venv}
# nginx lies in /usr/sbin, which is not on an ordinary user's path.
PATH=$PATH:/usr/sbin:/sbin
policy=/usr/sbin/policy-rc.d

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# need venv PROGRAM=PACKAGE...: Python and every program must be there; root installs what is missing, others are told.
need() {
    local missing=() item package
    for item in "$@"; do
        if [ "$item" = venv ]; then
            for package in $(missing_for_venv); do missing+=("$package"); done
        else
            command -v "${item%%=*}" >/dev/null || missing+=("${item#*=}")
        fi
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

missing_for_venv() {
    local python
    [ ! -x "$venv/bin/python" ] || return 0
    python=$(find_python) || echo python3
    # Debian's python3 has the module venv without python3-venv, but not what it needs to make one.
    "${python:-false}" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && is_recent "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

install_packages() {
    command -v apt-get >/dev/null || die "missing: $*; install them with this system's package manager"
    [ "$(id -u)" -eq 0 ] || die "missing packages; run: sudo apt-get install -y --no-install-recommends $*"
    say "installing: $*"
    # In a subshell, so that its trap restores the machine however this ends.
    (
        forbid_service_starts
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq -o DPkg::Lock::Timeout=120 update &&
            apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@" >/dev/null
    ) || die "could not install: $*"
    hash -r
}

# Debian starts and enables a service as soon as it is installed. A port 80 nobody asked for is not ours to open.
forbid_service_starts() {
    local undo=:
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        undo="rm -f $policy"
    fi
    # Whoever has an nginx already keeps it as it is.
    command -v nginx >/dev/null || undo="$undo; disable_nginx"
    # shellcheck disable=SC2064  # expanded now, on purpose: these are this function's variables
    trap "$undo" EXIT
}

disable_nginx() {
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable --now nginx.service || true
    elif command -v update-rc.d >/dev/null; then
        update-rc.d nginx disable || true
    fi
} >/dev/null 2>&1

# set_up LOCKFILE: the virtual environment has what the lock file names, each file checked against its hash.
set_up() {
    local lock=$root/$1 stamp=$venv/.$1.stamp wanted
    wanted=$(cat "$lock" "$root/pyproject.toml" | sha256sum)
    wanted="${wanted%% *} $root"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && is_recent "$venv/bin/python"; then
        return
    fi
    # The lock file is also the file to lock: two starts at once must not write one environment.
    exec 9<"$lock"
    flock 9
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! is_recent "$venv/bin/python"; then
        say "setting up $venv (once; takes a minute)"
        make_venv
        rm -f "$stamp"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --no-build-isolation --no-deps --editable "$root"
        printf '%s\n' "$wanted" >"$stamp"
    fi
    exec 9<&-
}

make_venv() {
    local python
    if is_recent "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        die "$venv is no virtual environment and not empty; set RECEIVER_VENV to another place"
    fi
    python=$(find_python) || die "Python 3.11 or newer is needed; found: $(python3 --version 2>&1 || true)"
    "$python" -m venv --clear "$venv"
}

static_checks() {
    "$venv/bin/ruff" format --check --quiet "$root"
    "$venv/bin/ruff" check --quiet "$root"
    (
        cd "$root" || exit
        "$venv/bin/mypy" --no-error-summary
        rules=$("$venv/bin/lint-imports") || die "import rules: $rules"
    )
}
