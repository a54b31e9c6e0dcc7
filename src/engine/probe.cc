#include "engine/probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/durable.h"
#include "base/fd.h"
#include "engine/mounter.h"
#include "erofs/writer.h"

namespace runnel::engine {

namespace {

constexpr auto kTrialTimeout = std::chrono::seconds(10);
constexpr uint64_t kDeviceBlocks = 64;
constexpr uint64_t kPresentBlocks = 32;
constexpr char kFill = 'r';

// One file that is all of the device.
Result<Buffer> trial_image() {
  erofs::Tree tree;
  tree.inodes.resize(2);
  tree.inodes[0].mode = S_IFDIR | 0755;
  tree.inodes[0].entries = {{"file", 1}};
  tree.inodes[1].mode = S_IFREG | 0644;
  tree.inodes[1].size = kDeviceBlocks * erofs::kBlockSize;
  tree.inodes[1].extents = {{0, 0, kDeviceBlocks, 1}};
  tree.devices = {{.blocks = kDeviceBlocks, .tag = {}}};
  return erofs::write_image(tree);
}

// What is there reads right; what the device does not have is an error, not zeros.
Result<void> check_reads(const std::string& target) {
  RUNNEL_TRY(const auto file, open_file(target + "/file", O_RDONLY));
  Buffer block(erofs::kBlockSize);
  RUNNEL_DO(read_exact_at(file.get(), block, 0));
  const bool right = std::ranges::all_of(
      block, [](std::byte each) { return each == static_cast<std::byte>(kFill); });
  if (!right) return fail(Code::kUnsupported, "a block that is there reads wrong");
  const uint64_t beyond = (kDeviceBlocks - 1) * erofs::kBlockSize;
  if (read_exact_at(file.get(), block, beyond)) {
    return fail(Code::kUnsupported, "a block that is not there reads as zeros instead of EIO");
  }
  return {};
}

// Writes only what is not there already: a node must start again on a full disk, and there the
// files of its last trial are all that it can have.
Result<void> put_file(const std::string& path, Bytes content) {
  const auto found = read_file(path, content.size());
  if (found && std::ranges::equal(*found, content)) return {};
  return replace_file(path, content);
}

Result<void> try_way(Way way, const std::string& directory) {
  RUNNEL_DO(make_directories(directory + "/mnt", 0700));
  RUNNEL_TRY(const auto image, trial_image());
  RUNNEL_DO(put_file(directory + "/metadata", image));
  const Buffer present(kPresentBlocks * erofs::kBlockSize, static_cast<std::byte>(kFill));
  RUNNEL_DO(put_file(directory + "/device", present));
  if (way == Way::kErofsLoop) {
    // A loop device's size is its file's, and EROFS checks that at the mount. So the file is whole
    // when it is mounted and cut afterwards.
    RUNNEL_TRY(const auto device, open_file(directory + "/device", O_RDWR));
    if (::ftruncate(device.get(), kDeviceBlocks * erofs::kBlockSize) != 0) {
      return fail_errno("extend the trial device");
    }
  }
  const auto target = directory + "/mnt";
  (void)unmount_image(target, kTrialTimeout);  // of a worker that died in its trial
  RUNNEL_DO(mount_image({.way = way,
                         .metadata_path = directory + "/metadata",
                         .device_paths = {directory + "/device"},
                         .target = target},
                        kTrialTimeout));
  if (way == Way::kErofsLoop &&
      ::truncate((directory + "/device").c_str(), kPresentBlocks * erofs::kBlockSize) != 0) {
    (void)unmount_image(target, kTrialTimeout);
    return fail_errno("cut the trial device");
  }
  auto outcome = check_reads(target);
  if (auto unmounted = unmount_image(target, kTrialTimeout); outcome && !unmounted) {
    outcome = unmounted;
  }
  return outcome;
}

}  // namespace

std::vector<ProbeResult> probe_ways(const std::string& directory) {
  std::vector<ProbeResult> results;
  for (const Way way : {Way::kErofsFile, Way::kErofsLoop}) {
    const auto scratch = fmt::format("{}/{}", directory, to_string(way));
    const auto outcome = try_way(way, scratch);
    results.push_back({.way = way,
                       .ok = outcome.has_value(),
                       .reason = outcome ? "works: what is missing on a device gives EIO"
                                         : outcome.error().message});
  }
  return results;
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
