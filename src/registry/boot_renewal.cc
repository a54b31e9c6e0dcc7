#include "registry/boot_renewal.h"

#include <algorithm>

#include "artifact/merged_profile.h"
#include "base/log.h"
#include "oci/document.h"
#include "registry/attributes.h"

namespace runnel::registry {

namespace {

// Each has a worker process; more would only share the processors.
constexpr int kAtOnce = 4;
constexpr auto kKeepOld = std::chrono::hours(24);
constexpr double kEnough = 0.1;
constexpr size_t kSweep = 100;
// Of what an earlier process left, that is found before it is made.
constexpr size_t kFoundAhead = 100;
constexpr auto kAskAgain = std::chrono::seconds(10);
constexpr std::string_view kSuperseded = "superseded-artifact";

// So that names are in the order of the times, until the year 2286.
std::string due_text(WallTime due) {
  const auto since = std::chrono::duration_cast<std::chrono::seconds>(due.time_since_epoch());
  return fmt::format("{:010}", since.count());
}

// Whether its subject has an artifact that is newer. One that this program cannot read is not
// asked.
Result<bool> is_replaced(meta::MetadataStore& metadata, const std::string& repository,
                         const oci::Digest& digest) {
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, digest));
  if (!stored) return true;
  const auto manifest = oci::parse_manifest(as_bytes(stored->bytes), stored->info.media_type);
  if (!manifest) return true;
  const auto old = artifact::parse_artifact(*manifest);
  if (!old) return true;
  const auto platform = oci::to_string(old->platform);
  RUNNEL_TRY(const auto artifacts, artifacts_of(metadata, repository, old->subject.digest));
  return std::ranges::any_of(artifacts, [&](const ImageArtifact& each) {
    return each.artifact.generation > old->generation &&
           oci::to_string(each.artifact.platform) == platform;
  });
}

Result<void> delete_superseded(meta::MetadataStore& metadata, const std::string& name) {
  const auto first = name.find(' ');
  const auto last = name.rfind(' ');
  const auto artifact = oci::Digest::parse(std::string_view(name).substr(last + 1));
  if (artifact && first < last) {
    const auto repository = name.substr(first + 1, last - first - 1);
    const Route route{
        .kind = Route::Kind::kManifest, .repository = repository, .target = artifact->to_string()};
    // Whoever locked it keeps it.
    const auto allowed = check_attributes(metadata, Attribute::kDelete, route);
    if (!allowed && allowed.error().status >= 500)
      return fail(Code::kUnavailable, "{}", allowed.error().message);
    RUNNEL_TRY(const bool replaced, is_replaced(metadata, repository, *artifact));
    if (allowed && replaced) {
      RUNNEL_TRY([[maybe_unused]] const bool was_there,
                 metadata.delete_manifest(repository, *artifact, meta::Undo::kNever));
    }
  }
  RUNNEL_TRY([[maybe_unused]] const bool existed, metadata.delete_document(kSuperseded, name));
  return {};
}

// Who votes may name any layers: what is said of others than the image's own is not kept, where it
// would count for the images that have them.
void keep_to(const artifact::Artifact& artifact, artifact::Profile& profile) {
  std::set<oci::Digest> blobs;
  for (const auto& layer : artifact.layers) blobs.insert(layer.blob);
  auto kept = within(profile, blobs);
  kept.image = std::move(profile.image);
  profile = std::move(kept);
}

}  // namespace

Result<std::optional<BootWanted>> wanted_boot(meta::MetadataStore& metadata,
                                              const std::string& repository,
                                              const oci::Digest& image) {
  RUNNEL_TRY(auto voted, count_votes(metadata, repository, image));
  if (voted.profile.chunks.empty()) return std::nullopt;
  RUNNEL_TRY(auto artifacts, artifacts_of(metadata, repository, image));
  const auto* found = newest_of(artifacts);
  // Another producer's layer blobs have other chunks: what nodes told fits none that we would make.
  if (found == nullptr || found->artifact.producer != artifact::producer()) return std::nullopt;
  auto newest = *found;
  keep_to(newest.artifact, voted.profile);
  if (voted.profile.chunks.empty()) return std::nullopt;
  RUNNEL_TRY(const auto before,
             boot_profile(metadata, repository, image, newest.artifact.generation));
  if (artifact::difference(before.profile, voted.profile) <= kEnough) return std::nullopt;
  return BootWanted{std::move(voted), std::move(artifacts), std::move(newest), before.at};
}

Convertible<void> renew_boot(const ConversionTools& tools, const std::string& repository,
                             const oci::Digest& image, BootWanted wanted, WallTime now,
                             const std::function<bool()>& give_up) {
  auto& metadata = tools.metadata;
  auto& [voted, artifacts, newest, newest_made] = wanted;
  const auto generation = newest.artifact.generation + 1;
  RUNNEL_TRY(auto source, read_conversion_source(metadata, tools.blobs, repository, image, {}));
  RUNNEL_TRY(const auto indexes, indexes_of(metadata, repository, image));
  const auto platform = oci::to_string(newest.artifact.platform);
  for (const auto& index : indexes) {
    source.indexes.push_back(descriptor_of(index));
    RUNNEL_TRY(auto of_index, artifacts_of(metadata, repository, index.digest));
    for (auto& each : of_index)
      if (oci::to_string(each.artifact.platform) == platform) artifacts.push_back(std::move(each));
  }
  ImageConversion conversion(
      tools, repository, std::move(source), {.progress = [](unsigned) {}, .give_up = give_up},
      {.generation = generation, .profile = artifact::to_json(voted.profile)});
  RUNNEL_DO(conversion.prepare());
  // Before it is there: neither counts without it, and whatever dies in between leaves nothing to
  // be done.
  RUNNEL_DO(note_boot_profile(metadata, repository, image, voted.profile, generation, now));
  for (const auto& old : artifacts) RUNNEL_DO(supersede(metadata, repository, old.digest, now));
  RUNNEL_TRY([[maybe_unused]] const auto done, conversion.publish());
  log::info("{}@{}: a boot blob of {} chunks that {} nodes told of, generation {}", repository,
            image, voted.profile.chunks.size(), voted.votes, generation);
  return {};
}

