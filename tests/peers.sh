#!/usr/bin/env bash
# Installs the real clients and servers that the tests marked `peer` speak to: pinned, idempotent, quick when
# all is there. One line for each peer.
#
#   LADING_PEERS   where the Go tools go (default: ~/.cache/lading/peers); the binaries are in its bin/
#   CI=true        a peer that cannot be had is an error, whatever the reason
#
# Exit status 1 if an install failed that should have worked. What may not be installed here (no root, no Go,
# no network) is named with the reason; its tests are then skipped.
set -euo pipefail

peers="${LADING_PEERS:-$HOME/.cache/lading/peers}"
debian_packages=(skopeo podman buildah umoci debootstrap logrotate pebble nginx apache2 htpasswd:apache2-utils jq containerd redis-server)
debian_root=bookworm # what the container image is built on in its test
go_tools=(
    "conformance github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"
    "registry github.com/distribution/distribution/v3/cmd/registry@v3.1.1"
    "h2spec github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
    "crane github.com/google/go-containerregistry/cmd/crane@v0.21.9"
    "oras oras.land/oras/cmd/oras@v1.3.3"
    "regctl github.com/regclient/regclient/cmd/regctl@v0.11.5"
    "helm helm.sh/helm/v4/cmd/helm@v4.2.4"
    "versitygw github.com/versity/versitygw/cmd/versitygw@v1.7.0"
    "cosign github.com/sigstore/cosign/v3/cmd/cosign@v3.1.2"
    "fake-gcs-server github.com/fsouza/fake-gcs-server@v1.55.1"
)
node_tools=(azurite@3.35.0) # the newest for Node.js 20
python_tools=(neofs-python-sdk@0.5.0)
no_network='dial tcp|lookup .*: |no such host|i/o timeout|GOPROXY=off|Could not resolve|Temporary failure resolving|Unable to connect|Connection timed out'

failed=()
skipped=()
updated=""
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

report() { printf '%-12s %s\n' "$1" "$2"; }

skip() {
    report "$1" "skipped: $2"
    skipped+=("$1 ($2)")
}

# An install left its output in $log and failed: no network is a reason to skip, anything else is a failure.
install_failed() {
    if grep -Eq "$no_network" "$log"; then
        skip "$1" "no network to install it from"
        return
    fi
    report "$1" "failed to install:"
    tail -n 20 "$log" | sed 's/^/    /'
    failed+=("$1")
}

apt_install() {
    if [ -z "$updated" ]; then
        apt-get update >"$log" 2>&1 || return 1
        updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$1" >"$log" 2>&1
}

# `command`, or `command:package` where the package is called otherwise.
debian_peer() {
    local package="${1#*:}"
    set -- "${1%%:*}"
    if command -v "$1" >/dev/null; then
        report "$1" "$(command -v "$1")"
    elif ! command -v apt-get >/dev/null; then
        skip "$1" "no apt-get to install it with"
    elif [ "$(id -u)" != 0 ]; then
        skip "$1" "not root, so it cannot be installed"
    elif apt_install "$package"; then
        report "$1" "installed"
    else
        install_failed "$1"
    fi
}

go_peer() {
    local name="$1" pin="$2" stamp="$peers/stamps/$1"
    if [ -x "$peers/bin/$name" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$pin" ]; then
        report "$name" "${pin##*@}"
    elif ! command -v go >/dev/null; then
        skip "$name" "no go to build it with"
    elif GOBIN="$peers/bin" GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install "$pin" >"$log" 2>&1; then
        printf '%s\n' "$pin" >"$stamp"
        report "$name" "${pin##*@} installed"
    else
        install_failed "$name"
    fi
}

node_peer() {
    local name="${1%@*}" pin="$1" stamp="$peers/stamps/${1%@*}"
    if [ -d "$peers/$name/node_modules" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$pin" ]; then
        report "$name" "${pin##*@}"
    elif ! command -v npm >/dev/null; then
        skip "$name" "no npm to install it with"
    elif npm install --silent --no-audit --no-fund --prefix "$peers/$name" "$pin" >"$log" 2>&1; then
        printf '%s\n' "$pin" >"$stamp"
        report "$name" "${pin##*@} installed"
    else
        install_failed "$name"
    fi
}

# With an environment of its own: it pins what others of Python are free to choose.
python_peer() {
    local name="${1%@*}" pin="$1" stamp="$peers/stamps/${1%@*}"
    if [ -x "$peers/$name/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$pin" ]; then
        report "$name" "${pin##*@}"
    elif ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        skip "$name" "no python3 with venv to install it with"
    elif python3 -m venv --clear "$peers/$name" >"$log" 2>&1 &&
        "$peers/$name/bin/pip" install --quiet "$name==${pin##*@}" >"$log" 2>&1; then
        printf '%s\n' "$pin" >"$stamp"
        report "$name" "${pin##*@} installed"
    else
        install_failed "$name"
    fi
}

# A Debian for the container image to be built on, as a tar archive: there is no image registry to fetch one from.
debian_root() {
    local archive="$peers/debian-$debian_root.tar" made
    if [ -s "$archive" ]; then
        report debian-root "$debian_root"
        return
    elif ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
        skip debian-root "no debootstrap, or not root"
        return
    fi
    made="$(mktemp -d)"
    if debootstrap --variant=minbase --include=ca-certificates "$debian_root" "$made" >"$log" 2>&1 &&
        tar -C "$made" -cf "$archive.part" . && mv "$archive.part" "$archive"; then
        report debian-root "$debian_root installed"
    else
        install_failed debian-root
    fi
    rm -rf "$made"
}

mkdir -p "$peers/bin" "$peers/stamps"
exec 9>"$peers/lock" # two test runs at once: the second waits for the first, then finds all there
flock 9
PATH="$PATH:/usr/local/go/bin"

for package in "${debian_packages[@]}"; do
    debian_peer "$package"
done
for tool in "${go_tools[@]}"; do
    go_peer "${tool%% *}" "${tool##* }"
done
for tool in "${node_tools[@]}"; do
    node_peer "$tool"
done
for tool in "${python_tools[@]}"; do
    python_peer "$tool"
done
debian_root

if [ "${#failed[@]}" -gt 0 ]; then
    echo "peers.sh: failed to install: ${failed[*]}" >&2
    exit 1
fi
if [ "${#skipped[@]}" -gt 0 ]; then
    printf 'peers.sh: not installed: %s\n' "${skipped[@]}" >&2
    [ "${CI:-}" != true ]
fi
