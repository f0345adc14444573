#!/usr/bin/env bash
# Installs the Debian packages that are missing, configures and builds.
#
# deploy/setup.sh [--preset NAME] [--target NAME]... [--stage NAME] [--packages-only]
#   --preset NAME     of CMakePresets.json (cpu-release)
#   --target NAME     what to build (blockstep and blockstep-spm); `all` for everything
#   --stage NAME      packages of that stage of deploy/test.sh, too (deploy/packages-NAME.txt)
#   --packages-only   stop after the packages
#
# Idempotent: with all packages there, apt is not called. Other distributions install the packages'
# counterparts (deploy/packages.txt) by hand; apt is then not called either.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=cpu-release
targets=()
packages_only=no
lists=("$root/deploy/packages.txt")
value() {  # value "$@": the option's, on the command line
  [[ -n ${2:-} && $2 != --* ]] || { echo "setup.sh: $1: expected a value, got none; see --help" >&2; exit 2; }
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    --help|-h) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --preset) value "$@"; preset=$2; shift 2 ;;
    --target) value "$@"; targets+=("$2"); shift 2 ;;
    --stage)
      value "$@"
      list="$root/deploy/packages-$2.txt"
      [[ -f $list ]] || { echo "setup.sh: --stage $2: expected a file $list, found none" >&2; exit 2; }
      lists+=("$list")
      shift 2
      ;;
    --packages-only) packages_only=yes; shift ;;
    *) echo "setup.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
[[ ${#targets[@]} -gt 0 ]] || targets=(blockstep blockstep-spm)

missing_packages() {
  local package
  grep -hv '^#' "${lists[@]}" | while read -r package; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed* ]] || echo "$package"
  done
}

install_packages() {
  local missing as_root=() try
  mapfile -t missing < <(missing_packages)
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || {
      echo "setup.sh: missing packages: ${missing[*]}; root or sudo is needed to install them" >&2
      return 1
    }
    as_root=(sudo)
  fi
  echo "setup.sh: installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
  # Another apt may hold the lists; that lock has no timeout of its own.
  for try in 1 2 3 4 5 6; do
    "${apt[@]}" update && break
    [[ $try -lt 6 ]] || return 1
    sleep 10
  done
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

if command -v apt-get >/dev/null; then
  install_packages
else
  echo "setup.sh: no apt-get here; taking the packages of deploy/packages.txt as installed"
fi
[[ $packages_only == no ]] || exit 0

cd "$root"
# Configure says much that is of no use unless it fails.
log=$(cmake --preset "$preset" -Wno-dev 2>&1) || { echo "$log" >&2; exit 1; }
cmake --build --preset "$preset" -j "$(nproc)" --target "${targets[@]}"
