#include "snapshot/snapshotter.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/durable.h"
#include "base/log.h"
#include "base/quote.h"
#include "snapshot/disk_usage.h"
#include "snapshot/filter.h"

namespace runnel::snapshot {

namespace {

namespace fs = std::filesystem;

std::string label(const Labels& labels, const char* name) {
  const auto found = labels.find(name);
  return found == labels.end() ? std::string() : found->second;
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) log::warning("{} stays until the next cleanup: {}", path, error.message());
}

}  // namespace

class Snapshotter::ChainLock {
 public:
  ChainLock(Snapshotter& snapshotter, std::string chain_id)
      : snapshotter_(snapshotter), chain_id_(std::move(chain_id)) {
    std::unique_lock lock(snapshotter_.chains_mutex_);
    snapshotter_.chains_changed_.wait(
        lock, [this] { return !snapshotter_.busy_chains_.contains(chain_id_); });
    snapshotter_.busy_chains_.insert(chain_id_);
  }
  ~ChainLock() {
    const std::lock_guard lock(snapshotter_.chains_mutex_);
    snapshotter_.busy_chains_.erase(chain_id_);
    snapshotter_.chains_changed_.notify_all();
  }
  ChainLock(const ChainLock&) = delete;
  ChainLock& operator=(const ChainLock&) = delete;

 private:
  Snapshotter& snapshotter_;
  const std::string chain_id_;
};

Result<std::unique_ptr<Snapshotter>> Snapshotter::open(const std::string& root, Store& store,
                                                       Streaming& streaming) {
  const auto directory = root + "/s";
  RUNNEL_DO(make_directories(directory, 0700));
  std::unique_ptr<Snapshotter> snapshotter(new Snapshotter(directory, store, streaming));
  RUNNEL_DO(snapshotter->cleanup());
  return snapshotter;
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
  const ChainLock lock(*this, target);
  RUNNEL_TRY(const auto existing, store_.find_streamed(target, parent));
  if (existing) return true;
  std::string parent_chain;
  if (!parent.empty()) {
    RUNNEL_TRY(const auto record, store_.get(parent));
    parent_chain = record.chain_id;
  }
  const auto offered = streaming_.offer(target, parent_chain, labels);
  if (!offered) log::warning("{} takes the ordinary way: {}", target, offered.error().message);
  if (!offered || !*offered) return false;

  // Another namespace may have the chain on another parent: names are unique, chains are not.
  auto created = store_.create_streamed(target, parent, target, labels);
  for (int other = 2; !created && created.error().code == Code::kExists; ++other) {
    created = store_.create_streamed(fmt::format("{}#{}", target, other), parent, target, labels);
  }
  if (!created) return std::unexpected(created.error());
  return true;
}

Result<std::vector<Mount>> Snapshotter::create(Kind kind, const std::string& key,
                                               const std::string& parent, const Labels& labels) {
  RUNNEL_TRY(const auto record, store_.create(kind, key, parent, labels));
  auto mounts = mounts_of(record);
  if (mounts) return mounts;
  if (auto removed = store_.remove(key); !removed) log::error("{}", removed.error().message);
  remove_tree(path_of(record, ""));
  return mounts;
}

Result<std::vector<Mount>> Snapshotter::mounts(const std::string& key) {
  RUNNEL_TRY(const auto record, store_.get(key));
  if (record.info.kind == Kind::kCommitted) {
    return fail(Code::kConflict, "snapshot {} is committed: it has no mounts", quote(key));
  }
  return mounts_of(record);
}

std::string Snapshotter::path_of(const Record& record, const char* part) const {
  return fmt::format("{}/{}/{}", directory_, record.number, part);
}

// Makes the directories of an active snapshot, or of a view without a parent.
Result<void> Snapshotter::ensure_directory(const Record& record) {
  const auto content = path_of(record, "fs");
  struct stat info;
  if (::stat(content.c_str(), &info) == 0) return {};
  RUNNEL_DO(make_directories(path_of(record, "work"), 0711));
  RUNNEL_DO(make_directories(content, 0755));
  if (record.info.parent.empty()) return {};
  RUNNEL_TRY(const auto parent, store_.get(record.info.parent));
  if (parent.streamed()) return {};  // a streamed root belongs to 0:0, as a new directory does
  if (::stat(path_of(parent, "fs").c_str(), &info) != 0) return {};
  if (::lchown(content.c_str(), info.st_uid, info.st_gid) != 0)
    return fail_errno("chown {}", content);
  return {};
}