Result<void> supersede(meta::MetadataStore& metadata, const std::string& repository,
                       const oci::Digest& artifact, WallTime now) {
  const auto name = fmt::format("{} {} {}", due_text(now + kKeepOld), repository, artifact);
  RUNNEL_TRY(const auto before, metadata.document(kSuperseded, name));
  RUNNEL_TRY([[maybe_unused]] const auto version,
             metadata.put_document(kSuperseded, name, "{}", before ? before->version : 0));
  return {};
}

Result<size_t> remove_superseded(meta::MetadataStore& metadata, WallTime now) {
  RUNNEL_TRY(const auto listed, metadata.documents(kSuperseded, "", kSweep));
  const auto today = due_text(now);
  size_t removed = 0;
  for (const auto& each : listed) {
    if (each.name.substr(0, today.size()) > today) break;
    RUNNEL_DO(delete_superseded(metadata, each.name));
    ++removed;
  }
  return removed;
}

BootRenewal::BootRenewal(const ConversionTools& tools, const Clock& clock)
    : tools_(tools), clock_(clock) {
  for (int i = 0; i < kAtOnce; ++i)
    threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
  threads_.emplace_back([this](const std::stop_token& stop) { find_left_overs(stop); });
}

BootRenewal::~BootRenewal() {
  for (auto& thread : threads_) thread.request_stop();
}

void BootRenewal::voted(const std::string& repository, const oci::Digest& image) {
  const std::lock_guard lock(mutex_);
  schedule_.voted({repository, image}, clock_.now());
  wake_.notify_all();
}

void BootRenewal::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const auto now = clock_.now();
    const auto taken = schedule_.take(now);
    if (!taken) {
      const auto next = schedule_.next();
      // Another image's vote may be due before what is waited for.
      const auto changed = [&] { return schedule_.next() != next; };
      if (next)
        wake_.wait_for(lock, stop, *next - now, changed);
      else
        wake_.wait(lock, stop, changed);
      continue;
    }
    lock.unlock();
    const auto looked = renew(*taken, stop);
    lock.lock();
    schedule_.done(*taken, looked.made);
    if (looked.again) schedule_.voted(*taken, clock_.now());
    wake_.notify_all();  // it may have been voted for meanwhile
  }
}

BootRenewal::Looked BootRenewal::renew(const BootSchedule::Image& taken,
                                       const std::stop_token& stop) {
  const auto& [repository, image] = taken;
  const auto give_up = [&, until = clock_.now() + tools_.config.conversion.longest_renewal] {
    return stop.stop_requested() || clock_.now() >= until;
  };
  const auto renewed = [&]() -> Convertible<Looked> {
    RUNNEL_TRY(auto wanted, wanted_boot(tools_.metadata, repository, image));
    if (!wanted) return Looked();
    // By an earlier process, or by one beside this; whatever the time of day has done since.
    const auto now = clock_.wall();
    if (const auto made = wanted->newest_made; made && now - *made < kRenewalsApart)
      return Looked{.made = clock_.now() - std::max<Duration>(now - *made, {}), .again = true};
    RUNNEL_DO(renew_boot(tools_, repository, image, *std::move(wanted), now, give_up));
    return Looked{.made = clock_.now()};
  }();
  if (renewed) return *renewed;
  if (!renewed.error().given_up)
    log::warning("{}@{}: no new boot blob: {}: {}", repository, image, renewed.error().code,
                 renewed.error().message);
  else if (!stop.stop_requested())
    log::warning("{}@{}: no new boot blob: it took more than {} s", repository, image,
                 tools_.config.conversion.longest_renewal.count());
  return {};
}

void BootRenewal::find_left_overs(const std::stop_token& stop) {
  std::string after;
  std::unique_lock lock(mutex_, std::defer_lock);
  while (!stop.stop_requested()) {
    const auto next = next_voted(tools_.metadata, after);
    if (next && !*next) return;
    if (!next) {
      log::warning("looking for boot blobs that are still to be made: {}", next.error().message);
      lock.lock();
      wake_.wait_for(lock, stop, kAskAgain, [] { return false; });
      lock.unlock();
      continue;
    }
    const auto& [repository, image, end] = **next;
    after = end;
    // What cannot be looked at now is looked at again, and then the log says why it cannot.
    const auto wanted = wanted_boot(tools_.metadata, repository, image);
    if (wanted && !*wanted) continue;
    lock.lock();
    schedule_.left_over({repository, image}, clock_.now());
    wake_.notify_all();
    wake_.wait(lock, stop, [&] { return schedule_.left_overs() < kFoundAhead; });
    lock.unlock();
  }
}

}  // namespace runnel::registry
