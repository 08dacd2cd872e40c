#!/bin/sh
# Make a virtual environment with the pinned packages: sh tools/setup.sh FOLDER
set -eu
folder=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "issue_analytics needs Python 3.11 or newer; found: $("$python" --version 2>&1 || echo none)." >&2
    echo "Name another one: make PYTHON=python3.12 ..." >&2
    exit 1
fi

# Debian and Ubuntu ship Python without what makes environments; it is one small package.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi
    echo "$python lacks venv; installing $package ..." >&2
    if ! { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"; } >/dev/null; then
        echo "That did not work. Install it yourself (sudo apt-get install $package), then run make again." >&2
        exit 1
    fi
fi

rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[lab,dev]'
