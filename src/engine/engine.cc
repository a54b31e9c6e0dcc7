#include "engine/engine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <set>

#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/processors.h"
#include "base/quote.h"
#include "engine/mounter.h"
#include "engine/node_table.h"
#include "engine/pulse.h"
#include "engine/short_memory.h"

namespace runnel::engine {

namespace {

constexpr uint64_t kMaxRecord = 1 << 20;
constexpr auto kUnmountTimeout = std::chrono::seconds(2);
constexpr std::string_view kRecordSuffix = ".json";
constexpr uint64_t kMaxCounterFile = 32;

// The name of our FUSE connection, as mountinfo has it. Not stat(2): this process serves it.
Result<std::string> connection_of(const std::string& devices) {
  RUNNEL_TRY(const auto mounts, mounts_below(devices));
  for (const auto& mount : mounts) {
    if (mount.target == devices) return mount.device;
  }
  return fail(Code::kUnavailable, "{} is not mounted: is this the holder's worker?", devices);
}

constexpr mode_t kRootOnly = 0700;

// ROOT/mounts. What stands below it is an image as it is, set-user-ID programs included, for
// containers: root mounts their overlays, and nobody else has to pass here. The directory may be
// there with any mode.
Result<void> make_mounts_directory(const std::string& path) {
  RUNNEL_DO(make_directories(path, kRootOnly));
  if (::chmod(path.c_str(), kRootOnly) != 0) return fail_errno("chmod {}", path);
  return {};
}

// A name becomes a directory below ROOT/mounts.
Result<void> check_name(const std::string& name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  if (!name.empty() && name.size() <= 200 &&
      name.find_first_not_of(kAllowed) == std::string::npos) {
    return {};
  }
  return fail(Code::kInvalid, "a mount cannot be named {}", quote(name));
}

// All processors, where there are a few, decompress and verify what comes; more than these the line
// does not keep at work. What waits to be written is memory.
cache::Cache::Options cache_options(const Engine::Options& options) {
  cache::Cache::Options out;
  out.background_fill = options.background_fill;
  out.read_ahead = options.read_ahead;
  out.limits = options.cache_limits;
  out.scrub = options.scrub;
  out.verify_threads = std::clamp<size_t>(usable_processors(), 2, 8);
  if (is_short(memory_of_this_machine())) out.write_behind.most_bytes = 0;
  return out;
}

Result<MountRecord> read_record(const std::string& path) {
  RUNNEL_TRY(const auto bytes, read_file(path, kMaxRecord));
  auto record = parse_mount_record(bytes);
  if (!record) return std::unexpected(record.error().in(path));
  return record;
}

}  // namespace

struct Engine::MountRecords {
  std::map<std::string, MountRecord> known;  // by the mount's name
  std::map<std::string, Error> unknown;      // mounted, and its record cannot be read
};

Engine::Engine(Options options, const Clock& clock, std::string fuse_device,
               std::unique_ptr<cache::Cache> cache, std::unique_ptr<DeviceFs> devices,
               std::vector<ProbeResult> probes, Way way, Trials trials)
    : options_(std::move(options)),
      clock_(clock),
      probes_(std::move(probes)),
      way_(way),
      trials_(std::move(trials)),
      fuse_device_(std::move(fuse_device)),
      cache_(std::move(cache)),
      devices_(std::move(devices)) {}

Engine::~Engine() {
  loops_tender_ = {};
  cache_->on_removed({});
}

Engine::Trials Engine::try_options(const Options& options, Way way) {
  const auto scratch = options.root + "/probe";
  const auto devices = options.root + "/devices";
  Trials trials;
  if (way == Way::kErofsLoop) {
    trials.parallel_loops = probe_parallel_loops(scratch, devices);
    if (!trials.parallel_loops->ok)
      log::warning("parallel_loops: not used: {}", trials.parallel_loops->reason);
  }
  if (way == Way::kErofsFile) trials.direct_devices = probe_direct_devices(scratch, devices);
  if (options.direct_io && way == Way::kErofsFile) {
    trials.direct_io = probe_direct_io(scratch);
    if (!trials.direct_io->ok) log::warning("direct_io: not used: {}", trials.direct_io->reason);
  }
  return trials;
}

Result<std::unique_ptr<Engine>> Engine::start(Options options, FuseChannel channel,
                                              const Clock& clock) {
  RUNNEL_DO(make_mounts_directory(options.root + "/mounts"));
  RUNNEL_TRY(auto connection, connection_of(options.root + "/devices"));
  RUNNEL_TRY(auto cache, cache::Cache::open(options.root, cache_options(options), clock));
  DeviceFs::Options fs_options;
  fs_options.threads = options.threads;
  fs_options.read_timeout = options.read_timeout;
  fs_options.recovery = options.recovery;
  RUNNEL_TRY(auto inherited, Pulse::inherited());
  fs_options.alive = [pulse = std::make_shared<Pulse>(std::move(inherited))] { pulse->beat(); };
  RUNNEL_TRY(auto devices, DeviceFs::start(std::move(channel), fs_options, clock));
  auto probes = probe_ways(options.root + "/probe", options.root + "/devices");
  RUNNEL_TRY(const Way way, choose_way(options.way, probes));
  auto trials = try_options(options, way);
  std::unique_ptr<Engine> engine(new Engine(std::move(options), clock, std::move(connection),
                                            std::move(cache), std::move(devices), std::move(probes),
                                            way, std::move(trials)));
  RUNNEL_TRY(auto records, engine->records());
  engine->pin_mounts(records);
  engine->remember_mounts(records);
  engine->set_senders();
  engine->cache_->on_removed(
      [at = engine->devices_.get()](const oci::Digest& digest,
                                    const std::shared_ptr<cache::Layer>& layer) {
        at->remove(digest, layer);
      });
  engine->cache_->begin();
  engine->serve_trees(records);
  if (way == Way::kErofsLoop || engine->has_loops()) {
    engine->loops_tender_ =
        std::jthread([at = engine.get()](const std::stop_token& stop) { at->tend_loops(stop); });
  }
  return engine;
}

// A loop device that an earlier version of the node made asks for one thing after another, and it
// is there as long as its mount.
void Engine::set_senders() {
  const std::lock_guard lock(mounted_mutex_);
  const bool old_loops = std::ranges::any_of(mounted_, [](const auto& each) {
    return !each.second.served.empty() && !each.second.parallel_loops;
  });
  if (way_ != Way::kErofsLoop) return devices_->set_senders(Senders::kReaders);
  const bool wait = old_loops || !uses_parallel_loops();
  devices_->set_senders(wait ? Senders::kWaitingLoops : Senders::kLoops);
}

// Mounts that an earlier worker made keep their layers.
void Engine::pin_mounts(const MountRecords& records) {
  for (const auto& [name, record] : records.known) cache_->pin(name, record.layers);
  for (const auto& [name, error] : records.unknown) {
    log::error(
        "{}: what is mounted there cannot be told, so nothing of the cache is deleted until "
        "it is unmounted: {}",
        target_of(name), error.message);
    cache_->pin_all(name);
  }
}

void Engine::remember_mounts(const MountRecords& records) {
  const std::lock_guard lock(mounted_mutex_);
  for (const auto& [name, record] : records.known) {
    if (is_served(record))
      mounted_.emplace(name, record);
    else
      unusable_.insert(name);
  }
  for (const auto& [name, error] : records.unknown) unusable_.insert(name);
}

// Whether the FUSE connection that it reads from, if it does, is this holder's.
bool Engine::is_served(const MountRecord& record) const {
  return record.fuse_device.empty() || record.fuse_device == fuse_device_;
}

// The trees that an earlier worker of this holder mounted: their readers wait for us. Their layers
// are added when the node has read its images.
void Engine::serve_trees(const MountRecords& records) {
  for (const auto& [name, record] : records.known) {
    if (record.tree == 0 || record.fuse_device != fuse_device_) continue;
    const auto served = serve_tree(record);
    if (!served) log::error("the tree of {} cannot be served: {}", name, served.error().message);
  }
}

Result<void> Engine::serve_tree(const MountRecord& record) {
  RUNNEL_TRY(auto tree, ImageTree::open(record.metadata, record.layers));
  devices_->add_tree(record.tree, std::move(tree));
  return {};
}

// ROOT/mounts/next-tree: numbers are never used again (node_table.h), whatever happens.
Result<uint32_t> Engine::next_tree_number() {
  const auto path = options_.root + "/mounts/next-tree";
  uint32_t number = 1;
  if (const auto text = read_file(path, kMaxCounterFile)) {
    const auto view = as_text(*text);
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
    if (error != std::errc() || number == 0) return fail(Code::kInvalid, "{} is no number", path);
  } else if (text.error().code != Code::kNotFound) {
    return std::unexpected(text.error());
  }
  if (number >= kMaxTreeNumber) return fail(Code::kExhausted, "{}: no number is left", path);
  RUNNEL_DO(replace_file(path, as_bytes(std::to_string(number + 1))));
  return number;
}

Result<std::shared_ptr<cache::Layer>> Engine::add_layer(
    const oci::Digest& digest, artifact::ChunkTable table,
    std::shared_ptr<fetch::RangeSource> source, const std::optional<cache::Original>& original) {
  RUNNEL_TRY(auto layer, cache_->layer(digest, std::move(table), std::move(source)));
  if (original) layer->add_original(*original);
  RUNNEL_DO(devices_->add(digest, layer));
  return layer;
}

std::shared_ptr<cache::Layer> Engine::layer(const oci::Digest& digest) const {
  return cache_->find(digest);
}

std::string Engine::target_of(const std::string& name) const {
  return fmt::format("{}/mounts/{}", options_.root, name);
}

std::string Engine::served_path(const oci::Digest& layer) const {
  return fmt::format("{}/devices/{}", options_.root, layer.hex());
}

std::string Engine::record_path(const std::string& name) const {
  return target_of(name) + std::string(kRecordSuffix);
}

Result<std::string> Engine::mount(const std::string& name, const std::string& metadata_path,
                                  const std::vector<oci::Digest>& layers, Existing existing) {
  RUNNEL_DO(check_name(name));
  // Somebody else's mount may take long, and a cache that is cleared meanwhile keeps what is
  // pinned. Again under the lock: another call for this name may have unpinned it.
  cache_->pin(name, layers);
  const std::lock_guard lock(mount_mutex_);
  cache_->pin(name, layers);
  auto target = mount_pinned(name, metadata_path, layers, existing);
  // What is mounted all the same, by an earlier call, still needs its layers.
  if (!target && !is_mount_point(target_of(name)).value_or(true)) cache_->unpin(name);
  return target;
}

Result<std::string> Engine::mount_pinned(const std::string& name, const std::string& metadata_path,
                                         const std::vector<oci::Digest>& layers,
                                         Existing existing) {
  MountRecord record;
  record.parallel_loops = uses_parallel_loops();
  std::vector<MountDevice> devices;
  for (const auto& digest : layers) {
    const auto layer = cache_->find(digest);
    // The cache was cleared after that. Nothing is wrong with the image: who adds it again can
    // mount.
    if (!layer) return fail(Code::kUnavailable, "layer {} is not open any more", digest);
    record.layers.push_back(digest);
    if (way_ == Way::kFuse) {
      record.fuse_device = fuse_device_;
      record.served.push_back(digest);
    } else if (layer->complete()) {
      devices.push_back({.path = layer->device_path()});
    } else {
      devices.push_back({.path = served_path(digest), .direct_loop = record.parallel_loops});
      record.fuse_device = fuse_device_;
      record.served.push_back(digest);
    }
  }
  RUNNEL_TRY(const bool reused, reuse(name, record, existing));
  const auto target = target_of(name);
  if (reused) return target;
  RUNNEL_DO(make_directories(target, kRootOnly, Survives::kProcessDeath));
  const bool directly = reads_directly(devices.size(), record.served.size());
  ImageMount wanted{.way = way_,
                    .metadata_path = metadata_path,
                    .devices = std::move(devices),
                    .tree_path = {},
                    .target = target,
                    .direct_io = directly};
  if (way_ == Way::kFuse) {
    RUNNEL_TRY(record.tree, next_tree_number());
    record.metadata = metadata_path;
    RUNNEL_DO(serve_tree(record));
    wanted.tree_path = fmt::format("{}/devices/{}", options_.root, tree_name(record.tree));
  }
  // After a power loss there is no mount for it to speak of.
  RUNNEL_DO(
      replace_file(record_path(name), as_bytes(to_json(record)), 0644, Survives::kProcessDeath));
  RUNNEL_TRY(record.loops, mount_image(wanted, options_.mount_timeout));
  if (!record.loops.empty()) keep_record(name, record);
  remember(name, record);
  return target;
}

bool Engine::has_mounted(const std::string& name) const {
  const std::lock_guard lock(mounted_mutex_);
  return mounted_.contains(name) || unusable_.contains(name);
}

std::optional<std::string> Engine::mounted_at(const std::string& name,
                                              const std::vector<oci::Digest>& layers) const {
  {
    const std::lock_guard lock(mounted_mutex_);
    const auto found = mounted_.find(name);
    if (found == mounted_.end()) return std::nullopt;
    const auto& record = found->second;
    if (!is_served(record) || record.layers != layers) return std::nullopt;
  }
  auto target = target_of(name);
  if (!is_mount_point(target).value_or(false)) return std::nullopt;
  return target;
}

void Engine::remember(const std::string& name, const MountRecord& record) {
  const std::lock_guard lock(mounted_mutex_);
  mounted_[name] = record;
  unusable_.erase(name);
}

Engine::ServedLayers Engine::served_layers() const {
  ServedLayers layers;
  const std::lock_guard lock(mounted_mutex_);
  for (const auto& [name, record] : mounted_) {
    for (const auto& layer : record.layers) layers.try_emplace(layer.to_string(), false);
    for (const auto& layer : record.served) layers[layer.to_string()] = true;
  }
  return layers;
}

// Whether the mount is there and alive. One whose FUSE connection died with an earlier holder, or
// of which nobody can say what it is, is taken away; who uses it keeps it, with what was pinned for
// it.
Result<bool> Engine::reuse(const std::string& name, const MountRecord& wanted, Existing existing) {
  const auto target = target_of(name);
  RUNNEL_TRY(const bool mounted, is_mount_point(target));
  if (!mounted) return false;
  const auto record = read_record(record_path(name));
  const bool alive = record && record->layers == wanted.layers && is_served(*record);
  const bool outlived =
      alive && existing == Existing::kIdle && wanted.served.empty() && !record->served.empty();
  if (outlived) {
    const auto gone = unmount_image(target, kUnmountTimeout, WhenBusy::kAnswer);
    if (gone) return false;
    if (gone.error().code != Code::kConflict) return std::unexpected(gone.error());
  }
  if (alive) {
    remember(name, *record);
    return true;
  }
  if (unmount_image(target, kUnmountTimeout, WhenBusy::kAnswer)) {
    pin_only(name, wanted.layers);
    return false;
  }
  log::warning("{}: {}; mounting it anew", target,
               record ? "its devices are gone with an earlier holder" : record.error().message);
  RUNNEL_DO(detach_image(target));
  return false;
}

// Without the rest, which was pinned because nobody could say what the mount before had. At no time
// is one of these not pinned.
void Engine::pin_only(const std::string& name, const std::vector<oci::Digest>& layers) {
  const auto meanwhile = name + " anew";
  cache_->pin(meanwhile, layers);
  cache_->unpin(name);
  cache_->pin(name, layers);
  cache_->unpin(meanwhile);
}

Result<void> Engine::unmount(const std::string& name, WhenBusy when_busy) {
  RUNNEL_DO(check_name(name));
  const std::lock_guard lock(mount_mutex_);
  const auto target = target_of(name);
  auto unmounted = unmount_image(target, kUnmountTimeout, when_busy);
  if (!unmounted && unmounted.error().code != Code::kNotFound) return unmounted;
  if (const auto record = read_record(record_path(name)); record && record->tree != 0) {
    devices_->remove_tree(record->tree);
  }
  // A mount that is there nevertheless, made by a child that was not waited for, needs its record.
  if (::rmdir(target.c_str()) == 0 || errno == ENOENT) ::unlink(record_path(name).c_str());
  cache_->unpin(name);
  {
    const std::lock_guard mounted(mounted_mutex_);
    mounted_.erase(name);
    unusable_.erase(name);
  }
  set_senders();
  return {};
}

// Of what is mounted.
Result<Engine::MountRecords> Engine::records() const {
  const auto directory = options_.root + "/mounts";
  RUNNEL_TRY(const auto mounts, mounts_below(directory));
  MountRecords found;
  for (const auto& mount : mounts) {
    if (mount.target == directory) continue;
    const auto name = mount.target.substr(directory.size() + 1);
    auto record = read_record(record_path(name));
    if (record)
      found.known.emplace(name, *std::move(record));
    else
      found.unknown.emplace(name, record.error());
  }
  return found;
}

Result<std::vector<std::shared_ptr<cache::Layer>>> Engine::mounted_layers() const {
  RUNNEL_TRY(const auto mounted, records());
  if (!mounted.unknown.empty()) return std::unexpected(mounted.unknown.begin()->second);
  std::set<oci::Digest> used;
  for (const auto& [name, record] : mounted.known)
    used.insert(record.layers.begin(), record.layers.end());
  std::vector<std::shared_ptr<cache::Layer>> layers;
  for (const auto& digest : used) {
    auto layer = cache_->find(digest);
    if (!layer) return fail(Code::kConflict, "layer {} is mounted and not known", digest);
    layers.push_back(std::move(layer));
  }
  return layers;
}

void Engine::release(const std::vector<oci::Digest>& layers) {
  cache_->release(layers);
}

Result<uint64_t> Engine::clear() {
  return cache_->clear();
}

// A mount does so with all of its devices or with none, and a plain file next to a served one is
// better read through its page cache: the file's own read-ahead goes on behind the end of a small
// file of the image, and what was written to it a moment ago is there.
bool Engine::reads_directly(size_t devices, size_t served) const {
  if (served == 0) return uses_direct_io();
  return served == devices && uses_direct_devices();
}

std::string Engine::direct_devices_reason() const {
  if (trials_.direct_devices) return trials_.direct_devices->reason;
  return fmt::format("{} has none: it is for {}", to_string(way_), to_string(Way::kErofsFile));
}

std::string Engine::direct_io_reason() const {
  if (trials_.direct_io) return trials_.direct_io->reason;
  if (!options_.direct_io) {
    return fmt::format("off: on by itself below {} GiB of memory only", kShortMemory >> 30);
  }
  return fmt::format("{} has none: it is for {}", to_string(way_), to_string(Way::kErofsFile));
}

Engine::Status Engine::status() const {
  Status status{.wanted = options_.way,
                .way = way_,
                .probes = probes_,
                .recovery = devices_->recovery(),
                .recovery_reason = devices_->recovery_reason(),
                .direct_io = uses_direct_io(),
                .direct_io_reason = direct_io_reason(),
                .parallel_loops = uses_parallel_loops(),
                .parallel_loops_reason = trials_.parallel_loops
                                             ? trials_.parallel_loops->reason
                                             : "for " + std::string(to_string(Way::kErofsLoop)),
                .direct_devices = uses_direct_devices(),
                .direct_devices_reason = direct_devices_reason(),
                .reads = devices_->counters(),
                .cache = cache_->totals(),
                .mounts = {}};
  const auto mounts = mounts_below(options_.root + "/mounts");
  if (!mounts) return status;
  for (const auto& mount : *mounts) {
    status.mounts.push_back(std::filesystem::path(mount.target).filename().string());
  }
  return status;
}

}  // namespace runnel::engine
