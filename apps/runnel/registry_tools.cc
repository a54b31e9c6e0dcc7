#include "registry_tools.h"

#include <unistd.h>

#include <boost/json.hpp>
#include <limits>
#include <thread>

#include "blob/directory_store.h"
#include "cli/report.h"
#include "meta/sqlite_store.h"
#include "registry/backup.h"
#include "registry/collector.h"
#include "registry/config.h"
#include "registry/dry_run.h"
#include "registry/fsck.h"
#include "registry/utc_time.h"

namespace runnel {

namespace json = boost::json;

namespace {

constexpr size_t kPage = 500;

struct Opened {
  registry::Config config;
  SystemClock clock;
  std::unique_ptr<blob::DirectoryStore> blobs;
  std::unique_ptr<meta::SqliteStore> metadata;
};

// A data directory that is there: these commands make none.
Result<std::unique_ptr<Opened>> open_data(const RegistryToolOptions& options) {
  auto opened = std::make_unique<Opened>();
  if (!options.config.empty()) {
    RUNNEL_TRY(opened->config, registry::load_config(options.config));
  }
  auto& data = opened->config.data;
  if (!options.data.empty()) data = options.data;
  const auto metadata = data + "/metadata.sqlite";
  for (const auto& path : {metadata, data + "/content/layout"})
    if (::access(path.c_str(), F_OK) != 0)
      return fail(Code::kNotFound,
                  "{} is no registry's data directory: there is no {} (--data DIR)", data, path);
  RUNNEL_TRY(opened->blobs, blob::DirectoryStore::open(data + "/content"));
  RUNNEL_TRY(opened->metadata, meta::SqliteStore::open(metadata, opened->clock));
  return opened;
}

// Opens the directory, works, and turns an error into the exit code.
template <class Work>
int with_data(const RegistryToolOptions& options, Work work) {
  const auto opened = open_data(options);
  if (!opened) return cli::report(opened.error());
  const Result<int> code = work(**opened);
  return code ? *code : cli::report(code.error());
}

Result<int> gc(Opened& opened, bool dry_run) {
  const auto lifetime = opened.config.unreferenced_lifetime;
  const auto undo_time = opened.config.soft_delete_days;
  registry::WouldCollect result;
  if (dry_run) {
    RUNNEL_TRY(result, registry::collect_dry(*opened.blobs, *opened.metadata, opened.clock,
                                             lifetime, undo_time));
    for (const auto& digest : result.blobs) fmt::print("{}\n", digest);
  } else {
    registry::Collector collector(*opened.blobs, *opened.metadata, opened.clock, lifetime,
                                  undo_time);
    RUNNEL_TRY(result.collected, collector.collect());
  }
  const auto& done = result.collected;
  fmt::print("{}: {} deletions forgotten, {} links and {} blobs removed, {}\n",
             dry_run ? "would be" : "done", done.deletions, done.links, done.blobs,
             cli::amount(done.bytes));
  return 0;
}

Result<int> check(Opened& opened, bool repair) {
  RUNNEL_TRY(const auto checked, registry::fsck(*opened.blobs, *opened.metadata, repair));
  bool open = false;
  for (const auto& finding : checked.findings) {
    fmt::print("{}{}\n", finding.repaired ? "repaired: " : "", finding.what);
    open = open || !finding.repaired;
  }
  fmt::print("{} manifests and {} blobs, {}: {} findings\n", checked.manifests, checked.blobs,
             cli::amount(checked.bytes), checked.findings.size());
  return open ? 1 : 0;
}

Result<int> print_usage(Opened& opened, bool as_json) {
  RUNNEL_TRY(const auto usage, opened.metadata->usage());
  if (as_json) {
    json::array list;
    for (const auto& each : usage.repositories)
      list.push_back(
          json::object{{"name", each.name}, {"logical", each.logical}, {"unique", each.unique}});
    const json::object all{{"logical", usage.logical},
                           {"stored", usage.stored},
                           {"shared", usage.shared},
                           {"repositories", std::move(list)}};
    fmt::print("{}\n", json::serialize(all));
    return 0;
  }
  for (const auto& each : usage.repositories)
    fmt::print("{:>12} {:>12}  {}\n", cli::amount(each.logical), cli::amount(each.unique),
               each.name);
  fmt::print("logical {}, stored {}, of which {} are shared (columns: all, its own)\n",
             cli::amount(usage.logical), cli::amount(usage.stored), cli::amount(usage.shared));
  return 0;
}

const char* kind_name(meta::Deletion::Kind kind) {
  switch (kind) {
    case meta::Deletion::Kind::kManifest: return "manifest";
    case meta::Deletion::Kind::kTag: return "tag";
    case meta::Deletion::Kind::kOverwrite: return "overwrite";
    case meta::Deletion::Kind::kRepository: return "repository";
  }
  return "";
}

void print(const meta::Deletion& deletion, WallTime expires, bool as_json) {
  const auto deleted = registry::to_utc_text(deletion.deleted);
  if (!as_json) {
    fmt::print("{:>6}  {}  {:<10}  {}  {}  {}\n", deletion.id, deleted, kind_name(deletion.kind),
               deletion.repository, deletion.digest, fmt::join(deletion.tags, " "));
    return;
  }
  const json::object object{{"id", deletion.id},
                            {"kind", kind_name(deletion.kind)},
                            {"repository", deletion.repository},
                            {"digest", deletion.digest.to_string()},
                            {"tags", json::array(deletion.tags.begin(), deletion.tags.end())},
                            {"deletedAt", deleted},
                            {"expiresAt", registry::to_utc_text(expires)}};
  fmt::print("{}\n", json::serialize(object));
}

Result<int> list_deleted(Opened& opened, const std::string& repository, bool as_json) {
  auto before = std::numeric_limits<int64_t>::max();
  RUNNEL_TRY(const auto policy,
             registry::soft_delete_policy(*opened.metadata, opened.config.soft_delete_policy()));
  while (true) {
    RUNNEL_TRY(const auto page, opened.metadata->deletions(repository, before, kPage));
    for (const auto& each : page) print(each, each.deleted + policy.kept, as_json);
    if (page.size() < kPage) return 0;
    before = page.back().id;
  }
}

std::unexpected<Error> no_deletion(int64_t id) {
  return fail(Code::kNotFound,
              "there is no deletion {}: `runnel registry deleted` lists those that can be undone",
              id);
}

Result<int> restore(Opened& opened, int64_t id) {
  RUNNEL_TRY(const auto restored, opened.metadata->restore(id));
  if (!restored) return no_deletion(id);
  fmt::print("restored {} manifests; tags: {}\n", restored->manifests,
             fmt::join(restored->tags, " "));
  if (!restored->kept_tags.empty())
    fmt::print("pushed again since, and left alone: {}\n", fmt::join(restored->kept_tags, " "));
  return 0;
}

// What forget() left of a large deletion. Rests as long as it works, so that a registry on the same
// data finds the database free.
Result<void> end_forgetting(meta::MetadataStore& metadata) {
  constexpr size_t kAtOnce = 200;
  while (true) {
    const auto begun = std::chrono::steady_clock::now();
    RUNNEL_TRY(const auto forgotten, metadata.forget_deletions(WallTime(), kAtOnce));
    if (!forgotten.more) return {};
    std::this_thread::sleep_for(std::chrono::steady_clock::now() - begun);
  }
}

}  // namespace

int registry_gc(const RegistryToolOptions& options) {
  if (options.config.empty()) {
    const cli::Outcome<int> wrong = cli::usage_error(
        "gc needs --config FILE, the registry's own: it says for how long deletions can be "
        "undone, and collecting by shorter times than those would lose them (a registry "
        "without a file has the defaults: write \"version = 1\" into one)");
    return cli::report(wrong.error());
  }
  return with_data(options, [&](Opened& opened) { return gc(opened, options.dry_run); });
}

int registry_fsck(const RegistryToolOptions& options) {
  return with_data(options, [&](Opened& opened) { return check(opened, options.repair); });
}

int registry_backup(const RegistryToolOptions& options) {
  return with_data(options, [&](Opened& opened) -> Result<int> {
    RUNNEL_TRY(const auto done, registry::back_up(opened.config.data, *opened.blobs,
                                                  *opened.metadata, opened.clock, options.to));
    for (const auto& blob : done.lost) fmt::print("not saved: {}\n", blob);
    fmt::print("{} blobs copied, {}\n", done.blobs, cli::amount(done.bytes));
    if (done.lost.empty()) return 0;
    return fail(Code::kUnavailable,
                "{} blobs could not be saved because the registry itself has lost them; everything "
                "else is in {}: push them again, then run the backup again",
                done.lost.size(), options.to);
  });
}

int registry_usage(const RegistryToolOptions& options) {
  return with_data(options, [&](Opened& opened) { return print_usage(opened, options.json); });
}

int registry_deleted(const RegistryToolOptions& options) {
  return with_data(options, [&](Opened& opened) {
    return list_deleted(opened, options.repository, options.json);
  });
}

int registry_restore(const RegistryToolOptions& options) {
  return with_data(options, [&](Opened& opened) { return restore(opened, options.id); });
}

int registry_purge(const RegistryToolOptions& options) {
  return with_data(options, [&](Opened& opened) -> Result<int> {
    RUNNEL_TRY(const bool existed, opened.metadata->forget(options.id));
    if (!existed) return no_deletion(options.id);
    RUNNEL_DO(end_forgetting(*opened.metadata));
    return 0;
  });
}

}  // namespace runnel
