#!/usr/bin/env bash
# Installs the Debian packages that the build, the demo and the tests need and that are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' tools/debian-packages.txt | grep -v '^$')
missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  # npm may have come another way, with a Node.js of its own.
  if [[ $package == npm ]] && command -v npm >/dev/null; then continue; fi
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "[1/3] all ${#wanted[@]} packages are installed"
  exit 0
fi
echo "[1/3] installing ${#missing[@]} packages: ${missing[*]}"
sudo=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "error: run as root or install sudo, or install by hand: apt-get install ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
"${sudo[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
