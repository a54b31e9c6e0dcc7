// The functions of memory_metadata_store.h. Only that includes it.
#pragma once

#include <algorithm>
#include <limits>

#include "oci/media_types.h"

namespace runnel::test {

namespace in_memory {

using meta::Deletion;

struct Link {
  uint64_t size = 0;
  WallTime linked;
  bool hidden = false;
  bool review = true;
};

struct Manifest {
  int64_t id = 0;
  meta::StoredManifest stored;
  std::vector<oci::Digest> names;  // blobs and others
  std::optional<oci::Digest> subject;
  oci::Descriptor descriptor;
  int64_t deletion = 0;  // 0: it is there

  bool has(const oci::Digest& blob) const { return std::ranges::find(names, blob) != names.end(); }
  bool belongs_to(const oci::Digest& image) const {
    const auto& type = descriptor.artifact_type;
    return subject == image &&
           (type == oci::kStreamingArtifactHere || type == oci::kStreamingArtifactElsewhere);
  }
};

struct Repository {
  std::map<oci::Digest, Link> links;
  std::map<oci::Digest, Manifest> manifests;
  std::map<std::string, oci::Digest, std::less<>> tags;
  int64_t deletion = 0;
};

struct Deleted {
  Deletion::Kind kind;
  std::string repository;
  oci::Digest manifest;
  std::map<std::string, oci::Digest> tags;
  WallTime time;
};

using Key = std::pair<std::string, std::string>;

}  // namespace in_memory

struct MemoryMetadataStore::Data {
  std::mutex mutex;
  std::map<std::string, in_memory::Repository, std::less<>> repositories;
  std::map<int64_t, in_memory::Deleted> deletions;
  std::set<oci::Digest> unlinked;
  std::map<std::string, meta::Upload, std::less<>> uploads;
  std::map<in_memory::Key, meta::Document> documents;
  int64_t last_id = 0;

  in_memory::Repository* live(std::string_view name) {
    const auto found = repositories.find(name);
    return found == repositories.end() || found->second.deletion != 0 ? nullptr : &found->second;
  }
  in_memory::Repository& make(std::string_view name) {
    auto& made = repositories[std::string(name)];
    made.deletion = 0;
    return made;
  }
  in_memory::Manifest* live_manifest(std::string_view name, const oci::Digest& digest) {
    auto* repository = live(name);
    if (repository == nullptr) return nullptr;
    const auto found = repository->manifests.find(digest);
    const bool there = found != repository->manifests.end() && found->second.deletion == 0;
    return there ? &found->second : nullptr;
  }
  in_memory::Manifest* named(std::string_view name, const meta::ManifestName& target) {
    if (const auto* digest = std::get_if<oci::Digest>(&target)) return live_manifest(name, *digest);
    auto* repository = live(name);
    if (repository == nullptr) return nullptr;
    const auto tag = repository->tags.find(std::get<std::string>(target));
    return tag == repository->tags.end() ? nullptr : live_manifest(name, tag->second);
  }
  in_memory::Link* visible(std::string_view name, const oci::Digest& digest) {
    auto* repository = live(name);
    if (repository == nullptr) return nullptr;
    const auto found = repository->links.find(digest);
    return found == repository->links.end() || found->second.hidden ? nullptr : &found->second;
  }
  bool linked(const oci::Digest& digest) const {
    return std::ranges::any_of(
        repositories, [&](const auto& each) { return each.second.links.contains(digest); });
  }
  void link(std::string_view name, const oci::Digest& digest, uint64_t size, WallTime now) {
    make(name).links[digest] = {size, now, false, true};
  }
  void unlink(in_memory::Repository& repository, const oci::Digest& digest) {
    if (repository.links.erase(digest) != 0) unlinked.insert(digest);
  }

