#include "registry/soft_delete_policy.h"

#include <boost/json.hpp>

#include "meta/stored_time.h"
#include "registry/token_store.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "policy";
constexpr std::string_view kName = "soft-delete";

std::string body_of(const SoftDeletePolicy& policy) {
  return json::serialize(
      json::object{{"enabled", policy.enabled},
                   {"days", std::chrono::duration_cast<std::chrono::days>(policy.kept).count()},
                   {"updated", meta::to_milliseconds(policy.updated.value_or(WallTime()))}});
}

// Written here: one that cannot be read was damaged, and nothing is forgotten by a guess.
Result<SoftDeletePolicy> policy_of(const meta::Document& document) {
  json::error_code failed;
  const auto value = json::parse(document.body, failed);
  const auto* object = value.if_object();
  const auto* enabled = object != nullptr ? object->if_contains("enabled") : nullptr;
  const auto* days = object != nullptr ? object->if_contains("days") : nullptr;
  const auto* updated = object != nullptr ? object->if_contains("updated") : nullptr;
  if (failed || enabled == nullptr || !enabled->is_bool() || days == nullptr || !days->is_int64() ||
      days->get_int64() < kMinSoftDeleteDays || days->get_int64() > kMaxSoftDeleteDays ||
      updated == nullptr || !updated->is_int64())
    return fail(Code::kUnavailable,
                "the soft-delete policy is damaged: set it anew with `runnel config soft-delete "
                "update --days N --status enabled`");
  return SoftDeletePolicy{.enabled = enabled->get_bool(),
                          .kept = std::chrono::days(days->get_int64()),
                          .updated = meta::from_milliseconds(updated->get_int64())};
}

}  // namespace

Result<SoftDeletePolicy> soft_delete_policy(meta::MetadataStore& metadata,
                                            const SoftDeletePolicy& configured) {
  RUNNEL_TRY(const auto document, metadata.document(kKind, kName));
  if (!document) return configured;
  return policy_of(*document);
}

Result<SoftDeletePolicy> change_soft_delete(meta::MetadataStore& metadata,
                                            const SoftDeletePolicy& configured,
                                            const SoftDeleteChange& change, WallTime now) {
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto document, metadata.document(kKind, kName));
    auto policy = configured;
    // A change of everything needs nothing of what is there, damaged or not.
    if (document && !(change.enabled && change.days)) {
      RUNNEL_TRY(policy, policy_of(*document));
    }
    policy.enabled = change.enabled.value_or(policy.enabled);
    if (change.days) policy.kept = *change.days;
    policy.updated = now;
    const auto put =
        metadata.put_document(kKind, kName, body_of(policy), document ? document->version : 0);
    if (put) return policy;
    if (put.error().code != Code::kConflict || attempt == kPutAttempts)
      return std::unexpected(put.error());
  }
}

}  // namespace runnel::registry
