#!/usr/bin/env bash
# Build the wheel, install it without extras where nothing else is, and prove that what is there is a light client.
# Usage: scripts/check_wheel.sh PYTHON    (one that has the `build` package)
set -euo pipefail

python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "wheel-check: $*" >&2
  exit 1
}

# The hint of a command whose extra is missing: told on stderr, with a failing exit code, and no traceback.
expect_hint() {
  local command=$1 extra=$2 said
  if said=$("$work/venv/bin/$command" --help 2>&1); then fail "$command works without its extra: is a library pulled in?"; fi
  [[ $said == *"nasfeat[$extra]"* && $said != *Traceback* ]] || fail "$command does not hint at nasfeat[$extra]: $said"
}

echo "Building the wheel ..."
"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || fail "build failed: $(tail -20 "$work/build.log")"

packed=$("$python" -m zipfile -l "$work"/dist/nasfeat-*.whl)
for asset in server/nasfeat_server/status/assets/*; do
  [[ $packed == *"${asset#server/} "* ]] || fail "the wheel lacks $asset"
done

echo "Installing it into an empty environment ..."
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work"/dist/nasfeat-*.whl

cd "$work" # so that nothing of the checkout can be imported
"$work/venv/bin/python" -W error - <<'CHECK'
import importlib.metadata
import importlib.util

import nasfeat.v1.feature_service_pb2_grpc
import nasfeat_client

for heavy in ("tensorflow", "tensorflow_hub", "keras", "click", "rich", "PIL", "av", "pyarrow", "opentelemetry"):
    if importlib.util.find_spec(heavy):
        raise SystemExit(f"wheel-check: the bare wheel brings {heavy}")
for package in (nasfeat, nasfeat_client):
    if "site-packages" not in package.__file__:
        raise SystemExit(f"wheel-check: {package.__file__} is not the wheel's")
names = sorted(distribution.name for distribution in importlib.metadata.distributions())
print("import nasfeat_client works with", ", ".join(name for name in names if name not in {"pip", "setuptools"}))
CHECK
"$work/venv/bin/python" - <<'CHECK'
import subprocess
import sys

# What importing the SDK costs beside what it needs, in processor time: a ratio of the best of several in turns, since
# machines differ, and have other work too.
READ = "import time, {}; print(time.process_time())"
NEEDED, SDK = "grpc.aio, numpy, google.protobuf.message", "nasfeat_client"
LIMIT = 2.2

best_s = dict.fromkeys((NEEDED, SDK), float("inf"))
for _ in range(7):
    for modules in best_s:
        run = subprocess.run([sys.executable, "-c", READ.format(modules)], capture_output=True, check=True)
        best_s[modules] = min(best_s[modules], float(run.stdout))
ratio = best_s[SDK] / best_s[NEEDED]
print(f"importing it takes {best_s[SDK]:.2f} s of processor time, {ratio:.2f} times what gRPC, NumPy and protobuf take")
if ratio > LIMIT:
    raise SystemExit(f"wheel-check: that is more than {LIMIT} times")
CHECK
expect_hint nasfeat cli
expect_hint nasfeat-server server
echo "The bare wheel is a light client, and both commands say which extra they miss."
