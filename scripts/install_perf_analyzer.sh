#!/usr/bin/env bash
# Installs Triton's load generator, perf_analyzer, into build/perf_analyzer, which tests look for. PyPI's project of that
# name is empty; a release of tritonclient has the program in its wheel, and it wants CUDA's runtime though it uses no GPU.
# 16 MB are downloaded. x86-64 alone.
#   scripts/install_perf_analyzer.sh PYTHON    (one that has pip)
set -euo pipefail

python=$1
cd "$(dirname "$0")/.."
target=build/perf_analyzer
[ -x $target/perf_analyzer ] && exit 0
[ "$(uname -m)" = x86_64 ] || { echo "SKIPPED perf_analyzer: it is there for x86-64 alone."; exit 0; }

if ! ldconfig -p | grep -q libb64.so.0d; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends libb64-0d >/dev/null
  else
    echo "Missing: libb64. On Debian and Ubuntu: sudo apt-get install libb64-0d" >&2
    exit 1
  fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "Downloading perf_analyzer ..."
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" \
  --platform manylinux1_x86_64 --platform manylinux2014_x86_64 tritonclient==2.40.0 nvidia-cuda-runtime-cu12==12.9.79
for wheel in "$work"/*.whl; do "$python" -m zipfile --extract "$wheel" "$work"; done
mkdir -p $target
cp "$work"/tritonclient-2.40.0.data/data/bin/perf_analyzer $target/program
cp "$work"/nvidia/cuda_runtime/lib/libcudart.so.12 $target/
cat >"$work/perf_analyzer" <<'WRAPPER'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/program" "$@"
WRAPPER
chmod +x $target/program "$work/perf_analyzer"
# Last, since it says that all is there.
mv "$work/perf_analyzer" $target/perf_analyzer
