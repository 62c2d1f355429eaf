/**
 * The script that is `kubectl leasehold` on a workstation. It has no settings: all it needs is in the kubeconfig.
 * Pure.
 */

/** The text of the script. */
export const KUBECTL_PLUGIN = String.raw`#!/bin/sh
# "kubectl leasehold" on a workstation. "leasehold manifest kubectl-plugin" prints it. Put it into a folder of PATH as
# kubectl-leasehold, mode 0755. It runs "leasehold" in an agent's pod by "kubectl exec". While the kubeconfig's server
# (the VIP) does not answer, it asks the API servers that answered last, which it keeps in
# $XDG_CACHE_HOME/leasehold (or ~/.cache/leasehold).
set -eu

KUBECTL=${"$"}{KUBECTL:-kubectl}
NAMESPACE=kube-system
PODS='app.kubernetes.io/name=leasehold,app.kubernetes.io/component=vip-agent'
# Seconds that an API server, and an agent's node, may take to answer.
API_S=4
NODE_S=8

fail() {
  status=$1
  shift
  printf 'kubectl leasehold: %s\n' "$@" >&2
  exit "$status"
}

usage() {
  cat <<'END'
Usage: kubectl leasehold [--node NODE] [--server URL] [--context NAME] [--kubeconfig FILE] COMMAND

Runs "leasehold COMMAND" in the pod of an agent: on NODE, or on the first node that answers.
"kubectl leasehold help" lists the commands. --server names an API server by the address of its node.

Examples:
  kubectl leasehold status
  kubectl leasehold why n2
  kubectl leasehold --node n2 doctor
  kubectl leasehold --server https://192.0.2.11:6443 status
END
}

node='' server='' context='' kubeconfig=''
while [ $# -gt 0 ]; do
  case "$1" in
    --node=* | --server=* | --context=* | --kubeconfig=*)
      name=${"$"}{1%%=*} value=${"$"}{1#*=}
      shift
      ;;
    --node | --server | -s | --context | --kubeconfig)
      [ $# -gt 1 ] || fail 2 "$1 needs a value"
      name=$1 value=$2
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) fail 2 "unknown flag $1 before the command. \"kubectl leasehold --help\" lists those there are" ;;
    *) break ;;
  esac
  [ -n "$value" ] || fail 2 "$name needs a value"
  case "$name" in
    --node) node=$value ;;
    --server | -s) server=$value ;;
    --context) context=$value ;;
    --kubeconfig) kubeconfig=$value ;;
  esac
done
if [ $# -eq 0 ]; then
  usage
  exit 2
fi
[ "$1" != run ] || fail 2 'the agent runs as a static pod, and not from here: see "leasehold manifest pod"'
command -v "$KUBECTL" >/dev/null 2>&1 || fail 1 "there is no $KUBECTL in PATH"

# kube [URL] WORD...: kubectl, at the server of that URL; '' is the kubeconfig's own. Every API server's certificate is
# valid for the name "kubernetes", and not for each address.
kube() {
  url=$1
  shift
  if [ -n "$url" ]; then set -- --server "$url" --tls-server-name kubernetes "$@"; fi
  if [ -n "$context" ]; then set -- --context "$context" "$@"; fi
  if [ -n "$kubeconfig" ]; then set -- --kubeconfig "$kubeconfig" "$@"; fi
  "$KUBECTL" "$@"
}

own=$(kube '' config view --minify -o 'jsonpath={.clusters[0].cluster.server}' 2>/dev/null) || own=''
[ -n "$own$server" ] || fail 1 'the kubeconfig names no server. Set KUBECONFIG, or use --kubeconfig, --context or --server'
# One file for each cluster, by the server of its kubeconfig.
cache=${"$"}{XDG_CACHE_HOME:-${"$"}{HOME:-/nonexistent}/.cache}/leasehold/$(printf '%s' "$own" | tr -c 'A-Za-z0-9.' '_')

remembered=''
if [ -n "$own" ] && [ -r "$cache" ]; then
  # What is not the URL of an address is not used: the file may be damaged.
  remembered=$(head -n 64 "$cache" | grep -E '^https://(\[[0-9a-f:]+\]|[0-9.]+):[0-9]+$' || :)
fi

alive='' asked=''
try() {
  asked="$asked ${"$"}{1:-$own}"
  # /version is for every user, and needs no etcd. timeout is there in case that kubectl does not keep its own.
  kube "$1" get --raw /version --request-timeout "${"$"}{API_S}s" >/dev/null 2>&1
}
found=no
if [ -n "$server" ]; then
  if try "$server"; then alive=$server found=yes; fi
elif try ''; then
  found=yes
else
  for candidate in $remembered; do
    if [ "$candidate" != "$own" ] && try "$candidate"; then
      alive=$candidate found=yes
      echo "kubectl leasehold: $own does not answer, asking $alive" >&2
      break
    fi
  done
fi
if [ "$found" = no ]; then
  fail 1 "no API server answers as this user. Asked:$asked" \
    "$([ -n "$remembered" ] || echo "none is remembered in $cache, which each success refreshes. ")Type one of these:" \
    '  kubectl leasehold --server https://NODE:6443 status      NODE is the address of a control-plane node' \
    '  ssh NODE leasehold status                                on a control-plane node, which needs no API' \
    "  kubectl --server ${"$"}{server:-$own} get --raw /version      shows what kubectl itself says"
fi

remember() {
  servers=$(kube "$alive" get endpointslices -n default -l kubernetes.io/service-name=kubernetes \
    --request-timeout "${"$"}{API_S}s" \
    -o 'jsonpath={range .items[*]}{.ports[0].port}{" "}{.endpoints[*].addresses[*]}{"\n"}{end}' 2>/dev/null |
    while read -r port addresses; do
      for address in $addresses; do
        case "$address" in *:*) address="[$address]" ;; esac
        echo "https://$address:$port"
      done
    done) || return 0
  [ -n "$servers" ] && [ -n "$own" ] || return 0
  mkdir -p "${"$"}{cache%/*}" 2>/dev/null || return 0
  { printf '%s\n' "$servers" >"$cache.$$" && mv "$cache.$$" "$cache"; } 2>/dev/null || :
}
remember

pods=$(kube "$alive" get pods -n "$NAMESPACE" -l "$PODS" --request-timeout "${"$"}{NODE_S}s" \
  -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.spec.nodeName}{" "}{.status.phase}{"\n"}{end}') ||
  fail 1 "the pods of the agents in $NAMESPACE could not be listed, so no command was run"
running=$(printf '%s\n' "$pods" | while read -r name where phase; do
  if [ "$phase" = Running ] && { [ -z "$node" ] || [ "$where" = "$node" ]; }; then echo "$name"; fi
done)
if [ -z "$running" ]; then
  fail 1 "no agent's pod runs ${"$"}{node:+on $node }in $NAMESPACE. There is:" "${"$"}{pods:-no pod at all: see \"leasehold manifest pod\"}"
fi

tty=''
if [ -t 0 ] && [ -t 1 ]; then tty=-it; fi
for pod in $running; do
  # A node that is lost keeps its pod Running for minutes. The version tells which node answers.
  if kube "$alive" exec -n "$NAMESPACE" "$pod" -c leasehold --request-timeout "${"$"}{NODE_S}s" -- leasehold version >/dev/null 2>&1; then
    [ "$pod" = "${"$"}{running%%[!a-zA-Z0-9.-]*}" ] || echo "kubectl leasehold: asking $pod" >&2
    # shellcheck disable=SC2086
    kube "$alive" exec $tty -n "$NAMESPACE" "$pod" -c leasehold -- leasehold "$@"
    exit
  fi
done
kube "$alive" exec -n "$NAMESPACE" "${"$"}{running%%[!a-zA-Z0-9.-]*}" -c leasehold --request-timeout "${"$"}{NODE_S}s" -- leasehold version >/dev/null || :
fail 1 'no command could be run in any pod of an agent:' "$running" \
  'Without the right to "pods/exec", or without the kubelets, type this on a control-plane node: leasehold status'
`;
