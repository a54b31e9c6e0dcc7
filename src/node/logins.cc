#include "node/logins.h"

#include <boost/json.hpp>

#include "base/base64.h"
#include "base/durable.h"
#include "base/fd.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

constexpr uint64_t kMaxFile = 4 << 20;
constexpr mode_t kRootOnly = 0600;

Result<json::object> read_logins(const std::string& path) {
  const auto bytes = read_file(path, kMaxFile);
  if (!bytes && bytes.error().code == Code::kNotFound) return json::object();
  if (!bytes) return std::unexpected(bytes.error());
  boost::system::error_code broken;
  auto value = json::parse(std::string(as_text(*bytes)), broken);
  if (broken || !value.is_object())
    return fail(Code::kInvalid, "{} is not a JSON object; remove it and log in again", path);
  return std::move(value.get_object());
}

json::object& auths_of(json::object& logins) {
  auto& auths = logins["auths"];
  if (!auths.is_object()) auths = json::object();
  return auths.get_object();
}

Result<void> write_logins(const std::string& path, const json::object& logins) {
  const auto text = json::serialize(logins);
  return replace_file(path, as_bytes(text), kRootOnly);
}

}  // namespace

Result<void> Logins::add(const std::string& host, const remote::Credential& credential) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto logins, read_logins(path_));
  json::object entry;
  if (credential.kind == remote::Credential::Kind::kIdentityToken) {
    entry["identitytoken"] = credential.secret.reveal();
  } else {
    entry["auth"] = to_base64(credential.user + ":" + credential.secret.reveal());
  }
  auths_of(logins)[host] = std::move(entry);
  return write_logins(path_, logins);
}

Result<void> Logins::remove(const std::string& host) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto logins, read_logins(path_));
  if (auths_of(logins).erase(host) == 0)
    return fail(Code::kNotFound, "this node has no login to {}", host);
  return write_logins(path_, logins);
}

}  // namespace runnel::node
