#include "node/images.h"

#include <algorithm>

#include "base/log.h"
#include "node/left_mounts.h"
#include "oci/document.h"
#include "oci/image_config.h"
#include "oci/media_types.h"

namespace runnel::node {

namespace {

constexpr const char* kStopping = "the node stops";
constexpr auto kAccessTimeout = std::chrono::seconds(60);

using Kind = timeline::Span::Kind;

// Errors that another try may not have.
bool may_change(Reason reason) {
  return reason == Reason::kNoArtifact || reason == Reason::kSourceUnavailable ||
         reason == Reason::kDiskFull || reason == Reason::kCredentialsMissing;
}

std::vector<std::string> texts_of(const std::vector<oci::Digest>& digests) {
  std::vector<std::string> texts;
  texts.reserve(digests.size());
  for (const auto& digest : digests) texts.push_back(digest.to_string());
  return texts;
}

}  // namespace

Images::Images(Options options, ImageStore store, Registries& registries, engine::Engine& engine,
               const Clock& clock)
    : options_(std::move(options)),
      store_(std::move(store)),
      registries_(registries),
      engine_(engine),
      clock_(clock),
      lookups_(
          [this](const WantedImage& image) {
            return convert::find_artifacts(registries_.repository(image.host, image.repository),
                                           image.manifest);
          },
          clock_),
      early_boots_([this](const auto& image, const auto& hint,
                          bool known) { return begin_early(image, hint, known); },
                   clock_),
      letting_go_(
          clock_, options_.keep_unused, [this] { return unused(); },
          [this](const oci::Digest& manifest) { let_go({manifest}); }),
      idle_mounts_(clock_, options_.keep_unused,
                   [this](const std::string& name, engine::WhenBusy when_busy) {
                     return engine_.unmount(name, when_busy);
                   }) {}

Result<std::unique_ptr<Images>> Images::open(Options options, const std::string& root,
                                             const std::set<std::string>& held,
                                             Registries& registries, engine::Engine& engine,
                                             const Clock& clock) {
  RUNNEL_TRY(auto store, ImageStore::open(root));
  std::unique_ptr<Images> images(
      new Images(std::move(options), std::move(store), registries, engine, clock));
  RUNNEL_DO(images->restore(held));
  images->letting_go_.start();
  images->idle_mounts_.start();
  if (!images->lacking_.empty()) images->opening_rest_.start();
  engine.on_short_of_room([&idle = images->idle_mounts_] { return idle.unmount_idle(); });
  return images;
}

Result<void> Images::restore(const std::set<std::string>& held) {
  RUNNEL_TRY(auto loaded, store_.load_all());
  for (const auto& sentence : loaded.damaged) log::error("stored image is damaged: {}", sentence);
  held_ = held;
  auto attached = attach_held(std::move(loaded.images));
  for (const auto& stored : attached) needs_.add(texts_of(stored.chain_ids));
  std::vector<StreamedImage> unneeded;
  for (auto& stored : attached) {
    const auto chain_ids = texts_of(stored.chain_ids);
    const auto is_mounted = [&](size_t layers) {
      return engine_.has_mounted(mount_name(stored, layers));
    };
    if (needs_.needs(chain_ids, is_mounted)) {
      streams_again(std::move(stored));
      continue;
    }
    needs_.remove(chain_ids);
    if (auto removed = store_.remove(stored); !removed) log::error("{}", removed.error().message);
    unneeded.push_back(std::move(stored));
  }
  for (const auto& image : unneeded) release_layers(image);
  unmount_left(loaded.damaged_subjects);
  return {};
}

// Those of which a layer has a snapshot, with their layers open. What is wrong with one is no
// reason to let the readers of others wait: a layer that the disk does not give (it is full, or has
// a bad sector) is tried again, and so is one that was deleted to make room and is mounted nowhere.
std::vector<StreamedImage> Images::attach_held(std::vector<StreamedImage> stored) {
  std::vector<StreamedImage> attached;
  for (auto& image : stored) {
    const bool held = std::ranges::any_of(
        image.chain_ids, [&](const auto& id) { return held_.contains(id.to_string()); });
    if (!held) {
      if (auto removed = store_.remove(image); !removed) log::error("{}", removed.error().message);
      continue;
    }
    const auto layers = device_digests(image.boot, image.chain_ids.size());
    auto lacking = attach_each(image, {layers.begin(), layers.end()});
    const log::Fields about{{"image", image.name()}};
    if (lacking && lacking->error.code == Code::kInvalid) {
      log::error(about, "does not stream any more: {}", lacking->error.message);
      continue;
    }
    if (lacking) {
      log::error(about, "not all of its layers can be opened: {}", lacking->error.message);
      lacking_.emplace(image.subject, *std::move(lacking));
    }
    attached.push_back(std::move(image));
  }
  return attached;
}

// Opens what could not be opened at the start, and that alone: its images' other layers may have
// been deleted to make room, or are to be. Whether nothing is left to be opened.
bool Images::attach_rest() {
  std::vector<std::pair<std::shared_ptr<const StreamedImage>, std::set<oci::Digest>>> rest;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(lacking_, [&](const auto& each) {
      const auto found = images_.find(each.first);
      if (found == images_.end() || !found->second->streamed) return true;
      rest.emplace_back(found->second->streamed, each.second.layers);
      return false;
    });
  }
  for (const auto& [image, layers] : rest) {
    auto lacking = attach_each(*image, layers);
    if (!lacking) log::info(log::Fields{{"image", image->name()}}, "all of its layers are open");
    const std::lock_guard lock(mutex_);
    if (lacking)
      lacking_.insert_or_assign(image->subject, *std::move(lacking));
    else
      lacking_.erase(image->subject);
  }
  const std::lock_guard lock(mutex_);
  return lacking_.empty();
}

