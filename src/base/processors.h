// How many processors work can be spread over.
#pragma once

namespace runnel {

// Those that the calling thread may run on, at least one: a container or a service may have fewer
// than the machine (sched_getaffinity(2)). A quota of time (cgroup cpu.max) is not looked at.
unsigned usable_processors();

}  // namespace runnel
