#!/usr/bin/env bash
# The tests on the Pythons that Debian's stable release and pyenv may not have yet: in a chroot of Debian's unstable suite.
#
#   bash tests/newest.sh                  # the quick run, on each version of PYTHONS
#   bash tests/newest.sh -k sqlite -x     # what follows goes to pytest
#
# The chroot is kept in CHROOTS, outside of the checkout, and made anew after 30 days. Needs root and a Debian: packages
# come from the mirror that apt is set to, Python's from the index that pip is set to, with this machine's certificates.
# A version that is not there is a failure, and so is a skip if SESSIONS_SKIP_NOTHING=1 is set: see tests/conftest.py.
set -euo pipefail

PYTHONS=${PYTHONS:-"3.14 3.15"}
CHROOTS=${CHROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/wsgi-session}
chroot=$CHROOTS/unstable
checkout=$(cd "$(dirname "$0")/.." && pwd)

# In a mount namespace of our own, what is mounted below is gone at the end, however this ends. Where that is forbidden,
# the checkout is copied, and the chroot has only the devices that debootstrap made.
if [ -z "${NEWEST_MOUNTS:-}" ]; then
    if unshare --mount true 2>/dev/null; then
        NEWEST_MOUNTS=yes exec unshare --mount -- bash "$0" "$@"
    fi
    NEWEST_MOUNTS=no
fi
cd "$checkout"
mkdir -p "$CHROOTS"
exec 9>"$CHROOTS/lock"
flock 9 # One run at a time.

# --- the chroot

wanted=ca-certificates,curl
for version in $PYTHONS; do
    wanted+=,python$version,python$version-venv
done
if [ "$(cat "$chroot/wanted" 2>/dev/null)" != "$wanted" ] || [ -n "$(find "$chroot/wanted" -mtime +30)" ]; then
    export DEBIAN_FRONTEND=noninteractive
    command -v debootstrap >/dev/null || { apt-get -qq update && apt-get -qq install -y debootstrap >/dev/null; }
    mirror() {
        apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' | sed -n 's|^Debian/Debian ||p' | head -n 1
    }
    [ -n "$(mirror)" ] || apt-get -qq update
    [ -n "$(mirror)" ] || { echo "$0: apt has no mirror of Debian: see /etc/apt/sources.list" >&2; exit 1; }
    rm -rf --one-file-system "$chroot"
    debootstrap --variant=minbase --include="$wanted" unstable "$chroot" "$(mirror)" >"$CHROOTS/debootstrap.log" 2>&1 || {
        tail -n 20 "$CHROOTS/debootstrap.log" >&2
        exit 1
    }
    echo "$wanted" >"$chroot/wanted"
fi

# --- what it needs of this machine

put() { # a file or folder, at the same place in the chroot
    [ -e "$1" ] && [ ! "$1" -ef "$chroot$1" ] || return 0
    mkdir -p "$chroot$(dirname "$1")"
    if [ -d "$1" ] && [ "$NEWEST_MOUNTS" = yes ]; then
        mkdir -p "$chroot$1"
        mount --bind "$1" "$chroot$1"
    else
        cp -rLT --remove-destination "$1" "$chroot$1"
    fi
}
put /etc/resolv.conf
put /etc/hosts
put /etc/pip.conf
put /etc/xdg/pip
put "$HOME/.config/pip"
put "$HOME/.pip"
put /etc/ssl/certs
# What else pip and Python's ssl are told of: certificates, and folders with packages. Those of an index in files stand
# beside its folder "simple".
for path in $({ python3 -m pip config list 2>/dev/null || true; env | grep -E '^(PIP_|SSL_CERT_|REQUESTS_CA_)' || true; } |
    grep -oE "(^|[=' ]|file://)/[^' ]+" | sed -E "s|^[=' ]||; s|^file://||; s|/simple/?$||" | sort -u); do
    case $path in
    /etc/ssl/certs*) ;;
    *) [ "$NEWEST_MOUNTS" = no ] && [ -d "$path" ] || put "$path" ;; # Gigabytes, perhaps, and pip does without.
    esac
done

inside=/root/checkout
if [ "$NEWEST_MOUNTS" = yes ]; then
    mkdir -p "$chroot$inside"
    mount --bind "$checkout" "$chroot$inside"
    mount --rbind /dev "$chroot/dev"
    mount -t proc proc "$chroot/proc"
else
    rm -rf "${chroot:?}$inside"
    cp -R "$checkout" "$chroot$inside"
fi

# --- the tests

export HOME=/root PYTHONDONTWRITEBYTECODE=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset TMPDIR PYTHONPATH VIRTUAL_ENV
failed=0
for version in $PYTHONS; do
    echo "--- Python $version"
    chroot "$chroot" bash -euo pipefail -c '
        venv=/root/venv-$1 version=$1
        shift
        cd "$0"
        rm -rf "$venv"
        python$version -m venv "$venv"
        "$venv/bin/pip" install -qq -e ".[all,test]"
        "$venv/bin/python" -VV
        exec "$venv/bin/python" -m pytest -p no:cacheprovider "$@"
    ' "$inside" "$version" "$@" </dev/null 2>&1 | tee "$chroot/root/$version.log" || failed=1
done

echo "--- summary"
for version in $PYTHONS; do
    printf 'Python %-5s %s\n' "$version" "$(grep -E '[0-9] (passed|failed|error)' "$chroot/root/$version.log" | tail -n 1)"
    grep -qE '[0-9] passed' "$chroot/root/$version.log" || { echo "no test passed on Python $version"; failed=1; }
done
exit $failed
