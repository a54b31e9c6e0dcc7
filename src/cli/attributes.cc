#include "cli/attributes.h"

#include <boost/json.hpp>

#include "cli/report.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

remote::ApiCall call_about(const AttributesTarget& target) {
  remote::ApiCall call;
  call.repository = target.repository;
  call.path = "/acr/v1/" + target.repository;
  if (target.digest) {
    call.path += "/_manifests/" + target.digest->to_string();
    call.what = "manifest " + target.digest->to_string();
  } else if (!target.tag.empty()) {
    call.path += "/_tags/" + target.tag;
    call.what = "tag " + target.tag;
  } else {
    call.what = "attributes";
  }
  return call;
}

Result<json::value> unwrapped(const AttributesTarget& target, Result<json::value> answer) {
  if (!answer) return answer;
  const char* member = target.digest ? "manifest" : "tag";
  auto* object = answer->if_object();
  auto* inner = object != nullptr ? object->if_contains(member) : nullptr;
  const bool whole = target.tag.empty() && !target.digest;
  return whole || inner == nullptr ? std::move(answer) : Result<json::value>(std::move(*inner));
}

}  // namespace

Result<json::value> read_attributes(const Session& session, const AttributesTarget& target) {
  auto call = call_about(target);
  call.scope = repository_scope(target.repository, "metadata_read");
  return unwrapped(target, session.call(call));
}

Outcome<json::value> change_attributes(const Session& session, const AttributesTarget& target,
                                       const AttributeChanges& changes) {
  json::object wanted;
  const auto add = [&](const char* name, std::optional<bool> value) {
    if (value) wanted[name] = *value;
  };
  add("deleteEnabled", changes.may_delete);
  add("listEnabled", changes.may_list);
  add("readEnabled", changes.may_read);
  add("writeEnabled", changes.may_write);
  if (wanted.empty())
    return usage_error(
        "nothing to change: say --delete-enabled, --list-enabled, --read-enabled or "
        "--write-enabled with true or false");
  auto call = call_about(target);
  call.method = "PATCH";
  call.scope = repository_scope(target.repository, "metadata_read,metadata_write");
  call.body = json::serialize(wanted);
  return unwrapped(target, session.call(call));
}

}  // namespace runnel::cli
