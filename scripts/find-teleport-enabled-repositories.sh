#!/usr/bin/env bash
# Lists which repositories expand what is pushed.
#
#   scripts/find-teleport-enabled-repositories.sh REGISTRY
#
# REGISTRY and environment as for check-expansion.sh; needs jq.
set -euo pipefail

# shellcheck source=scripts/teleport-access.sh
. "$(dirname "$0")/teleport-access.sh"
[ $# -ge 1 ] || usage "$0" "REGISTRY"
ACR_NAME=$1
host_of "$ACR_NAME"

login() { [ -z "${ACR_USER-}" ] || printf 'user = "%s:%s"\n' "$(quoted "$ACR_USER")" "$(quoted "${ACR_PWD-}")"; }
ask() { login | curl -K - -sS --fail "${tls[@]}" "$@"; }

repositories() {
  local last='' page
  while true; do
    page=$(ask -G "$base/v2/_catalog" --data-urlencode n=100 --data-urlencode "last=$last" |
      jq -r '.repositories[]')
    [ -n "$page" ] || return 0
    printf '%s\n' "$page"
    last=$(tail -n 1 <<<"$page")
  done
}

enabled=()
while read -r repository; do
  if ask "$base/acr/v1/$repository" | jq -e '.changeableAttributes.teleportEnabled == true' >/dev/null; then
    echo "$repository -> Enabled"
    enabled+=("$repository")
  else
    echo "$repository -> Disabled"
  fi
done < <(repositories)
echo
echo "Summary:"
echo "Enabled Repositories:"
echo
[ ${#enabled[@]} -eq 0 ] || printf '%s\n' "${enabled[@]}"