// Uppermost first.
Result<std::vector<std::string>> Snapshotter::lower_directories(const std::string& parent) {
  std::vector<std::string> lower;
  if (parent.empty()) return lower;
  RUNNEL_TRY(const auto chain, store_.chain(parent));
  for (const auto& record : chain) {
    if (record.streamed()) {
      RUNNEL_TRY(auto mounted, streaming_.mount(record.chain_id));
      lower.push_back(std::move(mounted));
      break;
    }
    lower.push_back(path_of(record, "fs"));
  }
  return lower;
}

Result<std::vector<Mount>> Snapshotter::mounts_of(const Record& record) {
  RUNNEL_TRY(const auto lower, lower_directories(record.info.parent));
  const bool writable = record.info.kind == Kind::kActive;
  if (writable || lower.empty()) RUNNEL_DO(ensure_directory(record));
  if (lower.empty()) {
    return std::vector{Mount{.type = "bind",
                             .source = path_of(record, "fs"),
                             .options = {writable ? "rw" : "ro", "rbind"}}};
  }
  if (!writable && lower.size() == 1) {
    return std::vector{Mount{.type = "bind", .source = lower[0], .options = {"ro", "rbind"}}};
  }
  Mount mount{.type = "overlay", .source = "overlay", .options = {"index=off"}};
  if (writable) {
    mount.options.push_back("workdir=" + path_of(record, "work"));
    mount.options.push_back("upperdir=" + path_of(record, "fs"));
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
  RUNNEL_DO(ensure_directory(record));
  RUNNEL_TRY(const auto used, disk_usage(path_of(record, "fs")));
  RUNNEL_DO(store_.commit(key, name, labels, used));
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
  remove_tree(path_of(record, ""));
  if (record.info.kind != Kind::kCommitted) release_chain_below(record.info.parent);
  return {};
}

// Tells Streaming when nobody uses the streamed chain that `parent` stands on any more.
void Snapshotter::release_chain_below(const std::string& parent) {
  if (parent.empty()) return;
  const auto chain = store_.chain(parent);
  if (!chain) return;
  const auto streamed = std::ranges::find_if(*chain, &Record::streamed);
  if (streamed == chain->end()) return;
  const ChainLock lock(*this, streamed->chain_id);
  const auto used = store_.chain_is_used(streamed->chain_id);
  if (used && !*used) streaming_.idle(streamed->chain_id);
}

Result<Info> Snapshotter::stat(const std::string& name) const {
  RUNNEL_TRY(auto record, store_.get(name));
  return std::move(record.info);
}

Result<Info> Snapshotter::update(const Info& info, const std::vector<std::string>& fields) {
  RUNNEL_TRY(const auto record, store_.get(info.name));
  Labels labels = record.info.labels;
  if (fields.empty()) labels = info.labels;
  for (const auto& field : fields) {
    constexpr std::string_view kPrefix = "labels.";
    if (field == "labels") {
      labels = info.labels;
    } else if (field.starts_with(kPrefix)) {
      const auto name = field.substr(kPrefix.size());
      const auto wanted = info.labels.find(name);
      if (wanted == info.labels.end()) {
        labels.erase(name);
      } else {
        labels[name] = wanted->second;
      }
    } else {
      return fail(Code::kInvalid, "a snapshot's field {} cannot be changed", quote(field));
    }
  }
  RUNNEL_TRY(auto changed, store_.set_labels(info.name, labels));
  return std::move(changed.info);
}

Result<std::vector<Info>> Snapshotter::list(const std::vector<std::string>& filters) const {
  RUNNEL_TRY(const auto wanted, Filters::parse(filters));
  RUNNEL_TRY(auto records, store_.list());
  std::vector<Info> infos;
  for (auto& record : records) {
    if (wanted.match(record.info)) infos.push_back(std::move(record.info));
  }
  return infos;
}

Result<Usage> Snapshotter::usage(const std::string& name) {
  RUNNEL_TRY(const auto record, store_.get(name));
  if (record.streamed()) return streaming_.usage(record.chain_id);
  if (record.info.kind == Kind::kActive) return disk_usage(path_of(record, "fs"));
  return record.usage;
}

// A record comes before its directory, so a directory that was seen before the records were read
// and has none is nobody's.
Result<void> Snapshotter::cleanup() {
  std::vector<int64_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    const auto name = entry.path().filename().string();
    int64_t number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (bad == std::errc() && end == name.data() + name.size()) found.push_back(number);
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory_, error.message());
  RUNNEL_TRY(const auto records, store_.list());
  for (const int64_t number : found) {
    if (std::ranges::find(records, number, &Record::number) != records.end()) continue;
    remove_tree(fmt::format("{}/{}", directory_, number));
  }
  return {};
}

}  // namespace runnel::snapshot
