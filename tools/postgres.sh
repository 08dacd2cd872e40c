#!/bin/sh
# See to it that there is a PostgreSQL server to start; tests/postgres.py starts it. Nothing is done where there is one.
set -eu

for initdb in /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb "$(command -v initdb || true)"; do
    if [ -x "$initdb" ]; then exit 0; fi
done

if [ -n "${ISSUE_ANALYTICS_NO_POSTGRESQL:-}" ]; then
    echo "No PostgreSQL; ISSUE_ANALYTICS_NO_POSTGRESQL is set: its tests will be skipped." >&2
    exit 0
fi

if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi
echo "No PostgreSQL server found; installing Debian's package postgresql ..." >&2
if ! { $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >/dev/null; then
    echo "That did not work. Install it yourself (sudo apt-get install postgresql), then run make again." >&2
    echo "Without it: make test ISSUE_ANALYTICS_NO_POSTGRESQL=1 skips the tests that need it." >&2
    exit 1
fi
