#!/usr/bin/env bash
# Installs programs that no package index of Python has, where they are missing: Debian's packages, for root. A package
# that is not called as its program is stands behind it.
#   scripts/install_system_tools.sh prometheus systemd-analyze:systemd
set -euo pipefail

missing=()
for tool in "$@"; do
  command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
((${#missing[@]})) || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian's ${missing[*]} ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "Missing: ${missing[*]}. On Debian and Ubuntu: sudo apt-get install ${missing[*]}; elsewhere put them on the PATH." >&2
  exit 1
fi
