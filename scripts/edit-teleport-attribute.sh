#!/usr/bin/env bash
# Switches the expansion of a repository's pushes on or off.
#
#   scripts/edit-teleport-attribute.sh REGISTRY REPOSITORY enable|disable [--debug]
#
# The identity needs the right to push. REGISTRY, environment and --debug as for check-expansion.sh.
set -euo pipefail

# shellcheck source=scripts/teleport-access.sh
. "$(dirname "$0")/teleport-access.sh"
[ $# -ge 3 ] || usage "$0" "REGISTRY REPOSITORY enable|disable [--debug]"
ACR_NAME=$1 ACR_REPO=$2
case $3 in
  enable) state=true ;;
  disable) state=false ;;
  *) usage "$0" "REGISTRY REPOSITORY enable|disable [--debug]" ;;
esac
[ "${4-}" != --debug ] || debug=1
host_of "$ACR_NAME"

parameters
echo "Getting Access Token"
get_token "$ACR_REPO" pull,push
[ -n "$ACR_ACCESS_TOKEN" ] || {
  echo "Could not get access token, make sure credentials are accurate and have pull access"
  exit 1
}
say_debug "  ACR_ACCESS_TOKEN: $ACR_ACCESS_TOKEN"
body="{\"teleportEnabled\": $state }"
echo "  SET_STATE: $body"
echo "Sendng Patch Request for $ACR_REPO"
result=$(call -X PATCH "$base/acr/v1/$ACR_REPO" -H 'Content-Type: application/json' -d "$body") || true
echo "  RESULT: $result"