// In the place of what was known of its manifest.
void Images::put_locked(const std::shared_ptr<Image>& image) {
  auto& place = images_[image->subject];
  if (place) by_chain_.remove(place);
  place = image;
  by_chain_.add(image);
}

void Images::erase_locked(const oci::Digest& manifest) {
  const auto found = images_.find(manifest);
  if (found == images_.end()) return;
  by_chain_.remove(found->second);
  images_.erase(found);
}

// One that is counted in needs_.
void Images::streams_again(StreamedImage stored) {
  auto image = std::make_shared<Image>();
  image->host = stored.host;
  image->repository = stored.repository;
  image->subject = stored.subject;
  image->preparing = false;
  image->verdict = {.reason = Reason::kStreaming, .detail = {}};
  image->chain_ids = texts_of(stored.chain_ids);
  image->streamed = std::make_shared<const StreamedImage>(std::move(stored));
  pool_.submit([this, streamed = image->streamed] { check_access(*streamed); });
  trees_.add(image->streamed);
  put_locked(image);
}

// What cannot go now does later.
void Images::unmount_left(const std::set<std::string>& damaged) {
  KnownImages known{.subjects = {}, .damaged = damaged, .chain_ids = {}};
  for (const auto& [subject, image] : images_) {
    known.subjects.emplace(subject.hex());
    known.chain_ids.insert(image->chain_ids.begin(), image->chain_ids.end());
  }
  for (const auto& name : left_mounts(engine_.status().mounts, known, held_)) {
    log::info("{} was left mounted for no image", name);
    idle_mounts_.idle(name);
  }
  (void)idle_mounts_.unmount_idle();
}

// After a start: whether what is missing can be had at all is asked now, and not by the first
// container that misses it. One byte; the answer is noted by Registries.
void Images::check_access(const StreamedImage& image) {
  for (const size_t i : artifact::records_with_tables(image.boot.head.layers)) {
    const auto& record = image.boot.head.layers[i];
    const auto digest = oci::Digest::from_sha256(record.blob_digest);
    const auto layer = engine_.layer(digest);
    if (!layer || layer->complete()) continue;
    const auto source = registries_.source(image.host, image.repository, digest, record.blob_size);
    source->read(0, 1, fetch::Priority::kBackground,
                 std::chrono::steady_clock::now() + kAccessTimeout,
                 [source, name = image.name()](const Result<Buffer>& outcome) {
                   if (!outcome && outcome.error().code == Code::kDenied)
                     log::warning(log::Fields{{"image", name}},
                                  "is not complete, and the rest cannot be read: {}",
                                  outcome.error().message);
                 });
    return;
  }
}

// Nobody can say how long we may read it: all of it is fetched while we may.
void Images::hurry(const StreamedImage& image) {
  for (const auto& digest : device_digests(image.boot, image.chain_ids.size()))
    if (const auto layer = engine_.layer(digest)) layer->hurry();
}

