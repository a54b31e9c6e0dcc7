#include "snapshot/snapshotter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/quote.h"
#include "snapshot/filter.h"
#include "snapshot/tree.h"

namespace runnel::snapshot {

namespace {

namespace fs = std::filesystem;

std::string label(const Labels& labels, const std::string& name) {
  const auto found = labels.find(name);
  return found == labels.end() ? std::string() : found->second;
}

constexpr const char* kMappedLower = "/lower";
constexpr std::string_view kSparePrefix = "spare-";

void discard(const std::string& path) {
  unmount_id_mapped(path + kMappedLower);
  const auto removed = remove_tree(path);
  if (!removed) log::warning("stays until the next cleanup: {}", removed.error().message);
}

// The error of something below, under a code that containerd does not take for an answer.
std::unexpected<Error> failed(Error error) {
  switch (error.code) {
    case Code::kNotFound:
    case Code::kExists:
    case Code::kConflict:
    case Code::kInvalid: error.code = Code::kUnavailable; break;
    default: break;
  }
  return std::unexpected(std::move(error));
}

// Whether overlayfs would read the path as it is.
Result<void> check_option_path(const std::string& path) {
  if (path.find_first_of(":,\\\"") == path.npos) return {};
  return fail(Code::kInvalid, "{} cannot be an overlayfs option: choose a path without : , \\ \"",
              quote(path));
}

// The chain ID that a committed snapshot shows, empty when its name does not say. containerd names
// it NAMESPACE/NUMBER/CHAIN-ID.
std::string chain_id_of(const Record& record) {
  if (record.streamed()) return record.chain_id;
  const auto& name = record.info.name;
  const auto slash = name.rfind('/');
  auto last = slash == name.npos ? name : name.substr(slash + 1);
  return last.starts_with("sha256:") ? last : std::string();
}

Result<void> check_parent(const Record& parent) {
  if (parent.info.kind == Kind::kCommitted) return {};
  return fail(Code::kInvalid, "parent {} is not committed", quote(parent.info.name));
}

// Whether containerd is about to unpack a layer into the snapshot: it says for which chain, or
// names the key so (NAMESPACE/NUMBER/extract-…).
bool is_unpacked_into(const std::string& key, const std::string& target) {
  const auto slash = key.rfind('/');
  return !target.empty() || std::string_view(key).substr(slash + 1).starts_with("extract-");
}

bool overlay_has_index() {
  return ::access("/sys/module/overlay/parameters/index", F_OK) == 0;
}

}  // namespace

class Snapshotter::NewDirectory {
 public:
  NewDirectory(Snapshotter& snapshotter, int64_t number)
      : number(number), snapshotter_(snapshotter) {
    const std::lock_guard lock(snapshotter_.new_mutex_);
    snapshotter_.new_directories_.insert(number);
  }
  ~NewDirectory() {
    const std::lock_guard lock(snapshotter_.new_mutex_);
    snapshotter_.new_directories_.erase(number);
  }
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  const int64_t number;

 private:
  Snapshotter& snapshotter_;
};

class Snapshotter::ChainLock {
 public:
  // For what has to be done: waits for as long as whoever has it takes, which Streaming bounds.
  ChainLock(Snapshotter& snapshotter, const std::string& chain_id)
      : ChainLock(snapshotter, chain_id, std::unique_lock(snapshotter.chains_mutex_)) {}

  // For what the caller can ask again: many that wait would take all of the service's threads.
  static Result<std::unique_ptr<ChainLock>> soon(Snapshotter& snapshotter,
                                                 const std::string& chain_id) {
    std::unique_lock lock(snapshotter.chains_mutex_);
    if (!snapshotter.chains_changed_.wait_for(lock, snapshotter.chain_patience_, [&] {
          return !snapshotter.busy_chains_.contains(chain_id);
        })) {
      return fail(Code::kUnavailable, "another call is about {} for too long: ask again", chain_id);
    }
    return std::unique_ptr<ChainLock>(new ChainLock(snapshotter, chain_id, std::move(lock)));
  }

  ~ChainLock() {
    const std::lock_guard lock(snapshotter_.chains_mutex_);
    snapshotter_.busy_chains_.erase(chain_id_);
    snapshotter_.chains_changed_.notify_all();
  }
  ChainLock(const ChainLock&) = delete;
  ChainLock& operator=(const ChainLock&) = delete;

