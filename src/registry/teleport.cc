#include "registry/teleport.h"

namespace runnel::registry {

namespace {

constexpr std::string_view kKind = "teleport";
constexpr std::string_view kOn = "on";
constexpr std::string_view kOff = "off";
constexpr size_t kPage = 1000;
constexpr int kAttempts = 10;

// How many repositories have it on; counts no further than `enough`.
Result<size_t> count_enabled(meta::MetadataStore& metadata, size_t enough) {
  size_t count = 0;
  std::string after;
  while (true) {
    RUNNEL_TRY(const auto page, metadata.documents(kKind, after, kPage));
    for (const auto& each : page) {
      after = each.name;
      if (each.body == kOn && ++count >= enough) return count;
    }
    if (page.size() < kPage) return count;
  }
}

Result<void> put(meta::MetadataStore& metadata, std::string_view repository, bool to) {
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto before, metadata.document(kKind, repository));
    const auto put =
        metadata.put_document(kKind, repository, to ? kOn : kOff, before ? before->version : 0);
    if (put) return {};
    if (put.error().code != Code::kConflict || attempt == kAttempts)
      return std::unexpected(put.error());
  }
}

// False when there was no room. Of two that take the last place at once, both may find none.
Result<bool> enable(meta::MetadataStore& metadata, std::string_view repository, size_t most) {
  RUNNEL_TRY(const auto before, count_enabled(metadata, most));
  if (before >= most) return false;
  RUNNEL_DO(put(metadata, repository, true));
  RUNNEL_TRY(const auto after, count_enabled(metadata, most + 1));
  if (after <= most) return true;
  RUNNEL_DO(put(metadata, repository, false));
  return false;
}

}  // namespace

Result<std::optional<bool>> teleport_enabled(meta::MetadataStore& metadata,
                                             std::string_view repository) {
  RUNNEL_TRY(const auto document, metadata.document(kKind, repository));
  if (!document) return std::nullopt;
  return document->body == kOn;
}

std::expected<void, Refusal> set_teleport(meta::MetadataStore& metadata,
                                          std::string_view repository, bool to,
                                          const TeleportConfig& config) {
  RUNNEL_TRY(const auto before, teleport_enabled(metadata, repository));
  if (before == to) return {};
  if (!to) {
    RUNNEL_DO(put(metadata, repository, false));
    return {};
  }
  RUNNEL_TRY(const bool enabled, enable(metadata, repository, config.repositories));
  if (enabled) return {};
  return refuse(409, "CONFLICT",
                fmt::format("{} repositories have teleportEnabled, more may not ([teleport] "
                            "repositories): switch it off on another one",
                            config.repositories));
}

Result<bool> teleport_push(meta::MetadataStore& metadata, std::string_view repository,
                           const TeleportConfig& config) {
  RUNNEL_TRY(const auto enabled, teleport_enabled(metadata, repository));
  if (enabled.value_or(false)) return true;
  if (!config.enable_by_push) return false;
  return enable(metadata, repository, config.repositories);
}

}  // namespace runnel::registry
