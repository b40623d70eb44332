#!/bin/sh
# chroot-test.sh - proves the README's two commands on a fresh Debian.
#
#   sh deploy/chroot-test.sh [--fresh] [--proc] [--worktree] [--deps-only] SUITE DIRECTORY [COMMAND]
#
# Makes a minimal Debian SUITE (bookworm or trixie) in DIRECTORY with debootstrap, puts the committed tree (HEAD) into
# its /root/shield and runs there
#   sh deploy/deps.sh && make demo
#   sh deploy/deps.sh --test && make test
# or COMMAND instead. Mirror, keyring and proxy are those of this machine's apt. A DIRECTORY that holds such a system
# already is used again; --fresh makes it anew. Nothing is mounted into it, so that the tree is seen to need no more
# than a shell and apt; --proc mounts /proc (the sanitizers read it). --deps-only stops after deps.sh, both ways.
# --worktree takes the files as they are, committed or not. Needs root, debootstrap and git.
set -eu

usage() {
    echo "usage: sh deploy/chroot-test.sh [--fresh] [--proc] [--worktree] [--deps-only] SUITE DIRECTORY [COMMAND]" >&2
    exit 2
}

die() {
    printf 'chroot-test.sh: %s\n' "$*" >&2
    exit 1
}

fresh=no proc=no deps_only=no worktree=no
while [ $# -gt 0 ]; do
    case $1 in
    --fresh) fresh=yes ;;
    --proc) proc=yes ;;
    --deps-only) deps_only=yes ;;
    --worktree) worktree=yes ;;
    -*) usage ;;
    *) break ;;
    esac
    shift
done
[ $# -ge 2 ] && [ $# -le 3 ] || usage
suite=$1 root=$2 command=${3-}
case $suite in bookworm | trixie) ;; *) die "SUITE must be bookworm or trixie, not $suite" ;; esac
case $root in / | "") die "DIRECTORY must not be /" ;; /*) ;; *) root=$PWD/$root ;; esac
[ "$(id -u)" -eq 0 ] || die "must be run as root"
command -v debootstrap >/dev/null || die "needs debootstrap (apt-get install debootstrap)"
tree=$(cd "$(dirname "$0")/.." && pwd)

# "URI KEYRING" of the first apt source of this machine that carries a Debian release itself (not its updates).
apt_source() {
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$list" ] || continue
        sed -n 's/^[[:space:]]*deb[[:space:]][[:space:]]*//p' "$list" |
            awk -v codename="$codename" '{
                key = "-"
                if ($0 ~ /^\[/) {
                    options = substr($0, 2, index($0, "]") - 2)
                    if (match(options, /signed-by=[^ ]+/)) key = substr(options, RSTART + 10, RLENGTH - 10)
                    sub(/^\[[^]]*\][[:space:]]*/, "")
                }
                if ($2 == codename || $2 == "stable") { print $1, key; exit }
            }'
    done
    for list in /etc/apt/sources.list.d/*.sources; do
        [ -f "$list" ] || continue
        awk -v codename="$codename" '
            function flush(   i, n, s) {
                n = split(suites, s, " ")
                for (i = 1; i <= n; i++)
                    if ((s[i] == codename || s[i] == "stable") && enabled != "no") { print uri, key; exit }
                uri = suites = enabled = ""; key = "-"
            }
            BEGIN { key = "-" }
            /^#/ { next }
            /^[[:space:]]*$/ { flush(); next }
            tolower($1) == "uris:" { uri = $2 }
            tolower($1) == "suites:" { suites = $0; sub(/^[^:]*:/, "", suites) }
            tolower($1) == "enabled:" { enabled = tolower($2) }
            tolower($1) == "signed-by:" && $2 ~ /^\// { key = $2 }
            END { flush() }' "$list"
    done
}

make_system() {
    source=$(apt_source | head -n 1)
    [ -n "$source" ] || die "found no Debian source in this machine's apt configuration"
    mirror=${source%% *} keyring=${source##* }
    [ "$keyring" != - ] || keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f "$keyring" ] || die "keyring $keyring is missing"
    include=
    case $mirror in https:*) include=--include=ca-certificates ;; esac
    proxy=$(apt-config dump --format '%v' Acquire::http::Proxy 2>/dev/null || true)
    [ -z "$proxy" ] || export http_proxy="$proxy"
    rm -rf --one-file-system "$root"
    debootstrap --variant=minbase --keyring="$keyring" $include "$suite" "$root" "$mirror"
    apt-config dump | grep -E '^Acquire::(https?::Proxy|https?::Verify|Check-|Retries)' \
        >"$root/etc/apt/apt.conf.d/01machine" || true
}

# Shared memory is for everybody on a running system (Squid needs it); debootstrap leaves a plain directory.
open_shm() {
    chmod 1777 "$root/dev/shm"
}

copy_tree() {
    rm -rf "$root/root/shield"
    mkdir -p "$root/root/shield"
    cd "$tree"
    if [ "$worktree" = yes ]; then
        git ls-files --cached --others --exclude-standard | tar -cf - -T - | tar -xf - -C "$root/root/shield"
    else
        git archive HEAD | tar -xf - -C "$root/root/shield"
    fi
}

run() {
    printf '\nchroot-test.sh: %s: %s\n' "$suite" "$1"
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
        chroot "$root" sh -c "cd /root/shield && $1" || die "$suite: failed: $1"
}

unmount() {
    [ "$proc" = no ] || umount "$root/proc"
}

if [ "$fresh" = yes ] && mountpoint -q "$root/proc" 2>/dev/null; then
    die "$root/proc is mounted; unmount it first"
fi
[ "$fresh" = no ] && [ -x "$root/usr/bin/apt-get" ] || make_system
open_shm
copy_tree
if [ "$proc" = yes ]; then
    mount -t proc proc "$root/proc"
    trap unmount EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
fi
if [ -n "$command" ]; then
    run "$command"
elif [ "$deps_only" = yes ]; then
    run "sh deploy/deps.sh"
    run "sh deploy/deps.sh --test"
else
    run "sh deploy/deps.sh && make demo"
    run "sh deploy/deps.sh --test && make test"
fi
printf 'chroot-test.sh: %s: ok\n' "$suite"
