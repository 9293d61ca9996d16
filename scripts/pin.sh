#!/usr/bin/env bash
# Rewrites constraints.txt from what .venv holds now: run it after a dependency has changed and the tests pass.
set -euo pipefail
cd "$(dirname "$0")/.."

linux="sys_platform == 'linux' and platform_machine == 'x86_64'"
pins=$(.venv/bin/python -m pip freeze --all --disable-pip-version-check)
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
  cat <<'HEAD'
# Every package of the environment, pinned; written by scripts/pin.sh, read by scripts/setup.sh (pip install -c).
# TensorFlow has another name where it has no CPU-only wheel. torch is pinned without its build: the CPU build of
# Linux (+cpu) and that of macOS both satisfy it. All of these have wheels for x86-64 Linux and for macOS on arm64.
HEAD
  # pip itself is the installer's own affair; tensorflow's two names share one version.
  printf '%s\n' "$pins" | grep -v '^pip==' | sed -E \
    -e 's/^(torch(vision)?==[^+]+)\+.*/\1/' \
    -e 's/^tensorflow([_-]cpu)?==(.*)/tensorflow==\2/' \
    -e "s/^tensorflow==(.*)/tensorflow-cpu==\1 ; $linux\ntensorflow==\1 ; sys_platform != 'linux' or platform_machine != 'x86_64'/" | LC_ALL=C sort -f
} >"$new"
cp "$new" constraints.txt
