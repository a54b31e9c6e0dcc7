#include "node/logins.h"

#include <boost/json.hpp>

#include "base/durable.h"
#include "base/fd.h"
#include "remote/docker_auths.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

constexpr uint64_t kMaxFile = 4 << 20;
constexpr mode_t kRootOnly = 0600;

Result<json::object> read_logins(const std::string& path) {
  const auto bytes = read_file(path, kMaxFile);
  if (!bytes && bytes.error().code == Code::kNotFound) return json::object();
  if (!bytes) return std::unexpected(bytes.error());
  auto logins = remote::parse_docker_config(*bytes);
  if (!logins)
    return fail(Code::kInvalid, "{} is not a JSON object; remove it and log in again", path);
  return logins;
}

Result<void> write_logins(const std::string& path, const json::object& logins) {
  const auto text = json::serialize(logins);
  return replace_file(path, as_bytes(text), kRootOnly);
}

}  // namespace

Result<void> Logins::add(const std::string& host, const remote::Credential& credential) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto logins, read_logins(path_));
  remote::set_login(logins, host, credential);
  return write_logins(path_, logins);
}

Result<void> Logins::remove(const std::string& host) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(auto logins, read_logins(path_));
  if (!remote::erase_login(logins, host))
    return fail(Code::kNotFound, "this node has no login to {}", host);
  return write_logins(path_, logins);
}

}  // namespace runnel::node