// Before the manifest has come, so that two round trips are over when it has.
void Images::manifest_named(const mirror::NamedManifest& named) {
  if (!registries_.is_configured(named.host)) return;
  {
    const std::lock_guard lock(mutex_);
    if (images_.contains(named.digest)) return;
  }
  // A right that is for other images of the repository is not to be tried, and lost, on this one.
  registries_.saw_image(named.host, named.repository, named.digest);
  if (options_.log != nullptr) options_.log->expect(named.host + "/" + named.repository);
  const WantedImage image{
      .host = named.host, .repository = named.repository, .manifest = named.digest};
  lookups_.begin(image);
  if (named.boot) begin_boot_early(image, *named.boot);
}

void Images::manifest_seen(const mirror::SeenManifest& seen) {
  auto document = oci::parse_document(seen.bytes, seen.media_type);
  if (!document) return;
  if (const auto* index = std::get_if<oci::Index>(&*document)) {
    const auto next = convert::platform_manifest(*index);
    if (next) manifest_named({.host = seen.host, .repository = seen.repository, .digest = *next});
    return;
  }
  const auto* manifest = std::get_if<oci::Manifest>(&*document);
  if (manifest == nullptr || !oci::is_image_config_type(manifest->config.media_type)) return;
  // Any local process may send a request through the mirror, and any may listen on loopback.
  const auto name = fmt::format("{}/{}@{}", seen.host, seen.repository, seen.digest);
  if (!registries_.is_configured(seen.host)) return leave_alone(name, seen.host);

  registries_.saw_image(seen.host, seen.repository, seen.digest);
  engine_.credentials_changed();  // the request's may be the missing ones
  const std::lock_guard lock(mutex_);
  letting_go_.wanted(seen.digest);
  if (const auto found = images_.find(seen.digest); found != images_.end()) {
    const auto& image = found->second;
    const bool elsewhere = image->host != seen.host || image->repository != seen.repository;
    const bool old = clock_.now() - image->decided > options_.retry_after;
    // This request's credentials may be the missing ones; its snapshots may be gone.
    const bool changed = image->verdict.reason == Reason::kCredentialsMissing ||
                         image->verdict.reason == Reason::kAlreadyUnpacked;
    if (image->leaving) {
      image->wanted_again = true;
      image->manifest = *manifest;
      image->host = seen.host;
      image->repository = seen.repository;
      return;
    }
    const bool try_again = elsewhere || changed || (old && may_change(image->verdict.reason));
    if (image->preparing || image->streamed || !try_again) return;
  }
  const auto image = std::make_shared<Image>();
  image->host = seen.host;
  image->repository = seen.repository;
  image->subject = seen.digest;
  image->manifest = *manifest;
  put_locked(image);
  if (options_.log != nullptr) options_.log->begin(image->place());
  begin_locked(image, Prepare::kWhenOfUse);
  forget_old_verdicts_locked();
}

Verdict Images::prepare_now(const mirror::SeenManifest& seen, const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  const auto waited = waited_for_.insert(seen.digest);
  lock.unlock();
  manifest_seen(seen);
  lock.lock();
  auto verdict = wait_for_verdict(seen.digest, stop, lock);
  if (verdict.reason != Reason::kStreaming) waited_for_.erase(waited);
  return verdict;
}

Verdict Images::wait_for_verdict(const oci::Digest& manifest, const std::stop_token& stop,
                                 std::unique_lock<std::mutex>& lock) {
  const auto deadline = clock_.now() + options_.offer_timeout;
  bool asked_again = false;  // its verdict may be from before there was an artifact
  for (;;) {
    const auto found = images_.find(manifest);
    if (found == images_.end()) {
      return {.reason = Reason::kRegistryNotConfigured,
              .detail = "runnel node check-registry says more"};
    }
    const auto image = found->second;
    if (!image->preparing && (image->streamed || asked_again)) return image->verdict;
    if (!image->preparing) {
      asked_again = true;
      begin_locked(image, Prepare::kAlways);
    }
    if (stop.stop_requested()) return {.reason = Reason::kSourceUnavailable, .detail = kStopping};
    if (clock_.now() >= deadline) break;
    changed_.wait_for(lock, deadline - clock_.now());
  }
  return {.reason = Reason::kSourceUnavailable, .detail = "no verdict yet; try again"};
}

