#!/bin/sh
# Set up a Debian or Ubuntu machine: system packages (by apt when root, else the one command to run is
# printed) and the virtual environment .venv from the lock file.
# usage: setup.sh runtime|development
set -eu

profile=$1
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

missing=""
need() { # need PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need qemu-system-x86_64 qemu-system-x86
need ld binutils
need addr2line binutils
[ "$profile" = runtime ] || need gdb gdb
[ "$profile" = runtime ] || need qemu-aarch64 qemu-user
[ "$profile" = runtime ] || need aarch64-linux-gnu-ld binutils-aarch64-linux-gnu
if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "axiom needs Python 3.11 or newer, and $python is $("$python" --version 2>&1)." >&2
        echo "hint: make PYTHON=/path/to/python3.11" >&2
        exit 2
    }
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
else
    missing="$missing python3 python3-venv"
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing$missing ..." >&2
        apt-get update -q >/dev/null
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
    else
        echo "Some programs are missing. Run this, then the same make command again:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
        exit 2
    fi
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
lock=requirements.lock
[ "$profile" = runtime ] || lock=requirements-dev.lock
echo "Installing Python packages from $lock ..." >&2
.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
# An editable package is not compiled to bytecode when it is installed; its first start, and every start where
# PYTHONDONTWRITEBYTECODE is set, would compile it again.
.venv/bin/python -m compileall -q src/axiom
touch .venv/.runtime-ready
[ "$profile" = runtime ] || touch .venv/.development-ready
