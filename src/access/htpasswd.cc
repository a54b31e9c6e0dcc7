#include "access/htpasswd.h"

#include <crypt.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "access/secret.h"
#include "base/log.h"
#include "base/quote.h"

namespace runnel::access {

namespace {

constexpr size_t kMaxFileBytes = 16 << 20;
constexpr size_t kMaxPasswordBytes = 72;  // bcrypt looks at no more
constexpr size_t kBcryptBytes = 60;
constexpr auto kLookInterval = std::chrono::seconds(1);
constexpr auto kKnownFor = std::chrono::minutes(5);
constexpr size_t kMaxKnown = 10'000;
// A bcrypt of nothing, for names that are not there.
constexpr const char* kNobody = "$2y$10$.vGA1O9wmRjrwAVXD98HNOgsNpDczlqm3Jq7KnEd1rVAGv3Fykk1a";

bool is_bcrypt(std::string_view hash) {
  return hash.size() == kBcryptBytes &&
         (hash.starts_with("$2y$") || hash.starts_with("$2b$") || hash.starts_with("$2a$"));
}

bool has_password(const std::string& hash, std::string_view password) {
  crypt_data data{};
  const char* made = ::crypt_r(std::string(password).c_str(), hash.c_str(), &data);
  return made != nullptr && same_secret(made, hash);
}

}  // namespace

Result<std::map<std::string, std::string>> parse_htpasswd(std::string_view text,
                                                          std::string_view name) {
  std::map<std::string, std::string> hashes;
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    const auto colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos)
      return fail(Code::kInvalid, "{}:{}: a line is NAME:BCRYPT", name, number);
    const auto user = line.substr(0, colon);
    const auto hash = line.substr(colon + 1);
    if (!is_bcrypt(hash))
      return fail(Code::kInvalid,
                  "{}:{}: the password of {} is not hashed with bcrypt: set it with htpasswd -B",
                  name, number, quote(user));
    if (!hashes.emplace(user, hash).second)
      return fail(Code::kInvalid, "{}:{}: {} stands there twice", name, number, quote(user));
  }
  return hashes;
}

Result<std::unique_ptr<Htpasswd>> Htpasswd::open(const std::string& path, const Clock& clock) {
  std::unique_ptr<Htpasswd> made(new Htpasswd(path, clock));
  const std::lock_guard lock(made->mutex_);
  RUNNEL_TRY(made->read_, made->version());
  RUNNEL_DO(made->load_locked());
  made->looked_ = clock.now();
  return made;
}

bool Htpasswd::verify(const std::string& name, std::string_view password) {
  std::string hash = kNobody;
  bool exists = false;
  {
    const std::lock_guard lock(mutex_);
    reload_if_changed_locked();
    if (const auto found = hashes_.find(name); found != hashes_.end()) {
      hash = found->second;
      exists = true;
    }
  }
  const bool fits =
      password.size() <= kMaxPasswordBytes && password.find('\0') == std::string_view::npos;
  const bool right = has_password(hash, fits ? password : std::string_view("-"));
  if (!exists || !fits || !right) return false;
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_[name] = {.digest = digest(hash, password), .until = clock_.now() + kKnownFor};
  return true;
}

bool Htpasswd::known(const std::string& name, std::string_view password) {
  const std::lock_guard lock(mutex_);
  reload_if_changed_locked();
  const auto hash = hashes_.find(name);
  const auto found = known_.find(name);
  if (hash == hashes_.end() || found == known_.end()) return false;
  return clock_.now() < found->second.until &&
         same_secret(found->second.digest, digest(hash->second, password));
}

bool Htpasswd::has(const std::string& name) {
  const std::lock_guard lock(mutex_);
  reload_if_changed_locked();
  return hashes_.contains(name);
}

Result<Htpasswd::Version> Htpasswd::version() const {
  struct stat found{};
  if (::stat(path_.c_str(), &found) != 0) return fail_errno("read {}", path_);
  return Version{.inode = found.st_ino,
                 .modified_ns = found.st_mtim.tv_sec * 1'000'000'000 + found.st_mtim.tv_nsec,
                 .size = found.st_size};
}

Result<void> Htpasswd::load_locked() {
  std::ifstream file(path_, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(Code::kUnavailable, "{} cannot be read", path_);
  if (text.view().size() > kMaxFileBytes)
    return fail(Code::kExhausted, "{} is larger than {} bytes", path_, kMaxFileBytes);
  RUNNEL_TRY(hashes_, parse_htpasswd(text.view(), path_));
  return {};
}

void Htpasswd::reload_if_changed_locked() {
  const auto now = clock_.now();
  if (now < looked_ + kLookInterval) return;
  looked_ = now;
  const auto current = version();
  if (current && *current == read_) return;
  if (current) read_ = *current;
  const auto loaded = current ? load_locked() : Result<void>(std::unexpected(current.error()));
  if (!loaded) log::error("{}; the people of before still count", loaded.error().message);
}

std::string Htpasswd::digest(std::string_view hash, std::string_view password) {
  return hash_secret(fmt::format("{}\n{}", hash, password));
}

}  // namespace runnel::access
