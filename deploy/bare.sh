#!/usr/bin/env bash
# Makes a bare Debian 12 (mmdebstrap, minbase) from this machine's own apt sources, clones HEAD into it and runs the
# README's two commands there. Needs root, network and about 12 GB; an hour on 2 cores.
#
# deploy/bare.sh [--quick] [--folder DIR]
#   --quick        only packages, configure, and clang-tidy over one file
#   --folder DIR   where to make the root, a new folder (below /var/tmp); removed at the end
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
folder=
inside=
commands='deploy/quickstart.sh && deploy/test.sh'
# The file is one whose compile command has what a bare root lacked before: OpenMP by way of oneDNN.
quick='deploy/setup.sh --packages-only && cmake --preset cpu-release -Wno-dev >/dev/null &&
  clang-tidy --quiet -p build/cpu-release "$(git grep -l dnnl.hpp -- "core/*.cc" | head -n 1)"'
value() {  # value "$@": the option's, on the command line
  [[ -n ${2:-} && $2 != --* ]] || { echo "bare.sh: $1: expected a value, got none; see --help" >&2; exit 2; }
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    --help|-h) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --quick) commands=$quick; shift ;;
    --folder) value "$@"; folder=$(realpath -m "$2"); shift 2 ;;
    --inside) inside=yes; folder=$2; commands=$3; shift 3; break ;;  # how this script calls itself; the rest is for mmdebstrap
    *) echo "bare.sh: expected an option of --help, got '$1'" >&2; exit 2 ;;
  esac
done

# Within mount and process namespaces of its own: mounts and processes end with them, whatever happens.
if [[ -n $inside ]]; then
  mmdebstrap --quiet --mode=root --variant=minbase "$@"
  git clone --quiet --no-local "$here" "$folder/blockstep"
  # As Debian's installer leaves it; without it each mpirun waits 5 s for a name server that does not know this host.
  printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$folder/etc/hosts"
  mount -t proc proc "$folder/proc"
  mount --rbind --make-rslave /sys "$folder/sys"
  mount --rbind --make-rslave /dev "$folder/dev"
  exec chroot "$folder" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash -c "cd /blockstep && $commands"
fi

[[ $(id -u) -eq 0 ]] || { echo "bare.sh: expected root, got user $(id -un)" >&2; exit 1; }
[[ -z $folder || ! -e $folder ]] || { echo "bare.sh: --folder: expected a new folder, got $folder" >&2; exit 1; }
mapfile -t sources < <(grep -lsw bookworm /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources})
[[ ${#sources[@]} -gt 0 ]] || { echo "bare.sh: expected apt sources of Debian bookworm in /etc/apt, got none" >&2; exit 1; }
"$here/deploy/setup.sh" --stage bare --packages-only

options=()
for kind in http https; do
  proxy=$(apt-config dump --format '%v' "Acquire::$kind::Proxy")
  [[ -z $proxy ]] || options+=("--aptopt=Acquire::$kind::Proxy \"$proxy\"")
done
! grep -q '^[^#]*https:' "${sources[@]}" || options+=(--include=ca-certificates)

[[ -n $folder ]] || folder=$(mktemp -d /var/tmp/blockstep-bare.XXXXXX)
child=
ended() {
  trap - EXIT
  trap '' INT TERM HUP
  if [[ -n $child ]]; then
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  # Gigabytes: not a process of the stage, which is not waited for that long.
  env -u BLOCKSTEP_STAGE setsid rm -rf --one-file-system "$folder" &
  wait $! || true
  exit "$1"
}
trap 'ended $?' EXIT
trap 'ended 130' INT
trap 'ended 143' TERM
trap 'ended 129' HUP

echo "bare.sh: Debian 12, minbase, in $folder, from ${sources[*]}"
[[ -z $(git -C "$here" status --porcelain) ]] || echo "bare.sh: the clone is of HEAD; what is not committed is left out"
# --kill-child: when unshare goes, so does everything inside.
unshare --mount --pid --fork --kill-child --mount-proc "$0" --inside "$folder" "$commands" \
  "${options[@]}" bookworm "$folder" "${sources[@]}" &
child=$!
wait "$child"
child=
echo "bare.sh: green in a bare Debian 12"