 private:
  ChainLock(Snapshotter& snapshotter, const std::string& chain_id,
            std::unique_lock<std::mutex> lock)
      : snapshotter_(snapshotter), chain_id_(chain_id) {
    snapshotter_.chains_changed_.wait(
        lock, [this] { return !snapshotter_.busy_chains_.contains(chain_id_); });
    snapshotter_.busy_chains_.insert(chain_id_);
  }

  Snapshotter& snapshotter_;
  const std::string chain_id_;
};

Result<std::unique_ptr<Snapshotter>> Snapshotter::open(const std::string& root, Store& store,
                                                       Streaming& streaming,
                                                       Duration chain_patience) {
  RUNNEL_DO(check_option_path(root));
  const auto directory = root + "/s";
  RUNNEL_DO(make_directories(directory, 0700));
  RUNNEL_TRY(auto early_sync, EarlySync::open(directory));
  std::unique_ptr<Snapshotter> snapshotter(
      new Snapshotter(directory, store, streaming, std::move(early_sync), chain_patience));
  RUNNEL_DO(snapshotter->settle_spare_directories());
  RUNNEL_DO(snapshotter->cleanup());
  RUNNEL_DO(snapshotter->tell_what_is_idle());
  snapshotter->make_spare_directories();
  return snapshotter;
}

void Snapshotter::make_spare_directories() {
  spare_directories_.emplace(
      [this]() -> Result<int64_t> {
        const int64_t number = store_.next_number();
        const auto path = spare_path_of(number);
        if (auto made = make_directory(path); !made) return discard(path), failed(made.error());
        return number;
      },
      [this](int64_t number) { discard(spare_path_of(number)); });
}

// Those of an earlier process. A power failure may have brought back the name that a snapshot's
// directory had before the snapshot.
Result<void> Snapshotter::settle_spare_directories() {
  RUNNEL_TRY(const auto records, store_.list());
  std::set<int64_t> recorded;
  for (const auto& record : records) recorded.insert(record.number);
  RUNNEL_TRY(const auto spare, numbers_in_directory(kSparePrefix));
  for (const int64_t number : spare) {
    if (recorded.contains(number) && ::access(path_of(number).c_str(), F_OK) != 0) {
      RUNNEL_DO(durable_rename(spare_path_of(number), path_of(number)));
    } else {
      discard(spare_path_of(number));
    }
  }
  return {};
}

// An earlier process may have ended before it told, or before what it told had an effect.
Result<void> Snapshotter::tell_what_is_idle() {
  RUNNEL_TRY(const auto records, store_.list());
  std::map<std::string, const Record*> by_name;
  std::set<std::string> idle;
  for (const auto& record : records) {
    by_name[record.info.name] = &record;
    if (record.streamed()) idle.insert(record.chain_id);
  }
  for (const auto& record : records) {
    if (record.info.kind == Kind::kCommitted) continue;
    auto below = by_name.find(record.info.parent);
    while (below != by_name.end() && !below->second->streamed())
      below = by_name.find(below->second->info.parent);
    if (below != by_name.end()) idle.erase(below->second->chain_id);
  }
  for (const auto& chain_id : idle) streaming_.idle(chain_id);
  return {};
}

Result<std::vector<Mount>> Snapshotter::prepare(const std::string& key, const std::string& parent,
                                                const Labels& labels) {
  const auto target = label(labels, kTargetLabel);
  if (!target.empty()) {
    RUNNEL_TRY(const bool streamed, streams(target, parent, labels));
    if (streamed) return fail(Code::kExists, "target snapshot {} is streamed", quote(target));
  }
  return create(Kind::kActive, key, parent, labels);
}

Result<std::vector<Mount>> Snapshotter::view(const std::string& key, const std::string& parent,
                                             const Labels& labels) {
  return create(Kind::kView, key, parent, labels);
}

// Whether a streamed snapshot of the chain stands on that parent, now or from now on.
Result<bool> Snapshotter::streams(const std::string& target, const std::string& parent,
                                  const Labels& labels) {
  RUNNEL_TRY(const auto lock, ChainLock::soon(*this, target));
  RUNNEL_TRY(const auto existing, store_.find_streamed(target, parent));
  if (existing) return true;
  std::string parent_chain;
  if (!parent.empty()) {
    RUNNEL_TRY(const auto below, store_.get(parent));
    RUNNEL_DO(check_parent(below));
    parent_chain = chain_id_of(below);
  }
  const auto offered = streaming_.offer(target, parent_chain, labels);
  if (!offered && offered.error().code == Code::kCancelled)
    return fail(Code::kUnavailable, "{}: ask again", offered.error().message);
  if (!offered) log::warning("{} takes the ordinary way: {}", target, offered.error().message);
  if (!offered || !*offered) return false;

  // Another namespace may have the chain on another parent: names are unique, chains are not.
  auto created = store_.create_streamed(target, parent, target, labels);
  for (int other = 2; !created && created.error().code == Code::kExists; ++other) {
    created = store_.create_streamed(fmt::format("{}#{}", target, other), parent, target, labels);
  }
  if (!created) {
    forget_unless_held(target);
    return std::unexpected(created.error());
  }
  return true;
}

// Under the chain's lock. While nobody can say, it is kept.
void Snapshotter::forget_unless_held(const std::string& chain_id) {
  const auto held = store_.chain_is_held(chain_id);
  if (held && !*held) streaming_.forget(chain_id);
}

// Under the lock of the streamed chain that it stands on, so that nobody finds that chain idle and
// unmounts it before the record says that it is used.
Result<std::vector<Mount>> Snapshotter::create(Kind kind, const std::string& key,
                                               const std::string& parent, const Labels& labels) {
  RUNNEL_TRY(const auto mapping, id_mapping_of(labels));
  RUNNEL_TRY(const auto parents, committed_chain(parent));
  std::unique_ptr<ChainLock> lock;
  if (!parents.empty() && parents.back().streamed()) {
    RUNNEL_TRY(lock, ChainLock::soon(*this, parents.back().chain_id));
  }

  const bool has_directory = kind == Kind::kActive || parents.empty() || mapping;
  const auto spare = has_directory ? spare_directories_->take() : std::nullopt;
  const NewDirectory created(*this, spare ? *spare : store_.next_number());
  if (has_directory) {
    const auto path = path_of(created.number);
    auto made = spare && use_spare(*spare) ? Result<void>() : make_directory(path);
    if (made && !parents.empty()) made = give_owner(path + "/fs", parents[0], mapping);
    if (!made) {
      discard(path_of(created.number));
      return failed(made.error());
    }
  }
  if (kind == Kind::kActive) {
    early_sync_->begin(created.number, is_unpacked_into(key, label(labels, kTargetLabel))
                                           ? EarlySync::Use::kUnpack
                                           : EarlySync::Use::kWrite);
  }
  const auto record = store_.create(created.number, kind, key, parent, labels);
  if (!record) {
    early_sync_->drop(created.number);
    if (has_directory) discard(path_of(created.number));
    return std::unexpected(record.error());
  }
  auto mounts = mounts_of(*record);
  if (mounts) return mounts;
  lock.reset();
  if (auto removed = remove(key); !removed) log::error("{}", removed.error().message);
  return mounts;
}

// `parent` and what shows with it, the uppermost first; nothing for no parent.
Result<std::vector<Record>> Snapshotter::committed_chain(const std::string& parent) const {
  if (parent.empty()) return std::vector<Record>();
  RUNNEL_TRY(auto parents, store_.chain(parent));
  RUNNEL_DO(check_parent(parents[0]));
  return parents;
}

Result<std::vector<Mount>> Snapshotter::mounts(const std::string& key) {
  RUNNEL_TRY(const auto record, store_.get(key));
  if (record.info.kind == Kind::kCommitted) {
    return fail(Code::kConflict, "snapshot {} is committed: it has no mounts", quote(key));
  }
  return mounts_of(record);
}

std::string Snapshotter::path_of(int64_t number) const {
  return fmt::format("{}/{}", directory_, number);
}

std::string Snapshotter::spare_path_of(int64_t number) const {
  return fmt::format("{}/{}{}", directory_, kSparePrefix, number);
}

// Not durably: settle_spare_directories() does it again when it was lost. False when somebody took
// the directory away.
bool Snapshotter::use_spare(int64_t number) {
  return ::rename(spare_path_of(number).c_str(), path_of(number).c_str()) == 0;
}

// The directories of a snapshot, durably: all of them first, then the syncs, of which a journalling
// file system does the work once.
Result<void> Snapshotter::make_directory(const std::string& own) {
  const auto content = own + "/fs";
  const auto work = own + "/work";
  if (::mkdir(own.c_str(), 0700) != 0) return fail_errno("mkdir {}", own);
  if (::mkdir(content.c_str(), 0755) != 0) return fail_errno("mkdir {}", content);
  if (::mkdir(work.c_str(), 0711) != 0) return fail_errno("mkdir {}", work);
  // Not left to the umask.
  if (::chmod(content.c_str(), 0755) != 0) return fail_errno("chmod {}", content);
  if (::chmod(work.c_str(), 0711) != 0) return fail_errno("chmod {}", work);
  RUNNEL_DO(sync_directory(content));
  RUNNEL_DO(sync_directory(own));
  return sync_directory(directory_);
}

// Durably, to a snapshot's content, the owner of its parent's root.
Result<void> Snapshotter::give_owner(const std::string& content, const Record& parent,
                                     const std::optional<IdMapping>& mapping) {
  RUNNEL_TRY(const auto below, content_of(parent));
  struct stat info;
  if (::stat(below.c_str(), &info) != 0) return fail_errno("stat {}", below);
  if (mapping) {
    info.st_uid = IdMapping::to_host(mapping->users, info.st_uid).value_or(info.st_uid);
    info.st_gid = IdMapping::to_host(mapping->groups, info.st_gid).value_or(info.st_gid);
  }
  struct stat own;
  if (::stat(content.c_str(), &own) != 0) return fail_errno("stat {}", content);
  if (own.st_uid == info.st_uid && own.st_gid == info.st_gid) return {};
  if (::lchown(content.c_str(), info.st_uid, info.st_gid) != 0)
    return fail_errno("chown {}", content);
  return sync_directory(content);
}

// The directory that shows the snapshot's tree, or its part of it.
Result<std::string> Snapshotter::content_of(const Record& record) {
  if (!record.streamed()) {
    auto path = path_of(record.number) + "/fs";
    struct stat info;
    if (::stat(path.c_str(), &info) == 0) return path;
    return fail_errno("the content of snapshot {} is lost: stat {}", quote(record.info.name), path);
  }
  RUNNEL_TRY(auto mounted, streaming_.mount(record.chain_id));
  RUNNEL_DO(check_option_path(mounted));
  return mounted;
}

// Uppermost first.
Result<std::vector<std::string>> Snapshotter::lower_directories(const Record& snapshot) {
  RUNNEL_TRY(const auto parents, committed_chain(snapshot.info.parent));
  std::vector<std::string> lower;
  for (const auto& record : parents) {
    RUNNEL_TRY(auto path, content_of(record));
    lower.push_back(std::move(path));
  }
  RUNNEL_DO(map_lower(snapshot, lower));
  return lower;
}

// Puts mapped mounts in the place of the directories, when the snapshot wants that.
Result<void> Snapshotter::map_lower(const Record& record, std::vector<std::string>& lower) {
  RUNNEL_TRY(const auto mapping, id_mapping_of(record.info.labels));
  if (!mapping) return {};
  for (size_t i = 0; i < lower.size(); ++i) {
    const auto target = fmt::format("{}{}/{}", path_of(record.number), kMappedLower, i);
    RUNNEL_DO(mount_id_mapped(lower[i], target, *mapping));
    lower[i] = target;
  }
  return {};
}

Result<std::vector<Mount>> Snapshotter::mounts_of(const Record& record) {
  const auto below = lower_directories(record);
  if (!below) return failed(below.error());
  const auto& lower = *below;
  const bool writable = record.info.kind == Kind::kActive;
  std::string own;
  if (writable || lower.empty()) {
    auto content = content_of(record);
    if (!content) return failed(content.error());
    own = *std::move(content);
  }
  if (lower.empty()) {
    return std::vector{
        Mount{.type = "bind", .source = own, .options = {writable ? "rw" : "ro", "rbind"}}};
  }
  if (!writable && lower.size() == 1) {
    return std::vector{Mount{.type = "bind", .source = lower[0], .options = {"ro", "rbind"}}};
  }
  Mount mount{.type = "overlay", .source = "overlay", .options = {}};
  if (overlay_has_index()) mount.options.emplace_back("index=off");
  if (writable) {
    mount.options.push_back("workdir=" + path_of(record.number) + "/work");
    mount.options.push_back("upperdir=" + own);
  }
  mount.options.push_back(fmt::format("lowerdir={}", fmt::join(lower, ":")));
  return std::vector{std::move(mount)};
}

Result<void> Snapshotter::commit(const std::string& key, const std::string& name,
                                 const Labels& labels) {
  RUNNEL_TRY(const auto record, store_.get(key));
  if (record.info.kind != Kind::kActive) {
    return fail(Code::kConflict, "snapshot {} is not active", quote(key));
  }
  const auto content = content_of(record);
  if (!content) return failed(content.error());
  const auto used = disk_usage(*content);
  if (!used) return failed(used.error());
  if (auto synced = early_sync_->finish(record.number); !synced) {
    return failed(synced.error().in(fmt::format("commit snapshot {}", quote(key))));
  }
  RUNNEL_DO(store_.commit(key, name, labels, *used));
  early_sync_->drop(record.number);
  release_chain_below(record.info.parent);
  return {};
}

Result<void> Snapshotter::remove(const std::string& name) {
  RUNNEL_TRY(const auto record, store_.remove(name));
  if (record.streamed()) {
    const ChainLock lock(*this, record.chain_id);
    RUNNEL_TRY(const bool held, store_.chain_is_held(record.chain_id));
    if (!held) streaming_.forget(record.chain_id);
    return {};
  }
  early_sync_->drop(record.number);
  discard(path_of(record.number));
  if (record.info.kind != Kind::kCommitted) release_chain_below(record.info.parent);
  return {};
}

// Tells Streaming when nobody uses the streamed chain that `parent` stands on any more.
void Snapshotter::release_chain_below(const std::string& parent) {
  if (parent.empty()) return;
  const auto chain = store_.chain(parent);
  if (!chain || !chain->back().streamed()) return;
  const auto& streamed = chain->back().chain_id;
  const ChainLock lock(*this, streamed);
  const auto used = store_.chain_is_used(streamed);
  if (used && !*used) streaming_.idle(streamed);
}

Result<Info> Snapshotter::stat(const std::string& name) const {
  RUNNEL_TRY(auto record, store_.get(name));
  return std::move(record.info);
}

Result<Info> Snapshotter::update(const Info& info, const std::vector<std::string>& fields) {
  const auto change = [&](Labels& labels) -> Result<void> {
    if (fields.empty()) labels = info.labels;
    for (const auto& field : fields) {
      constexpr std::string_view kPrefix = "labels.";
      if (field == "labels") {
        labels = info.labels;
      } else if (field.starts_with(kPrefix)) {
        const auto name = field.substr(kPrefix.size());
        labels[name] = label(info.labels, name);
      } else {
        return fail(Code::kInvalid, "a snapshot's field {} cannot be changed", quote(field));
      }
    }
    return {};
  };
  RUNNEL_TRY(auto changed, store_.change_labels(info.name, change));
  return std::move(changed.info);
}

Result<std::vector<Info>> Snapshotter::list(const std::vector<std::string>& filters) const {
  RUNNEL_TRY(const auto wanted, Filters::parse(filters));
  const auto parent = wanted.parent();
  RUNNEL_TRY(auto records, parent ? store_.children(*parent) : store_.list());
  std::vector<Info> infos;
  for (auto& record : records) {
    if (wanted.match(record.info)) infos.push_back(std::move(record.info));
  }
  return infos;
}

Result<Usage> Snapshotter::usage(const std::string& name) {
  RUNNEL_TRY(const auto record, store_.get(name));
  Result<Usage> used = record.usage;
  if (record.streamed()) used = streaming_.usage(record.chain_id);
  if (record.info.kind == Kind::kActive) used = disk_usage(path_of(record.number) + "/fs");
  if (!used) return failed(used.error());
  return used;
}

// The numbers of the directories that are named PREFIX and a number.
Result<std::set<int64_t>> Snapshotter::numbers_in_directory(std::string_view prefix) const {
  std::set<int64_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    auto name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    name.erase(0, prefix.size());
    int64_t number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (bad == std::errc() && end == name.data() + name.size()) found.insert(number);
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory_, error.message());
  return found;
}

// A directory is new, then has a record, then is nobody's. Looked at in this order (directories,
// new ones, records), one that is found without an owner never gets one.
Result<void> Snapshotter::cleanup() {
  RUNNEL_TRY(auto found, numbers_in_directory(""));
  {
    const std::lock_guard lock(new_mutex_);
    for (const int64_t number : new_directories_) found.erase(number);
  }
  RUNNEL_TRY(const auto records, store_.list());
  for (const auto& record : records) found.erase(record.number);
  for (const int64_t number : found) discard(path_of(number));
  return {};
}

}  // namespace runnel::snapshot
