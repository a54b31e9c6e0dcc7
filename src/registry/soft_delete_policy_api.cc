#include "registry/soft_delete_policy_api.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

json::object to_json(const SoftDeletePolicy& policy) {
  json::object out;
  out["lastUpdatedTime"] =
      policy.updated ? json::value(to_utc_text(*policy.updated)) : json::value(nullptr);
  out["retentionDays"] = std::chrono::duration_cast<std::chrono::days>(policy.kept).count();
  out["status"] = policy.enabled ? "enabled" : "disabled";
  return out;
}

std::expected<SoftDeleteChange, Refusal> change_of(const json::object& body) {
  SoftDeleteChange change;
  RUNNEL_TRY(const auto status, text_member(body, "status", ""));
  if (!status.empty() && status != "enabled" && status != "disabled")
    return refuse(400, "UNSUPPORTED", "\"status\" is \"enabled\" or \"disabled\"");
  if (!status.empty()) change.enabled = status == "enabled";
  if (const auto* days = body.if_contains("retentionDays")) {
    if (!days->is_int64() || days->get_int64() < kMinSoftDeleteDays ||
        days->get_int64() > kMaxSoftDeleteDays)
      return refuse(400, "UNSUPPORTED",
                    fmt::format("\"retentionDays\" is a number from {} to {}", kMinSoftDeleteDays,
                                kMaxSoftDeleteDays));
    change.days = std::chrono::days(days->get_int64());
  }
  if (!change.enabled && !change.days)
    return refuse(400, "UNSUPPORTED", "nothing to change: \"status\" or \"retentionDays\"");
  return change;
}

}  // namespace

Answer soft_delete_policy_call(Services& services, const ManagementCall& call) {
  if (call.name != "soft-delete")
    return refuse(404, "UNSUPPORTED",
                  fmt::format("there is no configuration {}", quote(call.name)));
  if (call.method == "GET") {
    RUNNEL_TRY(const auto policy, services.soft_delete());
    return management_answer(to_json(policy));
  }
  if (call.method != "PATCH") return not_here(call.method);
  RUNNEL_TRY(const auto change, change_of(*call.body));
  RUNNEL_TRY(const auto policy,
             change_soft_delete(services.metadata, services.config.soft_delete_policy(), change,
                                call.now));
  return management_answer(to_json(policy));
}

}  // namespace runnel::registry
