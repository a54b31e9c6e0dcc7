#!/usr/bin/env bash
# Sourced by the teleport scripts: which host, and how to log in there. Secrets go to curl through a
# pipe, never on a command line.
# shellcheck disable=SC2034  # the scripts use what is set here

debug=0
base=''
tls=()
ACR_ACCESS_TOKEN=''
manifest_types='application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json'

usage() {
  echo "usage: $1 $2" >&2
  exit 2
}

# Sets base and tls for a registry.
host_of() {
  local host=$1
  case $host in
    *.* | *:* | localhost) ;;
    *) host=$host${ACR_SUFFIX-.azurecr.io} ;;
  esac
  case $host in
    127.* | localhost | localhost:* | '[::1]'*) base=http://$host ;;
    *) base=https://$host ;;
  esac
  [ -z "${ACR_CA_FILE-}" ] || { base=https://$host && tls=(--cacert "$ACR_CA_FILE"); }
}

say_debug() { [ "$debug" = 0 ] || echo "$1"; }

# The block that --debug begins with; further lines are arguments.
parameters() {
  [ "$debug" = 1 ] || return 0
  echo "Parameter Validation:"
  printf '%s\n' "  ACR_USER: ${ACR_USER-}" "  ACR_PWD : ${ACR_PWD-}" "  ACR_NAME: $ACR_NAME" \
    "  ACR_REPO: $ACR_REPO" "$@"
}

# As curl's configuration wants a text in quotes.
quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# Sets ACR_ACCESS_TOKEN; "" when there is none to be had.
get_token() {
  local answer
  answer=$(printf 'user = "%s:%s"\n' "$(quoted "${ACR_USER-}")" "$(quoted "${ACR_PWD-}")" |
    curl -K - -sS --fail "${tls[@]}" -G "$base/oauth2/token" \
      --data-urlencode "service=${base#*://}" --data-urlencode "scope=repository:$1:$2" 2>/dev/null) || true
  ACR_ACCESS_TOKEN=$(sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p' <<<"$answer")
}

# A request with the token.
call() { printf 'header = "Authorization: Bearer %s"\n' "$ACR_ACCESS_TOKEN" | curl -K - -sS "${tls[@]}" "$@"; }
