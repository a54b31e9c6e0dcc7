#include "cli/soft_delete_config.h"

#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/report.h"
#include "cli/session.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

remote::ApiCall policy_call(const char* method) {
  remote::ApiCall call;
  call.method = method;
  call.path = "/runnel/v1/_config/soft-delete";
  call.what = "soft-delete policy";
  call.in_person = true;
  return call;
}

Outcome<void> show_policy(const SoftDeleteConfigOptions& options) {
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(const auto policy, session.call(policy_call("GET")));
  return show(options.api.output, policy);
}

// Only what gives up a way back asks: deletions that nobody can undo, or not for as long.
Outcome<void> confirm_loss(const SoftDeleteConfigOptions& options, const json::value& before) {
  const auto* object = before.if_object();
  const auto* days = object != nullptr ? object->if_contains("retentionDays") : nullptr;
  const bool shorter =
      options.days && days != nullptr && days->is_int64() && *options.days < days->get_int64();
  const bool off =
      options.status == "disabled" && object != nullptr && text_of(*object, "status") == "enabled";
  if (off)
    warn(
        "What was deleted before can still be restored until its time is over; what is deleted "
        "from now on cannot.");
  if (!shorter && !off) return {};
  return confirm(options.api.yes,
                 shorter ? "Deletions that are older than that cannot be undone any more. Are you "
                           "sure you want to continue?"
                         : "Are you sure you want to continue?");
}

Outcome<void> update_policy(const SoftDeleteConfigOptions& options) {
  if (!options.days && options.status.empty())
    return usage_error("nothing to change: say --days or --status");
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(const auto before, session.call(policy_call("GET")));
  RUNNEL_DO(confirm_loss(options, before));
  json::object body;
  if (options.days) body["retentionDays"] = *options.days;
  if (!options.status.empty()) body["status"] = options.status;
  auto call = policy_call("PATCH");
  call.body = json::serialize(body);
  RUNNEL_TRY(const auto policy, session.call(call));
  return show(options.api.output, policy);
}

}  // namespace

int soft_delete_config_show(const SoftDeleteConfigOptions& options) {
  return exit_code(show_policy(options));
}

int soft_delete_config_update(const SoftDeleteConfigOptions& options) {
  return exit_code(update_policy(options));
}

}  // namespace runnel::cli
