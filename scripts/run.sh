#!/usr/bin/env bash
# Run the named steps in order, e.g. `run.sh export goldens parity report`. A failed step does not stop the later ones,
# since the report explains the failure. The first failed step decides the exit code, and the last printed line is its
# verdict. Bad usage (2) stops at once, since every later step would fail in the same way, and so do Ctrl-C and SIGTERM.
# Steps joined by a plus, `parity+size+cost`, do not depend on each other and run at the same time. Their output is
# printed step by step, as if they had run in order. Never join a step that measures time.
# Settings come from the Makefile through the environment: MODEL, RECIPES, OUT, SAMPLES, CALIBRATE, AGAIN.
set -uo pipefail
cd "$(dirname "$0")/.."

MODEL=${MODEL:-models/portrait}
OUT=${OUT:-build}
python=.venv/bin/python
export PYTHONUNBUFFERED=1

if ! scratch=$(mktemp -d); then
  printf 'verdict: 3 no folder for temporary files (TMPDIR=%s)\n' "${TMPDIR:-}"
  exit 3
fi
trap 'rm -rf "$scratch"' EXIT
output=$scratch/output

code=0
verdict=""

# attempt TITLE COMMAND...: run the command; remember the verdict of the first failure, or of the last success.
attempt() {
  local title=$1 status line started=$SECONDS
  shift
  printf '\n== %s\n' "$title"
  "$@" | tee "$output"
  status=${PIPESTATUS[0]}
  printf '(%d s)\n' $((SECONDS - started))
  line=$(grep '^verdict: ' "$output" | tail -n 1)
  if [ "$status" -eq 130 ] || [ "$status" -eq 143 ]; then # Ctrl-C or SIGTERM: no later step runs
    code=$status
    verdict=${line:-"verdict: $status interrupted"}
    finish
  fi
  if [ "$status" -gt 4 ]; then # killed, or an interpreter that never started
    line="verdict: 3 $title ended with exit code $status"
    status=3
  fi
  if [ "$code" -eq 0 ]; then
    code=$status
    verdict=${line:-"verdict: $status $title ended without a verdict"}
  fi
  if [ "$status" -eq 2 ]; then
    finish
  fi
}

finish() {
  wait # for steps that run beside the one that stops the run
  printf '\n%s\n' "$verdict"
  exit "$code"
}

# export_to "TARGET...": targets or platforms, side by side.
export_to() {
  local arguments recipe
  read -ra arguments <<<"$1"
  arguments+=(--model "$MODEL" --out "$OUT" --overwrite)
  for recipe in ${RECIPES:-}; do
    arguments+=(--recipe "$recipe")
  done
  if [ -n "${CALIBRATE:-}" ]; then
    arguments+=(--calibrate "$CALIBRATE")
  fi
  attempt "export $1" "$python" -m export "${arguments[@]}"
}

goldens() {
  local arguments=(--model "$MODEL" --out "$OUT")
  if [ -n "${SAMPLES:-}" ]; then
    arguments+=(--samples "$SAMPLES")
  fi
  attempt goldens "$python" -m hydramobile goldens "${arguments[@]}"
}

benchmark() {
  local arguments=("$1" --model "$MODEL" --out "$OUT")
  if [[ $1 = parity || $1 = report ]] && [ -n "${SAMPLES:-}" ]; then
    arguments+=(--samples "$SAMPLES")
  fi
  if [[ $1 = parity || $1 = size || $1 = cost || $1 = latency || $1 = profile ]] && [ -n "${AGAIN:-}" ]; then
    arguments+=(--again)
  fi
  attempt "$1" "$python" -m benchmarks "${arguments[@]}"
}

# support: measure parity, size and latency of every recipe of every target; finished recipes are not repeated.
support() {
  local arguments=(support --model "$MODEL" --out "$OUT" --rounds "${ROUNDS:-5}")
  [ "$MODEL" = models/portrait ] && arguments+=(--readme docs/recipes.md)
  RECIPES="" export_to all # the model's own recipes, the searched builds among them
  attempt "export the grid" "$python" -m export all --model "$MODEL" --out "$OUT" --recipe grid --overwrite
  goldens
  attempt support "$python" -m benchmarks "${arguments[@]}"
}