  // What the deletion took out of sight: tags go to it.
  void take(in_memory::Repository& repository, in_memory::Manifest& manifest, int64_t id) {
    manifest.deletion = id;
    std::erase_if(repository.tags, [&](const auto& tag) {
      if (tag.second != manifest.stored.info.digest) return false;
      deletions.at(id).tags.insert(tag);
      return true;
    });
  }
  void revive(in_memory::Repository& repository, in_memory::Manifest& manifest) {
    manifest.deletion = 0;
    for (const auto& blob : manifest.names)
      if (const auto found = repository.links.find(blob); found != repository.links.end())
        found->second.hidden = false;
  }
  // With the artifacts that went with it.
  void revive_image(in_memory::Repository& repository, in_memory::Manifest& image) {
    const auto id = image.deletion;
    for (auto& [digest, each] : repository.manifests)
      if (each.deletion == id && each.belongs_to(image.stored.info.digest))
        revive(repository, each);
    revive(repository, image);
    const auto found = deletions.find(id);
    const bool empty =
        found != deletions.end() && found->second.kind == meta::Deletion::Kind::kManifest &&
        found->second.tags.empty() &&
        std::ranges::none_of(repository.manifests,
                             [&](const auto& each) { return each.second.deletion == id; });
    if (empty) deletions.erase(found);
  }
  void point(const std::string& name, const std::string& tag, const oci::Digest& target,
             meta::Undo undo, WallTime now) {
    auto& tags = repositories.at(name).tags;
    const auto found = tags.find(tag);
    if (undo == meta::Undo::kPossible && found != tags.end() && found->second != target)
      deletions[++last_id] = {
          meta::Deletion::Kind::kOverwrite, name, found->second, {{tag, found->second}}, now};
    tags[tag] = target;
  }
  void forget(int64_t id) {
    const auto name = deletions.at(id).repository;
    auto& repository = repositories.at(name);
    std::erase_if(repository.manifests, [&](const auto& each) {
      if (each.second.deletion != id) return false;
      for (const auto& blob : each.second.names)
        if (const auto link = repository.links.find(blob); link != repository.links.end())
          link->second.review = true;
      std::erase_if(deletions, [&](const auto& other) {
        return other.first != id && other.second.repository == name &&
               other.second.manifest == each.first;
      });
      return true;
    });
    deletions.erase(id);
    if (repository.deletion != id) return;
    repository.deletion = newest_deletion(name);
    for (auto& [digest, link] : repository.links) link.review |= link.hidden;
    if (repository.deletion != 0) return;
    for (const auto& [digest, link] : repository.links) unlinked.insert(digest);
    repositories.erase(name);
  }
  static std::optional<oci::Digest> target_of(const in_memory::Repository& repository,
                                              std::string_view tag) {
    const auto found = repository.tags.find(tag);
    return found == repository.tags.end() ? std::nullopt : std::optional(found->second);
  }
  // How many documents there were.
  size_t remove(const std::vector<meta::DocumentPattern>& all) {
    size_t removed = 0;
    for (const auto& each : all)
      removed += std::erase_if(documents, [&](const auto& document) {
        const auto& [kind, name] = document.first;
        return kind == each.kind && name.starts_with(each.prefix) &&
               name.substr(each.prefix.size()).ends_with(each.suffix);
      });
    return removed;
  }
  int64_t newest_deletion(std::string_view name) const {
    int64_t newest = 0;
    for (const auto& [id, each] : deletions)
      if (each.repository == name) newest = id;
    return newest;
  }
};

inline std::shared_ptr<MemoryMetadataStore::Data> MemoryMetadataStore::new_data() {
  return std::make_shared<Data>();
}

inline std::unique_lock<std::mutex> MemoryMetadataStore::enter() {
  before_call_();
  return std::unique_lock(data_->mutex);
}

namespace in_memory {

// The first `limit` names after `after`, of those that `wanted` takes.
template <class Map, class Wanted>
std::vector<std::string> names_after(const Map& map, std::string_view after, size_t limit,
                                     Wanted wanted) {
  std::vector<std::string> found;
  for (auto at = map.upper_bound(after); at != map.end() && found.size() < limit; ++at)
    if (wanted(at->second)) found.push_back(at->first);
  return found;
}

}  // namespace in_memory

inline Result<bool> MemoryMetadataStore::repository_exists(Text name) {
  const auto lock = enter();
  return data_->live(name) != nullptr;
}

inline Result<std::vector<std::string>> MemoryMetadataStore::repositories(Text after,
                                                                          size_t limit) {
  const auto lock = enter();
  return in_memory::names_after(data_->repositories, after, limit,
                                [](const auto& each) { return each.deletion == 0; });
}

inline Result<std::optional<uint64_t>> MemoryMetadataStore::blob_size(Text repository,
                                                                      const Digest& digest) {
  const auto lock = enter();
  const auto* link = data_->visible(repository, digest);
  return link == nullptr ? std::nullopt : std::optional(link->size);
}

inline Result<std::optional<uint64_t>> MemoryMetadataStore::lease_blob(Text repository,
                                                                       const Digest& digest,
                                                                       Duration renew_after) {
  const auto lock = enter();
  auto* link = data_->visible(repository, digest);
  if (link == nullptr) return std::nullopt;
  if (link->linked < clock_.wall() - renew_after) link->linked = clock_.wall();
  return link->size;
}

inline Result<void> MemoryMetadataStore::link_blob(Text repository, const Digest& digest,
                                                   uint64_t size) {
  const auto lock = enter();
  data_->link(repository, digest, size, clock_.wall());
  return {};
}

inline Result<bool> MemoryMetadataStore::mount_blob(Text from, Text to, const Digest& digest) {
  const auto lock = enter();
  const auto* link = data_->visible(from, digest);
  if (link == nullptr) return false;
  data_->link(to, digest, link->size, clock_.wall());
  return true;
}

inline Result<std::vector<std::string>> MemoryMetadataStore::repositories_with_blob(
    const Digest& digest, size_t limit) {
  const auto lock = enter();
  std::vector<std::string> found;
  for (const auto& [name, repository] : data_->repositories)
    if (found.size() < limit && data_->visible(name, digest) != nullptr) found.push_back(name);
  return found;
}

inline Result<meta::UnlinkOutcome> MemoryMetadataStore::unlink_blob(Text repository,
                                                                    const Digest& digest) {
  const auto lock = enter();
  auto* link = data_->visible(repository, digest);
  if (link == nullptr) return meta::UnlinkOutcome::kAbsent;
  auto& all = *data_->live(repository);
  bool kept = false;
  for (const auto& [name, manifest] : all.manifests) {
    if (!manifest.has(digest)) continue;
    if (manifest.deletion == 0) return meta::UnlinkOutcome::kReferenced;
    kept = true;
  }
  if (kept)
    link->hidden = true;
  else
    data_->unlink(all, digest);
  return meta::UnlinkOutcome::kRemoved;
}

inline Result<meta::Reviewed> MemoryMetadataStore::unlink_unreferenced(WallTime before,
                                                                       size_t limit) {
  const auto lock = enter();
  meta::Reviewed reviewed;
  for (auto& [name, repository] : data_->repositories) {
    std::vector<Digest> loose;
    for (auto& [digest, link] : repository.links) {
      if (!link.review || link.linked >= before || reviewed.links == limit) continue;
      ++reviewed.links;
      const bool needed = std::ranges::any_of(
          repository.manifests, [&](const auto& each) { return each.second.has(digest); });
      if (needed)
        link.review = false;
      else
        loose.push_back(digest);
    }
    for (const auto& digest : loose) data_->unlink(repository, digest);
    reviewed.unlinked += loose.size();
  }
  return reviewed;
}

inline Result<std::vector<oci::Digest>> MemoryMetadataStore::unlinked_blobs(const Digest& after,
                                                                            size_t limit) {
  const auto lock = enter();
  std::vector<Digest> found;
  for (auto at = data_->unlinked.upper_bound(after);
       at != data_->unlinked.end() && found.size() < limit; ++at)
    found.push_back(*at);
  return found;
}

inline Result<bool> MemoryMetadataStore::is_linked(const Digest& digest) {
  const auto lock = enter();
  return data_->linked(digest);
}

inline Result<bool> MemoryMetadataStore::remove_if_unlinked(
    const Digest& digest, const std::function<Result<void>()>& remove) {
  const auto lock = enter();
  const bool linked = data_->linked(digest);
  if (!linked) RUNNEL_DO(remove());
  data_->unlinked.erase(digest);
  return !linked;
}

inline Result<meta::PutManifestOutcome> MemoryMetadataStore::put_manifest(
    Text repository, const meta::NewManifest& manifest) {
  const auto lock = enter();
  meta::PutManifestOutcome outcome;
  if (manifest.blobs_required)
    for (const auto& blob : manifest.blobs)
      if (data_->visible(repository, blob) == nullptr &&
          std::ranges::find(outcome.missing, blob) == outcome.missing.end())
        outcome.missing.push_back(blob);
  if (!outcome.missing.empty()) return outcome;
  auto& made = data_->make(repository);
  const auto [at, is_new] = made.manifests.try_emplace(manifest.digest);
  auto& stored = at->second;
  outcome.created = is_new || stored.deletion != 0;
  if (is_new) {
    stored.id = ++data_->last_id;
    stored.stored = {{manifest.digest, manifest.media_type, manifest.bytes.size()},
                     std::string(as_text(manifest.bytes))};
    stored.names = manifest.blobs;
    stored.names.insert(stored.names.end(), manifest.named.begin(), manifest.named.end());
    stored.subject = manifest.subject;
    stored.descriptor = manifest.descriptor;
  } else if (stored.deletion != 0) {
    data_->revive_image(made, stored);
  }
  stored.stored.bytes = as_text(manifest.bytes);
  stored.stored.info.size = manifest.bytes.size();
  for (const auto& tag : manifest.tags)
    data_->point(std::string(repository), tag, manifest.digest, manifest.undo, clock_.wall());
  data_->remove(manifest.replaces);
  for (const auto& each : manifest.documents)
    data_->documents[{each.kind, each.name}] = {each.name, each.body, ++data_->last_id};
  return outcome;
}

inline Result<bool> MemoryMetadataStore::point_waiting_tag(const meta::WaitingTag& waiting) {
  const auto lock = enter();
  const auto& [kind, name] = waiting.document;
  if (data_->documents.erase(in_memory::Key(kind, name)) == 0) return false;
  if (data_->live_manifest(waiting.repository, waiting.digest) == nullptr) return false;
  data_->point(waiting.repository, waiting.tag, waiting.digest, waiting.undo, clock_.wall());
  return true;
}

inline Result<std::optional<meta::ManifestInfo>> MemoryMetadataStore::manifest_info(
    Text repository, const meta::ManifestName& name) {
  const auto lock = enter();
  const auto* found = data_->named(repository, name);
  return found == nullptr ? std::nullopt : std::optional(found->stored.info);
}

inline Result<std::optional<meta::StoredManifest>> MemoryMetadataStore::manifest(
    Text repository, const meta::ManifestName& name) {
  const auto lock = enter();
  const auto* found = data_->named(repository, name);
  return found == nullptr ? std::nullopt : std::optional(found->stored);
}

inline Result<bool> MemoryMetadataStore::delete_manifest(
    Text repository, const Digest& digest, meta::Undo undo,
    const std::vector<meta::DocumentPattern>& waiting) {
  const auto lock = enter();
  auto* manifest = data_->live_manifest(repository, digest);
  if (manifest == nullptr) return false;
  auto& all = *data_->live(repository);
  const auto id = ++data_->last_id;
  data_->deletions[id] = {
      meta::Deletion::Kind::kManifest, std::string(repository), digest, {}, clock_.wall()};
  for (auto& [name, each] : all.manifests)
    if (each.deletion == 0 && (name == digest || each.belongs_to(digest)))
      data_->take(all, each, id);
  data_->remove(waiting);
  if (undo == meta::Undo::kNever) data_->forget(id);
  return true;
}

inline Result<std::vector<std::string>> MemoryMetadataStore::taken_with(Text repository,
                                                                        const Digest& digest) {
  const auto lock = enter();
  std::vector<std::string> found;
  const auto* all = data_->live(repository);
  if (all == nullptr) return found;
  for (const auto& [name, each] : all->manifests) {
    if (each.deletion != 0 || (name != digest && !each.belongs_to(digest))) continue;
    found.push_back(name.to_string());
    for (const auto& [tag, target] : all->tags)
      if (target == name) found.push_back(tag);
  }
  return found;
}

inline Result<bool> MemoryMetadataStore::delete_tag(
    Text repository, Text tag, meta::Undo undo, const std::vector<meta::DocumentPattern>& waiting) {
  const auto lock = enter();
  auto* all = data_->live(repository);
  if (all == nullptr) return false;
  const bool waited = data_->remove(waiting) != 0;
  const auto found = all->tags.find(tag);
  if (found == all->tags.end()) return waited;
  if (undo == meta::Undo::kPossible)
    data_->deletions[++data_->last_id] = {meta::Deletion::Kind::kTag,
                                          std::string(repository),
                                          found->second,
                                          {{found->first, found->second}},
                                          clock_.wall()};
  all->tags.erase(found);
  return true;
}

inline Result<bool> MemoryMetadataStore::delete_repository(
    Text name, meta::Undo undo, const std::vector<meta::DocumentPattern>& waiting) {
  const auto lock = enter();
  auto* all = data_->live(name);
  if (all == nullptr) return false;
  const auto id = ++data_->last_id;
  data_->deletions[id] = {
      meta::Deletion::Kind::kRepository, std::string(name), {}, {}, clock_.wall()};
  for (auto& [digest, each] : all->manifests)
    if (each.deletion == 0) data_->take(*all, each, id);
  for (auto& [digest, link] : all->links) link.hidden = true;
  all->deletion = id;
  data_->remove(waiting);
  if (undo == meta::Undo::kNever) data_->forget(id);
  return true;
}

namespace in_memory {

inline Deletion to_deletion(int64_t id, const Deleted& deleted) {
  Deletion made{.id = id,
                .kind = deleted.kind,
                .repository = deleted.repository,
                .digest = deleted.manifest,
                .tags = {},
                .deleted = std::chrono::floor<std::chrono::milliseconds>(deleted.time)};
  for (const auto& [tag, digest] : deleted.tags) made.tags.push_back(tag);
  return made;
}

}  // namespace in_memory

inline Result<std::vector<meta::Deletion>> MemoryMetadataStore::deletions(Text repository,
                                                                          int64_t before,
                                                                          size_t limit) {
  const auto lock = enter();
  std::vector<meta::Deletion> found;
  for (auto at = data_->deletions.rbegin(); at != data_->deletions.rend(); ++at)
    if (at->first < before && found.size() < limit &&
        (repository.empty() || repository == at->second.repository))
      found.push_back(in_memory::to_deletion(at->first, at->second));
  return found;
}

inline Result<std::optional<meta::Deletion>> MemoryMetadataStore::deletion(int64_t id) {
  const auto lock = enter();
  const auto found = data_->deletions.find(id);
  if (found == data_->deletions.end()) return std::nullopt;
  return in_memory::to_deletion(id, found->second);
}

inline Result<std::optional<meta::Restored>> MemoryMetadataStore::restore(
    int64_t id, const std::optional<meta::TagMove>& move) {
  const auto lock = enter();
  const auto found = data_->deletions.find(id);
  if (found == data_->deletions.end()) return std::nullopt;
  const auto deleted = found->second;
  auto& repository = data_->repositories.at(deleted.repository);
  if (move && deleted.manifest.empty())
    return fail(Code::kInvalid, "deletion {} is a repository's", id);
  if (move && data_->target_of(repository, move->tag) != move->from)
    return fail(Code::kConflict, "tag {} was moved meanwhile", move->tag);
  meta::Restored restored;
  for (auto& [digest, each] : repository.manifests) {
    if (each.deletion != id) continue;
    data_->revive(repository, each);
    ++restored.manifests;
  }
  const bool of_tag = deleted.kind == meta::Deletion::Kind::kTag ||
                      deleted.kind == meta::Deletion::Kind::kOverwrite;
  if ((of_tag || move) && repository.manifests.at(deleted.manifest).deletion != 0) {
    data_->revive_image(repository, repository.manifests.at(deleted.manifest));
    ++restored.manifests;
  }
  repository.deletion = 0;
  if (move) {
    data_->point(deleted.repository, move->tag, deleted.manifest, meta::Undo::kPossible,
                 clock_.wall());
    data_->remove(move->waiting);
  }
  for (const auto& [tag, target] : deleted.tags) {
    const auto manifest = repository.manifests.find(target);
    if (manifest == repository.manifests.end() || manifest->second.deletion != 0) continue;
    const auto now = repository.tags.find(tag);
    const bool newer = now != repository.tags.end() && now->second != target;
    if (newer && (!of_tag || move)) {
      restored.kept_tags.push_back(tag);
      continue;
    }
    data_->point(deleted.repository, tag, target, meta::Undo::kPossible, clock_.wall());
    restored.tags.push_back(tag);
  }
  if (move && std::ranges::find(restored.tags, move->tag) == restored.tags.end())
    restored.tags.push_back(move->tag);
  data_->deletions.erase(id);
  return restored;
}

inline Result<bool> MemoryMetadataStore::forget(int64_t id) {
  const auto lock = enter();
  if (!data_->deletions.contains(id)) return false;
  data_->forget(id);
  return true;
}

// One at a time, the whole of it.
inline Result<meta::Forgotten> MemoryMetadataStore::forget_deletions(WallTime before, size_t) {
  const auto lock = enter();
  std::vector<int64_t> old;
  for (const auto& [id, deleted] : data_->deletions)
    if (deleted.time < before) old.push_back(id);
  if (old.empty()) return meta::Forgotten();
  data_->forget(old.front());
  return meta::Forgotten{.deletions = 1, .more = old.size() > 1};
}

inline Result<std::vector<meta::ListedManifest>> MemoryMetadataStore::manifests(Text repository,
                                                                                const Digest& after,
                                                                                size_t limit) {
  const auto lock = enter();
  std::map<std::string, meta::ListedManifest> by_text;
  const auto* all = data_->live(repository);
  if (all == nullptr) return std::vector<meta::ListedManifest>();
  for (const auto& [digest, each] : all->manifests) {
    const auto text = digest.to_string();
    if (each.deletion != 0 || (!after.empty() && text <= after.to_string())) continue;
    auto& listed = by_text[text];
    listed.info = each.stored.info;
    for (const auto& [tag, target] : all->tags)
      if (target == digest) listed.tags.push_back(tag);
  }
  std::vector<meta::ListedManifest> found;
  for (auto& [text, listed] : by_text)
    if (found.size() < limit) found.push_back(std::move(listed));
  return found;
}

inline Result<std::optional<std::vector<std::string>>> MemoryMetadataStore::tags(Text repository,
                                                                                 Text after,
                                                                                 size_t limit) {
  const auto lock = enter();
  const auto* all = data_->live(repository);
  if (all == nullptr) return std::nullopt;
  return in_memory::names_after(all->tags, after, limit, [](const auto&) { return true; });
}

inline Result<void> MemoryMetadataStore::visit_referrers(Text repository, const Digest& subject,
                                                         const meta::ArtifactTypes& types,
                                                         int64_t before,
                                                         const meta::VisitReferrer& visit) {
  for (const auto& each : referrers_before(repository, subject, types, before)) {
    RUNNEL_TRY(const bool go_on, visit({each.position, each.digest.to_string(), each.descriptor}));
    if (!go_on) break;
  }
  return {};
}

// Copies, since the visitor may ask the store.
inline std::vector<meta::Referrer> MemoryMetadataStore::referrers_before(
    Text repository, const Digest& subject, const meta::ArtifactTypes& types, int64_t before) {
  const auto lock = enter();
  std::vector<meta::Referrer> found;
  const auto* all = data_->live(repository);
  if (all == nullptr) return found;
  for (const auto& [digest, each] : all->manifests) {
    const auto& type = each.descriptor.artifact_type;
    if (each.deletion != 0 || each.subject != subject || each.id >= before) continue;
    if (!types.empty() && std::ranges::find(types, type) == types.end()) continue;
    found.push_back({each.id, digest, oci::to_json(each.descriptor)});
  }
  std::ranges::sort(found, std::greater(), &meta::Referrer::position);
  return found;
}

inline Result<bool> MemoryMetadataStore::is_referrer(Text repository, const Digest& subject,
                                                     const Digest& digest) {
  const auto lock = enter();
  const auto* found = data_->live_manifest(repository, digest);
  return found != nullptr && found->subject == subject;
}

inline Result<bool> MemoryMetadataStore::names_blob(Text repository, const Digest& manifest,
                                                    const Digest& blob, size_t referrers) {
  auto naming = referrers_before(repository, manifest, {}, std::numeric_limits<int64_t>::max());
  const auto lock = enter();
  const auto* found = data_->live_manifest(repository, manifest);
  if (found == nullptr) return false;
  naming.resize(std::min(naming.size(), referrers));
  return found->has(blob) || std::ranges::any_of(naming, [&](const meta::Referrer& each) {
           const auto* referrer = data_->live_manifest(repository, each.digest);
           return referrer != nullptr && referrer->has(blob);
         });
}

inline Result<void> MemoryMetadataStore::create_upload(const meta::Upload& upload) {
  const auto lock = enter();
  if (data_->uploads.try_emplace(upload.id, upload).second) return {};
  return fail(Code::kConflict, "upload {} is there", upload.id);
}

inline Result<std::optional<meta::Upload>> MemoryMetadataStore::upload(Text repository, Text id) {
  const auto lock = enter();
  const auto found = data_->uploads.find(id);
  if (found == data_->uploads.end() || found->second.repository != repository) return std::nullopt;
  return found->second;
}

inline Result<void> MemoryMetadataStore::record_received(Text repository, Text id,
                                                         uint64_t received, WallTime expires) {
  const auto lock = enter();
  const auto found = data_->uploads.find(id);
  if (found == data_->uploads.end() || found->second.repository != repository)
    return fail(Code::kNotFound, "upload {} is gone", id);
  found->second.received = received;
  found->second.expires = expires;
  return {};
}

inline Result<void> MemoryMetadataStore::finish_upload(
    Text repository, Text id, const Digest& digest, uint64_t size,
    const std::function<Result<bool>()>& is_stored) {
  const auto lock = enter();
  const auto found = data_->uploads.find(id);
  if (found == data_->uploads.end() || found->second.repository != repository)
    return fail(Code::kNotFound, "upload {} is gone", id);
  RUNNEL_TRY(const bool stored, is_stored());
  if (!stored) return fail(Code::kUnavailable, "blob {} is gone", digest);
  data_->uploads.erase(found);
  data_->link(repository, digest, size, clock_.wall());
  return {};
}

inline Result<bool> MemoryMetadataStore::delete_upload(Text repository, Text id) {
  const auto lock = enter();
  const auto found = data_->uploads.find(id);
  if (found == data_->uploads.end() || found->second.repository != repository) return false;
  data_->uploads.erase(found);
  return true;
}

inline Result<bool> MemoryMetadataStore::upload_exists(Text id) {
  const auto lock = enter();
  return data_->uploads.contains(id);
}

inline Result<std::vector<meta::Upload>> MemoryMetadataStore::expired_uploads(WallTime now,
                                                                              size_t limit) {
  const auto lock = enter();
  std::vector<meta::Upload> found;
  for (const auto& [id, each] : data_->uploads)
    if (each.expires <= now && found.size() < limit) found.push_back(each);
  return found;
}

inline Result<std::optional<meta::Document>> MemoryMetadataStore::document(Text kind, Text name) {
  const auto lock = enter();
  const auto found = data_->documents.find(in_memory::Key(kind, name));
  if (found == data_->documents.end()) return std::nullopt;
  return found->second;
}

inline Result<std::vector<meta::Document>> MemoryMetadataStore::documents(Text kind, Text after,
                                                                          size_t limit) {
  const auto lock = enter();
  std::vector<meta::Document> found;
  for (const auto& [key, each] : data_->documents)
    if (key.first == kind && key.second > after && found.size() < limit) found.push_back(each);
  return found;
}

inline Result<int64_t> MemoryMetadataStore::put_document(Text kind, Text name, Text body,
                                                         int64_t version) {
  const auto lock = enter();
  const in_memory::Key key(kind, name);
  const auto found = data_->documents.find(key);
  if ((found == data_->documents.end() ? 0 : found->second.version) != version)
    return fail(Code::kConflict, "{} {} was changed meanwhile", kind, name);
  const auto made = ++data_->last_id;
  data_->documents[key] = {std::string(name), std::string(body), made};
  return made;
}

inline Result<bool> MemoryMetadataStore::delete_document(Text kind, Text name) {
  const auto lock = enter();
  return data_->documents.erase(in_memory::Key(kind, name)) != 0;
}

}  // namespace runnel::test
