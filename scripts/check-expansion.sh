#!/usr/bin/env bash
# Waits until the layers of an image are expanded: until its streaming artifact is there.
#
#   scripts/check-expansion.sh REGISTRY REPOSITORY TAG [--debug]
#
# REGISTRY is a host ("registry.example", "127.0.0.1:5000") or a name, to which ACR_SUFFIX (.azurecr.io)
# is added. ACR_USER and ACR_PWD log in. Loopback is asked over plain HTTP, every other host over HTTPS
# (ACR_CA_FILE: a PEM file of authorities). --debug prints the password and the token in clear.
set -euo pipefail

# shellcheck source=scripts/teleport-access.sh
. "$(dirname "$0")/teleport-access.sh"
[ $# -ge 3 ] || usage "$0" "REGISTRY REPOSITORY TAG [--debug]"
ACR_NAME=$1 ACR_REPO=$2 ACR_TAG=$3
[ "${4-}" != --debug ] || debug=1
host_of "$ACR_NAME"

parameters "  ACR_TAG : $ACR_TAG"
echo "Getting Access Token"
get_token "$ACR_REPO" pull
[ -n "$ACR_ACCESS_TOKEN" ] || {
  echo "Could not get access token, make sure credentials are accurate and have pull access"
  exit 1
}
say_debug "  ACR_ACCESS_TOKEN: $ACR_ACCESS_TOKEN"

manifest=$base/v2/$ACR_REPO/manifests/$ACR_TAG
echo "Finding Digest for $ACR_REPO:$ACR_TAG $manifest"
ACR_DIGEST=$(call -I "$manifest" -H "Accept: $manifest_types" |
  tr -d '\r' | sed -n 's/^docker-content-digest: *//Ip' | head -n 1) || true
[ -n "$ACR_DIGEST" ] || {
  echo "Could not return the image digest. Confirm the identity has access to the repo, and the image exists."
  exit 1
}
say_debug "  ACR_DIGEST: $ACR_DIGEST"

mount=$base/mount/v1/$ACR_REPO/_manifests/$ACR_DIGEST
echo "Checking $mount"
while true; do
  status=$(call -o /dev/null -w '%{http_code}' "$mount") || true
  case $status in
    200)
      echo "Status: 200"
      echo "Teleport: layers ready"
      exit 0
      ;;
    404)
      echo "Status: 404"
      echo "Teleport: $ACR_NAME-$ACR_REPO:$ACR_TAG not enabled"
      exit 0
      ;;
    409)
      echo "Status: 409"
      echo "Teleport: expanding layers"
      ;;
    *) echo "Unknown status $status" ;;
  esac
  sleep "${TELEPORT_POLL_SECONDS:-2}"
done