# calibration: compare the calibration methods of static integers.
calibration() {
  local arguments=(--model "$MODEL" --out "$OUT") name
  attempt "export" "$python" -m export onnx litert coreml "${arguments[@]}" --recipe calibration --overwrite
  goldens
  for name in onnxruntime litert coreml-mil; do
    attempt "parity" "$python" -m benchmarks parity "${arguments[@]}" --runtime "$name"
  done
  attempt calibration "$python" -m benchmarks calibration "${arguments[@]}"
}

folder_of_model() {
  "$python" -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1] + "/model.toml", "rb"))["name"])' "$MODEL"
}

# prepare_arm: export artifacts that are missing or have other weights, and assemble the ARM userland. If that fails, the
# next step names the missing part.
prepare_arm() {
  together "export-android onnx" goldens
  bash scripts/setup.sh arm || printf 'the ARM userland could not be made: see above\n'
}

parity_arm() {
  local arguments=(--model "$MODEL" --out "$OUT" --runtime arm --lean --most "${ARM_SAMPLES:-1}")
  prepare_arm
  if [ -n "${SAMPLES:-}" ]; then
    arguments+=(--samples "$SAMPLES")
  fi
  attempt parity-arm "$python" -m benchmarks parity "${arguments[@]}"
}

# on_device KIND: measure on an attached phone, or on this Mac. DEVICE names one of several, TOOL is benchmark_model.
on_device() {
  local which=$1 arguments
  if [ "$1" != mac ] && [ -n "${DEVICE:-}" ]; then which="$1:$DEVICE"; fi
  arguments=(device --device "$which" --model "$MODEL" --out "$OUT")
  if [ -n "${TOOL:-}" ]; then arguments+=(--tool "$TOOL"); fi
  if [ -n "${SAMPLES:-}" ]; then arguments+=(--samples "$SAMPLES"); fi
  attempt "device $1" "$python" -m benchmarks "${arguments[@]}"
}

# evidence: gather the evidence of a report that does not exist yet.
evidence() {
  local folder
  folder=$OUT/$(folder_of_model)
  [ -f "$folder/manifest.json" ] || step export
  if [ ! -f "$folder/parity.json" ]; then
    step goldens
    step parity
  fi
  [ -f "$folder/size.json" ] || step size
  [ -f "$folder/cost.json" ] || step cost
  [ -f "$folder/latency.json" ] || step latency
}

step() {
  case "$1" in
  export) export_to all ;;
  export-*) export_to "${1#export-}" ;;
  goldens) goldens ;;
  parity | size | cost | latency | grid | profile | report) benchmark "$1" ;;
  support) support ;;
  calibration) calibration ;;
  parity-arm) parity_arm ;;
  device-*) on_device "${1#device-}" ;;
  instructions)
    prepare_arm
    benchmark instructions
    ;;
  evidence) evidence ;;
  doctor)
    attempt "targets" "$python" -m export doctor
    attempt "runtimes" "$python" -m benchmarks doctor
    ;;
  *)
    verdict="verdict: 2 no step '$1' (available: export, export-PLATFORM, goldens, parity, parity-arm, instructions, size, cost, latency, grid, support, calibration, profile, device-KIND, report, evidence, doctor)"
    code=2
    finish
    ;;
  esac
}

# together A B...: run each step in a process of its own; print the first one's output at once, the others' at their end.
together() {
  local name first=$1 pids=()
  for name in "${@:2}"; do
    (
      output=$scratch/$name.output
      trap - EXIT
      trap 'printf "%s\n%s\n" "$code" "$verdict" >"$scratch/$name.end"' EXIT
      finish() { exit "$code"; }
      step "$name"
    ) >"$scratch/$name.log" 2>&1 &
    pids+=($!)
  done
  step "$first"
  wait "${pids[@]}"
  for name in "${@:2}"; do
    cat "$scratch/$name.log"
    inherit "$name"
  done
}

# inherit STEP: take over the exit code and the verdict of a step that ran in another process.
inherit() {
  local status line
  if [ -f "$scratch/$1.end" ]; then
    { read -r status && read -r line; } <"$scratch/$1.end"
  else
    status=3 line="verdict: 3 $1 was killed"
  fi
  if [ "$code" -eq 0 ]; then
    code=$status
    verdict=$line
  fi
  case "$status" in
  2) finish ;;
  130 | 143)
    code=$status verdict=$line
    finish
    ;;
  esac
}

for name in "$@"; do
  IFS=+ read -ra joined <<<"$name"
  if [ "${#joined[@]}" -gt 1 ]; then together "${joined[@]}"; else step "$name"; fi
done
finish
