#include "engine/probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <thread>

#include "base/durable.h"
#include "base/fd.h"
#include "engine/device_fs.h"
#include "engine/mounter.h"
#include "engine/side_process.h"
#include "erofs/writer.h"

namespace runnel::engine {

namespace {

constexpr auto kTrialTimeout = std::chrono::seconds(10);

// One file that is all of the device.
Result<Buffer> trial_image() {
  erofs::Tree tree;
  tree.inodes.resize(2);
  tree.inodes[0].mode = S_IFDIR | 0755;
  tree.inodes[0].entries = {{"file", 1}};
  tree.inodes[1].mode = S_IFREG | 0644;
  tree.inodes[1].size = kTrialBlocks * erofs::kBlockSize;
  tree.inodes[1].extents = {{0, 0, kTrialBlocks, 1}};
  tree.devices = {{.blocks = kTrialBlocks, .tag = {}}};
  return erofs::write_image(tree);
}

enum class Seen : uint8_t { kRight, kCannotOpen, kWrong, kNoError };

// Beside this process, because it serves what is read: system calls only.
Seen read_both_halves(const char* path) {
  std::byte block[erofs::kBlockSize];
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return Seen::kCannotOpen;
  if (::pread(file, block, sizeof block, 0) != sizeof block) return Seen::kWrong;
  for (const auto byte : block) {
    if (byte != static_cast<std::byte>(kTrialFill)) return Seen::kWrong;
  }
  constexpr off_t kBeyond = (kTrialBlocks - 1) * erofs::kBlockSize;
  return ::pread(file, block, sizeof block, kBeyond) < 0 ? Seen::kRight : Seen::kNoError;
}

// What is there reads right; what the device does not have is an error, not zeros.
Result<void> check_reads(const std::string& target) {
  const auto path = target + "/file";
  RUNNEL_TRY(const int seen, run_beside("read the trial image", kTrialTimeout, [path] {
               return static_cast<int>(read_both_halves(path.c_str()));
             }));
  switch (static_cast<Seen>(seen)) {
    case Seen::kRight: return {};
    case Seen::kCannotOpen: return fail(Code::kUnsupported, "the trial image's file does not open");
    case Seen::kNoError:
      return fail(Code::kUnsupported, "a block that is not there reads as zeros instead of EIO");
    case Seen::kWrong: break;
  }
  return fail(Code::kUnsupported, "a block that is there reads wrong");
}

bool read_block(const char* path, uint64_t number) {
  std::byte block[erofs::kBlockSize];
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const auto offset = static_cast<off_t>(number * erofs::kBlockSize);
  if (::pread(file, block, sizeof block, offset) != sizeof block) return false;
  return block[0] == static_cast<std::byte>(kTrialFill);
}

Result<void> check_pair(const std::string& target) {
  const auto read = [path = target + "/file"](uint64_t number) {
    return run_beside("read one of two blocks of the trial image", kTrialTimeout,
                      [path, number] { return read_block(path.c_str(), number) ? 1 : 0; });
  };
  Result<int> second = 0;
  std::thread other([&] { second = read(kTrialPair[1]); });
  const auto first = read(kTrialPair[0]);
  other.join();
  RUNNEL_DO(first);
  RUNNEL_DO(second);
  if (*first == 1 && *second == 1) return {};
  return fail(Code::kUnsupported, "a read waits until the one before it is answered");
}

using Check = Result<void> (*)(const std::string& target);

Result<void> try_mount(ImageMount mount, const std::string& directory,
                       std::initializer_list<Check> checks) {
  const auto target = directory + "/mnt";
  (void)unmount_image(target, kTrialTimeout);  // of a worker that died in its trial
  mount.metadata_path = directory + "/metadata";
  mount.target = target;
  RUNNEL_DO(mount_image(mount, kTrialTimeout));
  Result<void> outcome;
  for (const auto check : checks) {
    if (outcome) outcome = check(target);
  }
  if (auto unmounted = unmount_image(target, kTrialTimeout); outcome && !unmounted) {
    outcome = unmounted;
  }
  return outcome;
}

Result<void> try_device(Way way, const std::string& directory, const std::string& device,
                        bool direct_io = false) {
  return try_mount({.way = way, .devices = {{.path = device}}, .direct_io = direct_io}, directory,
                   {check_reads});
}

// Writes only what is not there already: a node must start again on a full disk, and there the
// files of its last trial are all that it can have.
Result<void> put_file(const std::string& path, Bytes content) {
  const auto found = read_file(path, content.size());
  if (found && std::ranges::equal(*found, content)) return {};
  return replace_file(path, content);
}

Result<void> put_metadata(const std::string& directory) {
  RUNNEL_DO(make_directories(directory + "/mnt", 0700));
  RUNNEL_TRY(const auto image, trial_image());
  return put_file(directory + "/metadata", image);
}

// A device file that ends too early.
Result<std::string> put_short_device(const std::string& directory) {
  const Buffer present(kTrialPresentBlocks * erofs::kBlockSize, static_cast<std::byte>(kTrialFill));
  const auto path = directory + "/device";
  RUNNEL_DO(put_file(path, present));
  return path;
}

Result<void> try_way(Way way, const std::string& directory, const std::string& devices) {
  RUNNEL_DO(put_metadata(directory));
  RUNNEL_DO(try_device(way, directory, fmt::format("{}/{}", devices, kTrialName)));
  if (way != Way::kErofsFile) return {};
  RUNNEL_TRY(const auto device, put_short_device(directory));
  return try_device(way, directory, device);
}

Result<void> try_parallel_loops(const std::string& directory, const std::string& devices,
                                bool direct) {
  RUNNEL_DO(put_metadata(directory));
  const auto device = fmt::format("{}/{}", devices, kTrialName);
  return try_mount({.way = Way::kErofsLoop, .devices = {{.path = device, .direct_loop = direct}}},
                   directory, {check_reads, check_pair});
}

Result<void> try_direct_devices(const std::string& directory, const std::string& devices) {
  RUNNEL_DO(put_metadata(directory));
  return try_device(Way::kErofsFile, directory, fmt::format("{}/{}", devices, kTrialName), true);
}

// The kernel takes the option on any file and reads through the page cache where the file has no
// direct reads, so the file is asked itself.
Result<void> try_direct_io(const std::string& directory) {
  RUNNEL_DO(put_metadata(directory));
  RUNNEL_TRY(const auto device, put_short_device(directory));
  if (const auto direct = open_file(device, O_RDONLY | O_DIRECT); !direct) {
    return fail(Code::kUnsupported, "the cache's file system has no direct reads: {}",
                direct.error().message);
  }
  return try_device(Way::kErofsFile, directory, device, true);
}

}  // namespace

std::vector<ProbeResult> probe_ways(const std::string& directory, const std::string& devices) {
  std::vector<ProbeResult> results;
  for (const Way way : {Way::kErofsFile, Way::kErofsLoop}) {
    const auto scratch = fmt::format("{}/{}", directory, to_string(way));
    const auto outcome = try_way(way, scratch, devices);
    results.push_back({.way = way,
                       .ok = outcome.has_value(),
                       .reason = outcome ? "works: what is missing on a device gives EIO"
                                         : outcome.error().message});
  }
  results.push_back({.way = Way::kFuse,
                     .ok = true,
                     .reason = "works: the worker serves the whole tree (the slowest way)"});
  return results;
}

ProbeResult probe_direct_io(const std::string& directory) {
  const auto outcome = try_direct_io(fmt::format("{}/direct-io", directory));
  return {.way = Way::kErofsFile,
          .ok = outcome.has_value(),
          .reason = outcome ? "works: plain files are read past their page cache"
                            : outcome.error().message};
}

ProbeResult probe_parallel_loops(const std::string& directory, const std::string& devices,
                                 bool direct) {
  const auto outcome = try_parallel_loops(directory + "/parallel-loops", devices, direct);
  return {.way = Way::kErofsLoop,
          .ok = outcome.has_value(),
          .reason = outcome ? "works: what is stalled holds up nothing behind it"
                            : outcome.error().message};
}

ProbeResult probe_direct_devices(const std::string& directory, const std::string& devices) {
  const auto outcome = try_direct_devices(fmt::format("{}/direct-devices", directory), devices);
  return {
      .way = Way::kErofsFile,
      .ok = outcome.has_value(),
      .reason = outcome ? "works: what is served is kept in memory once" : outcome.error().message};
}

Result<Way> choose_way(Way wanted, const std::vector<ProbeResult>& results) {
  std::string reasons;
  for (const auto& result : results) {
    if (wanted != Way::kAuto && result.way != wanted) continue;
    if (result.ok) return result.way;
    reasons +=
        fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", to_string(result.way), result.reason);
  }
  return fail(Code::kUnsupported, "no way to mount streamed images works here: {}", reasons);
}

}  // namespace runnel::engine
