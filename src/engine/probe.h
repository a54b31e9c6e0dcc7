// The trial at start: which ways of mounting this kernel can do without showing a wrong byte.
//
// A small EROFS image is mounted each way, with a device on the FUSE mount whose second half cannot
// be read; files without block devices also with a device file that ends too early. What is there
// must read right, and what is not there must give EIO: kernels without the fix for short reads
// show zeros instead. (Loop devices before Linux 6.15 show zeros behind the end of a file, too.
// That does not matter: their reads are the kernel's own, which no signal cuts short, and the files
// that they read here never end too early.) The trial decides, not the version number. The complete
// FUSE file system needs no trial: without a FUSE mount there would be no worker.
//
// A loop device asks its file for one thing after another, so that what is stalled holds up all
// that comes behind it; one that reads past the file's page cache does not wait, if FUSE answers
// such reads later (FUSE_ASYNC_DIO). Whether that works is tried with two reads, of which neither
// is answered before the other is there.
//
// Direct I/O (Linux 6.15) is tried by itself, of plain files on the device file that ends too
// early, of served devices on the one whose second half cannot be read.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/way.h"

namespace runnel::engine {

struct ProbeResult {
  Way way = Way::kAuto;
  bool ok = false;
  std::string reason;  // what was found, for a person
};

// Tries every way (never kAuto). `directory` is for the trial's files (300 KiB), which stay for the
// next trial, and mounts, which do not; `devices` is where DeviceFs is mounted and serves. Takes
// some milliseconds.
std::vector<ProbeResult> probe_ways(const std::string& directory, const std::string& devices);

// Whether EROFS on plain files can read them past their page cache, right and with EIO where there
// is nothing; `way` is kErofsFile. Takes `directory` as probe_ways() does, and needs no FUSE mount.
ProbeResult probe_direct_io(const std::string& directory);

// Whether loop devices over files that a worker serves can ask for many things at once; `way` is
// kErofsLoop. Takes `directory` and `devices` as probe_ways() does; takes a second longer
// where it does not work. `direct` false: without what makes it work.
ProbeResult probe_parallel_loops(const std::string& directory, const std::string& devices,
                                 bool direct = true);
// The same for devices on the FUSE mount at `devices`: what EROFS reads of them is kept once, in
// the files of the image, and the kernel asks for nothing beyond the end of a file.
ProbeResult probe_direct_devices(const std::string& directory, const std::string& devices);

// What `wanted` means after the trial: itself, or for kAuto the first way that works. kUnsupported,
// with the reasons, when that is none.
Result<Way> choose_way(Way wanted, const std::vector<ProbeResult>& results);

}  // namespace runnel::engine
