#!/usr/bin/env bash
# Makes .venv with the given extras; does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=$1

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3; do
        if is_usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "No Python 3.11 or newer found (tried ${PYTHON:+$PYTHON, }python3.11, python3)." \
        "Install Python 3.11, or name one: make install PYTHON=/path/to/python3.11"
}

version_of() {
    "$1" -c 'import platform; print(platform.python_version())'
}

python=$(find_python)

# the folder is part of it: the scripts of a moved environment point to where it was
want=$(cat pyproject.toml constraints.txt <(version_of "$python"; pwd -P) | "$python" -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
stamp=.venv/.installed

# the stamp holds the hash, then the extras: the larger set covers the smaller one
if [[ -f $stamp ]] && is_usable .venv/bin/python; then
    { read -r have && read -r have_extras; } <"$stamp" || have=
    if [[ $have == "$want" && ,$have_extras, == *",$extras,"* ]]; then
        exit 0
    fi
fi

if [[ -e .venv || -L .venv ]]; then
    reason=
    is_usable .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1 || reason="it does not run"
    [[ -n $reason || $(version_of .venv/bin/python) == "$(version_of "$python")" ]] || reason="it has another Python"
    # its scripts hold the folder's name, so an environment that was moved or copied is of no use
    [[ -n $reason ]] || grep -qF "$(pwd -P)/.venv" .venv/bin/activate || reason="it was made in another folder"
    if [[ -n $reason ]]; then
        echo "Removing .venv: $reason."
        rm -rf .venv
    fi
fi

if [[ ! -e .venv ]]; then
    echo "Making .venv with Python $(version_of "$python")."
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        fail "$python cannot make a virtual environment." \
            "On Debian and Ubuntu: apt-get install python3-venv (or python3.11-venv)"
    fi
fi

rm -f "$stamp"
echo "Installing hwnas[$extras] into .venv (some minutes the first time)."
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]" ||
    fail "The install failed; what pip said is above. Run the same command again once it is repaired."
printf '%s\n%s\n' "$want" "$extras" >"$stamp"
echo "Installed."