// A registry that nobody has told this node about is not contacted.
void Images::leave_alone(const std::string& reference, const std::string& host) {
  constexpr size_t kMost = 256;
  const auto refused = registries_.refused(host);
  const auto why = refused ? refused->message
                           : host +
                                 " is not in hosts_dir with this node's mirror, "
                                 "nor in node.toml";
  const std::lock_guard lock(mutex_);
  if (left_alone_.size() >= kMost) left_alone_.clear();
  const bool added =
      left_alone_
          .insert_or_assign(reference,
                            Verdict{.reason = Reason::kRegistryNotConfigured, .detail = why})
          .second;
  if (added)
    log::info(log::Fields{{"image", reference}, {"reason", "RegistryNotConfigured"}},
              "does not stream");
}

void Images::begin_stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

bool Images::is_stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Images::begin_locked(const std::shared_ptr<Image>& image, Prepare when) {
  image->preparing = true;
  image->began = clock_.now();
  pool_.submit([this, image, when] { prepare(image, when); });
}

void Images::prepare(const std::shared_ptr<Image>& image, Prepare when) {
  const StartLog::Step whole(options_.log, image->place(), Kind::kPreparation, "preparation");
  Reason if_denied = Reason::kCredentialsMissing;
  auto streamed = [&]() -> Result<Mounted> {
    if (is_stopping()) return fail(Code::kCancelled, kStopping);
    const auto repository = registries_.repository(image->host, image->repository);
    std::vector<oci::Digest> diff_ids;
    auto artifacts = lookups_.take(image->wanted());  // meanwhile
    RUNNEL_DO(read_config(image, repository, diff_ids));
    if (when == Prepare::kWhenOfUse && all_unpacked(*image)) {
      return fail(Code::kExists,
                  "all of its layers were unpacked before; runnel node repull makes it stream");
    }
    return stream(*image, diff_ids, std::move(artifacts), if_denied);
  }();
  early_boots_.give_up(image->wanted());
  Verdict verdict{.reason = Reason::kStreaming, .detail = {}};
  if (!streamed) {
    verdict = streamed.error().code == Code::kNotFound
                  ? Verdict{.reason = Reason::kNoArtifact, .detail = streamed.error().message}
                  : verdict_of(streamed.error());
    if (streamed.error().code == Code::kDenied) verdict.reason = if_denied;
    log::info(log::Fields{{"image", image->name()}, {"reason", to_string(verdict.reason)}},
              "does not stream: {}", verdict.detail);
  } else {
    log::info(log::Fields{{"image", image->name()}}, "streams");
  }
  const bool by_token = streamed && registries_.only_by_token(image->host, image->repository);
  if (by_token && registries_.cannot_renew(image->host, image->repository)) hurry(*streamed->image);
  const std::lock_guard lock(mutex_);
  image->only_by_token = by_token;
  image->preparing = false;
  image->verdict = std::move(verdict);
  image->decided = clock_.now();
  if (streamed) {
    trees_.add(streamed->image);
    image->streamed = std::move(streamed->image);
    needs_.add(image->chain_ids);
    image->boot_download = std::move(streamed->boot_download);
  }
  changed_.notify_all();
}

Result<void> Images::read_config(const std::shared_ptr<Image>& image,
                                 const remote::Repository& repository,
                                 std::vector<oci::Digest>& diff_ids) {
  RUNNEL_TRY(const auto bytes, repository.blob_bytes(image->manifest.config.digest,
                                                     oci::kMaxConfigBytes, options_.offer_timeout));
  RUNNEL_TRY(auto config, oci::parse_image_config(bytes));
  diff_ids = std::move(config.diff_ids);
  std::vector<std::string> chain_ids;
  for (const auto& id : oci::chain_ids(diff_ids)) chain_ids.push_back(id.to_string());
  const std::lock_guard lock(mutex_);
  by_chain_.remove(image);
  image->chain_ids = std::move(chain_ids);
  by_chain_.add(image);
  changed_.notify_all();
  return {};
}

// An image whose topmost snapshot was unpacked the ordinary way needs nothing of us.
bool Images::all_unpacked(const Image& image) const {
  if (!options_.is_unpacked || image.chain_ids.empty()) return false;
  const auto unpacked = options_.is_unpacked(image.chain_ids.back());
  if (!unpacked) log::warning("{}", unpacked.error().message);
  return unpacked && *unpacked;
}

}  // namespace runnel::node
