#!/bin/busybox sh
# Runs as the first process of a virtual machine (tools/sandbox/guest.py): a registry, a node and a
# containerd on loopback; for each engine named in /engines a container that hashes its own files
# while the node's worker is killed. Says "RESULT name value" on the console, and "DONE" at the end.
#
# /engines has lines "ENGINE MODULE...": what to load first, and what `--engine auto` must choose.
# /image is the image's reference; the registry's data has it, converted.
export PATH=/bin
mount -t proc proc /proc
say() { echo "$*"; }

mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm && mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
image=$(cat /image)
trap 'poweroff -f' EXIT

show() { tail -n 40 /run/*.log; }
fail() { say "RESULT failed $*"; show; dmesg | tail -n 20; poweroff -f; }

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
  local left=$(($1 * 10)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || fail "waited in vain: $what"
    sleep 0.1
  done
}
container() { ctr -n k8s.io --address /run/containerd.sock "$@"; }
worker() { tr -d " " <"/proc/$node/task/$node/children"; }
rounds() { grep -c ROUND /run/container.log; }
more_rounds_than() { [ "$(rounds)" -gt "$1" ]; }
new_worker() { local now; now=$(worker) && [ -n "$now" ] && [ "$now" != "$1" ]; }

# What is mounted over loop devices stays served as long as /run/faults says so (src/cache/fault.h).
start_node() {
  echo move-loops:EIO >/run/faults
  RUNNEL_FAULT=@/run/faults runnel node --root /var/lib/runnel --mirror 127.0.0.1:8578 --address /run/snapshotter.sock \
    --control /run/control.sock --hosts-dir /etc/certs.d --engine auto \
    --no-background-fill >/run/node.log 2>&1 &
  node=$!
  await 120 "the node's socket" test -S /run/snapshotter.sock
}

kill_worker() {
  local old=$(worker)
  kill -9 "$old"
  await 60 "another worker" new_worker "$old"
}
all_plain() {
  runnel node status --json --control /run/control.sock >/run/status &&
    grep -q '"mounted":"plain"' /run/status && ! grep -q '"mounted":"served"' /run/status
}

# When all is here loop devices get the layers' plain files, and the container goes on without the node.
move_loops() {
  cat /var/lib/runnel/devices/* >/dev/null 2>&1  # but for "trial", which cannot be read
  rm /run/faults
  kill_worker
  await 120 "loop devices with plain files" all_plain
  stopped="$node $(worker)"
  kill -STOP $stopped
  echo 3 >/proc/sys/vm/drop_caches
  before=$(rounds)
  await 120 "a whole round without a node" more_rounds_than $((before + 1))
  kill -CONT $stopped
  say "RESULT moved true"
}

# The container prints READY and then hashes all its files again and again, until /stop is there.
run_container() {
  rm -f /run/container.log
  container run --rm --snapshotter runnel --cgroup '' --runc-root /run/runc --fifo-dir /run/fifo \
    --mount type=bind,src=/run/shared,dst=/shared,options=rbind:ro "$image" "$1" \
    /bin/sh /files/loop >/run/container.log 2>&1 &
  running=$!
  await 180 "READY" grep -q READY /run/container.log
}

one_engine() {
  start_node
  runnel node status --json --control /run/control.sock >/run/status || fail "status"
  say "RESULT engine $(sed 's/.*"engine":"\([a-z-]*\)".*/\1/' /run/status)"
  say "RESULT recovery $(sed 's/.*"recovery":"\([a-z-]*\)".*/\1/' /run/status)"
  say "RESULT parallel-loops $(sed 's/.*"parallel_loops":\([a-z]*\).*/\1/' /run/status)"
  containerd --config /etc/containerd.toml >/run/containerd.log 2>&1 &
  containerd=$!
  await 120 "containerd" container version
  runnel pull "$image" --address /run/containerd.sock >/run/pull.log 2>&1 || fail "pull"
  runnel node status --json --control /run/control.sock >/run/status || fail "status"
  say "RESULT reason $(sed 's/.*"reason":"\([A-Za-z]*\)".*/\1/' /run/status)"
  mkdir -p /run/shared && rm -f /run/shared/stop
  run_container "c-$1"
  say "RESULT ready $1 after $(cut -d' ' -f1 /proc/uptime) s"
  kills=0
  while [ $kills -lt 8 ]; do
    echo 3 >/proc/sys/vm/drop_caches
    sleep 0.3
    kill_worker
    kills=$((kills + 1))
  done
  before=$(rounds)
  await 120 "a whole round after the last kill" more_rounds_than $((before + 1))
  [ "$1" != erofs-loop ] || move_loops
  touch /run/shared/stop
  wait $running
  say "RESULT kills $kills"
  say "RESULT rounds $(rounds)"
  say "RESULT bad $(grep -vc -e ROUND -e READY /run/container.log)"
  grep -v -e ROUND -e READY /run/container.log | head -n 5
  container images ls -q | while read -r name; do container images rm --sync "$name"; done >/dev/null
  kill $containerd && wait $containerd
  kill $node && wait $node
  say "RESULT left $(grep -c /var/lib/runnel/ /proc/self/mountinfo)"
}

runnel registry --data /var/lib/registry --listen 127.0.0.1:5000 >/run/registry.log 2>&1 &
await 60 "the registry" grep -q serving /run/registry.log
while read -r engine modules; do
  for module in $modules; do insmod "/modules/$module.ko" || fail "insmod $module"; done
  say "RESULT begin $engine"
  one_engine "$engine"
done </engines
say "DONE"
poweroff -f
