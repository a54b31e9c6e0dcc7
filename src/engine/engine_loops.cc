// Engine: mounts over loop devices leave this process once their layers are complete
// (docs/decisions/0030-loop-devices-move-to-plain-files.md).
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <system_error>

#include "base/durable.h"
#include "base/log.h"
#include "cache/fault.h"
#include "engine/engine.h"
#include "engine/loop_device.h"

namespace runnel::engine {

namespace {

constexpr auto kEvery = std::chrono::seconds(2);
// What could not be moved is not tried at each look.
constexpr auto kRest = std::chrono::minutes(1);
// A complete layer's reads come from this machine's disk.
constexpr auto kMoveTimeout = std::chrono::seconds(5);

Result<std::string> without_links(const std::string& path) {
  std::error_code error;
  auto found = std::filesystem::canonical(path, error);
  if (error) return std::unexpected(system_error(error.value(), fmt::format("look up {}", path)));
  return found.string();
}

}  // namespace

bool Engine::has_loops() const {
  const std::lock_guard lock(mounted_mutex_);
  return std::ranges::any_of(mounted_, [](const auto& each) { return !each.second.loops.empty(); });
}

void Engine::tend_loops(const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any timer;
  std::map<ServedLayer, SteadyTime> failed;
  while (!stop.stop_requested()) {
    timer.wait_for(lock, stop, kEvery, [] { return false; });
    std::erase_if(failed, [&](const auto& each) { return each.second + kRest <= clock_.now(); });
    for (const auto& served : complete_behind_loops()) {
      if (stop.stop_requested()) return;
      if (failed.contains(served)) continue;
      const auto moved = move_to_plain_file(served);
      if (moved) continue;
      failed.emplace(served, clock_.now());
      log::warning("layer {} is here, and its readers in {} need this process still: {}",
                   served.layer, served.mount, moved.error().message);
    }
  }
}

std::vector<Engine::ServedLayer> Engine::complete_behind_loops() const {
  std::vector<ServedLayer> found;
  {
    const std::lock_guard lock(mounted_mutex_);
    for (const auto& [name, record] : mounted_) {
      if (record.loops.empty()) continue;
      for (const auto& layer : std::set(record.served.begin(), record.served.end())) {
        ServedLayer& served = found.emplace_back(name, layer);
        for (size_t i = 0; i < record.layers.size(); ++i)
          if (record.layers[i] == layer) served.loops.push_back(record.loops[i]);
      }
    }
  }
  std::erase_if(found, [this](const auto& each) {
    const auto layer = cache_->find(each.layer);
    return !layer || !layer->complete();
  });
  return found;
}

// Of each loop device the kernel has to say that it reads the one file or the other; else nobody
// knows what is mounted there.
Result<void> Engine::move_to_plain_file(const ServedLayer& served) {
  const auto layer = cache_->find(served.layer);
  if (!layer || !layer->complete()) return {};  // the scrub may have found something meanwhile
  const auto from = served_path(served.layer);
  RUNNEL_TRY(const auto to, without_links(layer->device_path()));
  for (const auto& loop : served.loops) {
    RUNNEL_TRY(const auto file, file_behind(loop));
    if (file == to) continue;
    if (file != from) return fail(Code::kConflict, "{} reads {}, and not {}", loop, file, from);
    if (const int injected = cache::fault("move-loops"))
      return std::unexpected(system_error(injected, "LOOP_CHANGE_FD (injected)"));
    RUNNEL_DO(move_loop({.loop = loop, .from = from, .to = to, .direct = options_.direct_io},
                        kMoveTimeout));
    cache::fault("loops-moved");
  }
  record_as_plain(served);
  return {};
}

void Engine::record_as_plain(const ServedLayer& served) {
  const std::lock_guard lock(mount_mutex_);
  MountRecord record;
  {
    const std::lock_guard mounted(mounted_mutex_);
    const auto found = mounted_.find(served.mount);
    if (found == mounted_.end()) return;
    record = found->second;
  }
  const bool same = std::ranges::all_of(served.loops, [&](const auto& loop) {
    return std::ranges::find(record.loops, loop) != record.loops.end();
  });
  if (!same) return;  // it was unmounted, and mounted anew
  std::erase(record.served, served.layer);
  if (record.served.empty()) {
    record.fuse_device.clear();
    log::info("{} is read without this process from now on", target_of(served.mount));
  }
  keep_record(served.mount, record);
  remember(served.mount, record);
  set_senders();
}

// In the place of one that says less: without it the next worker serves what it need not.
void Engine::keep_record(const std::string& name, const MountRecord& record) const {
  const auto kept =
      replace_file(record_path(name), as_bytes(to_json(record)), 0644, Survives::kProcessDeath);
  if (!kept) log::warning("what is mounted is not written down anew: {}", kept.error().message);
}

}  // namespace runnel::engine
