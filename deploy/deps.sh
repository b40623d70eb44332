#!/bin/sh
# deps.sh [--test] - installs what Shield needs to build, and with --test what its tests need too.
# For Debian 12 and 13, as root. Says nothing to apt, and needs no network, when everything is there.
set -eu

build="gcc make pkg-config libc6-dev libuv1-dev liblmdb-dev libmbedtls-dev libyaml-dev libjansson-dev
       libc-ares-dev libxxhash-dev"
edges="nginx varnish trafficserver squid haproxy"
tests="libcmocka-dev python3 python3-pytest curl clang libclang-rt-dev clang-format"
llhttp=node-llhttp # its C sources; no node.js comes with them

say() {
    printf 'deps.sh: %s\n' "$*"
}

die() {
    printf 'deps.sh: %s\n' "$*" >&2
    exit 1
}

# Debian 13 has no trafficserver, and llhttp as a library; test/wire/real_edges.py and test/test.mk know the same.
[ ! -r /etc/os-release ] || . /etc/os-release
case ${ID:-}-${VERSION_ID:-} in
debian-13) edges="nginx varnish squid haproxy" llhttp=libllhttp-dev ;;
esac

wanted=$build
for arg in "$@"; do
    case $arg in
    --test) wanted="$build $tests $llhttp $edges" ;;
    -h | --help)
        echo "usage: sh deploy/deps.sh [--test]"
        exit 0
        ;;
    *)
        echo "usage: sh deploy/deps.sh [--test]" >&2
        exit 2
        ;;
    esac
done

command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 ||
    die "this is not a Debian system (no dpkg and apt-get); install by hand: $(echo $wanted)"

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $wanted; do
    is_installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    say "nothing to install"
    exit 0
fi

[ "$(id -u)" -eq 0 ] || die "must be run as root to install:$missing"

case ${ID:-}-${VERSION_ID:-} in
debian-12 | debian-13) ;;
*) say "warning: made for Debian 12 and 13, this is ${PRETTY_NAME:-unknown}; trying" ;;
esac

# The tests start their own edges from directories of their own: the packaged services are not wanted. An
# administrator's own policy-rc.d stays as it is.
policy=/usr/sbin/policy-rc.d
ours=
new_edges=
for package in $edges; do
    is_installed "$package" || new_edges="$new_edges $package"
done
cleanup() {
    [ -z "$ours" ] || rm -f "$policy"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt="apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3"
say "installing:$missing"
$apt update || die "apt-get update failed: see above; check /etc/apt/sources.list and the network"
$apt install --no-install-recommends $missing || die "apt-get install failed: see above"

if command -v systemctl >/dev/null 2>&1; then
    for edge in $new_edges; do
        is_installed "$edge" || continue
        systemctl --quiet disable "$edge.service" >/dev/null 2>&1 ||
            say "warning: $edge.service could not be disabled"
    done
fi
say "done"
