#include "remote/shown_credentials.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <stdexcept>
#include <tuple>

#include "base/base64.h"

namespace runnel::remote {

namespace {

constexpr size_t kMostKnown = 4096;
constexpr size_t kMaxToken = 64 << 10;
constexpr uint64_t kMaxMemory = 64 << 20;

namespace json = boost::json;

json::array record_of(const std::string& host, const std::string& repository,
                      const Credential& credential) {
  const auto expires = credential.expires ? credential.expires->time_since_epoch().count() : 0;
  return {host,
          repository,
          credential.user,
          credential.secret.reveal(),
          static_cast<int64_t>(credential.kind),
          expires,
          json::array(credential.images.begin(), credential.images.end())};
}

// The other way round; throws when the record has another shape.
std::tuple<std::string, std::string, Credential> read_record(const json::array& fields) {
  const auto text = [&](size_t i) { return std::string(fields.at(i).as_string()); };
  const int64_t kind = fields.at(4).as_int64();
  if (kind < 0 || kind > static_cast<int64_t>(Credential::Kind::kBearer))
    throw std::out_of_range("a credential of an unknown kind");
  Credential credential{
      .user = text(2), .secret = Secret(text(3)), .kind = static_cast<Credential::Kind>(kind)};
  const int64_t expires = fields.at(5).as_int64();
  if (expires != 0) credential.expires = WallTime(WallTime::duration(expires));
  for (const auto& image : fields.at(6).as_array())
    credential.images.emplace_back(image.as_string());
  return {text(0), text(1), std::move(credential)};
}

bool is_same(const Credential& a, const Credential& b) {
  return a.kind == b.kind && a.user == b.user && a.secret == b.secret;
}

bool is_exchanged(const Credential& credential) {
  return credential.kind == Credential::Kind::kIdentityToken && !credential.images.empty();
}

}  // namespace

ShownCredentials::ShownCredentials(const Clock& clock, UniqueFd memory)
    : clock_(clock), memory_(std::move(memory)) {
  if (memory_) load();
}

// A process that died while it wrote leaves half a document, which is nothing.
void ShownCredentials::load() {
  const auto size = file_size(memory_.get());
  if (!size || *size > kMaxMemory) return;
  Buffer bytes(*size);
  if (!read_exact_at(memory_.get(), bytes, 0)) return;
  boost::system::error_code broken;
  const auto document = json::parse(as_text(bytes), broken);
  if (broken || !document.is_array()) return;
  try {
    for (const auto& record : document.get_array()) {
      auto [host, repository, credential] = read_record(record.as_array());
      const Place place(std::move(host), std::move(repository));
      auto& images = images_[place];
      images.assign(credential.images.begin(), credential.images.end());
      if (known_.emplace(place, std::move(credential)).second) order_.push_back(place);
    }
  } catch (const std::exception&) {  // of the wrong shape
    known_.clear();
    order_.clear();
    images_.clear();
  }
}

void ShownCredentials::save_locked() const {
  if (!memory_) return;
  json::array records;
  for (const auto& place : order_)
    records.push_back(record_of(place.first, place.second, known_.at(place)));
  const auto text = json::serialize(records);
  if (::ftruncate(memory_.get(), 0) != 0) return;
  // Without memory the next process knows less, and nothing else.
  (void)write_all_at(memory_.get(), as_bytes(text), 0);
}

void ShownCredentials::saw_image(const std::string& host, const std::string& repository,
                                 const std::string& digest) {
  const std::lock_guard lock(mutex_);
  if (images_.size() >= kMostKnown)
    std::erase_if(images_, [&](const auto& each) { return !known_.contains(each.first); });
  auto& images = images_[Place(host, repository)];
  std::erase(images, digest);
  images.push_back(digest);
  if (images.size() > kMostImages) images.pop_front();
}

void ShownCredentials::add_images_locked(const Place& place, Credential& credential) const {
  const auto found = images_.find(place);
  if (credential.kind != Credential::Kind::kBearer || found == images_.end()) return;
  credential.images.assign(found->second.begin(), found->second.end());
}

// Whether it is for all images of the repository that somebody pulled.
bool ShownCredentials::is_enough_locked(const Place& place, const Credential& credential) const {
  const auto found = images_.find(place);
  return !is_exchanged(credential) || found == images_.end() ||
         std::ranges::all_of(found->second, [&](const auto& image) {
           return std::ranges::find(credential.images, image) != credential.images.end();
         });
}

void ShownCredentials::show(std::string host, std::string repository, Credential credential) {
  Place place(std::move(host), std::move(repository));
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(place);
  if (found != known_.end()) {
    const auto& end = found->second.expires;
    const bool worse = credential.kind == Credential::Kind::kBearer &&
                       found->second.kind != Credential::Kind::kBearer &&
                       (!end || *end > clock_.wall());
    if (worse && is_exchanged(found->second)) bare_.insert_or_assign(place, credential);
    if (worse || is_same(found->second, credential)) return;
    bare_.erase(place);
    found->second = std::move(credential);
    return save_locked();
  }
  if (known_.size() >= kMostKnown) {
    known_.erase(order_.front());
    bare_.erase(order_.front());
    images_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(place);
  known_.emplace(std::move(place), std::move(credential));
  save_locked();
}

Result<std::optional<Credential>> ShownCredentials::find(std::string_view host,
                                                         std::string_view repository) {
  const Place place(host, repository);
  const std::lock_guard lock(mutex_);
  const auto lasts = [&](const Credential& credential) {
    return !credential.expires || *credential.expires > clock_.wall();
  };
  const auto found = known_.find(place);
  if (found == known_.end()) return std::nullopt;
  auto credential = found->second;
  const auto bare = bare_.find(place);
  const bool wider =
      bare != bare_.end() && lasts(bare->second) && !is_enough_locked(place, credential);
  if (wider) credential = bare->second;
  if (!lasts(credential)) return std::nullopt;
  add_images_locked(place, credential);
  return credential;
}

bool ShownCredentials::refused(std::string_view host, std::string_view repository,
                               const Credential& credential) {
  const Place place(host, repository);
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(place);
  const auto bare = bare_.find(place);
  if (bare != bare_.end() && is_same(bare->second, credential)) {
    bare_.erase(bare);
    return found != known_.end();
  }
  // A newer one may have come meanwhile.
  if (found == known_.end() || !is_same(found->second, credential)) return found != known_.end();
  if (!is_enough_locked(place, found->second)) {
    // Refused for an image that it is not for; it goes on with its own.
    return bare != bare_.end() && (!bare->second.expires || *bare->second.expires > clock_.wall());
  }
  known_.erase(found);
  std::erase(order_, place);
  save_locked();
  return false;
}

void ShownCredentials::exchanged(std::string_view host, std::string_view repository,
                                 const Credential& credential, Credential better) {
  const Place place(host, repository);
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(place);
  const auto bare = bare_.find(place);
  const bool was_bare = bare != bare_.end() && is_same(bare->second, credential);
  if (found == known_.end()) return;
  if (!was_bare && !is_same(found->second, credential)) return;  // a newer one came
  // It stays as long as it lasts: the next image may come before the next token.
  bare_.insert_or_assign(place, was_bare ? bare->second : found->second);
  found->second = std::move(better);
  save_locked();
}

std::optional<WallTime> expiry_of_token(std::string_view token) {
  const size_t first = token.find('.');
  const size_t second = first == token.npos ? first : token.find('.', first + 1);
  if (second == token.npos || token.size() > kMaxToken) return std::nullopt;
  // base64url without padding (RFC 7515, 2).
  std::string body(token.substr(first + 1, second - first - 1));
  std::ranges::replace(body, '-', '+');
  std::ranges::replace(body, '_', '/');
  const auto text = from_base64(body);
  if (!text) return std::nullopt;
  boost::system::error_code broken;
  const auto claims = boost::json::parse(*text, broken);
  const auto* object = broken ? nullptr : claims.if_object();
  const auto* value = object == nullptr ? nullptr : object->if_contains("exp");
  if (value == nullptr || !value->is_number()) return std::nullopt;
  const auto seconds = value->to_number<double>();
  if (!(seconds > 0 && seconds < 9e9)) return std::nullopt;
  return WallTime(std::chrono::seconds(static_cast<int64_t>(seconds)));
}

}  // namespace runnel::remote
