#include "remote/shown_credentials.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
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
          expires};
}

// The other way round; throws when the record has another shape.
std::tuple<std::string, std::string, Credential> read_record(const json::array& fields) {
  const auto text = [&](size_t i) { return std::string(fields.at(i).as_string()); };
  Credential credential{.user = text(2),
                        .secret = Secret(text(3)),
                        .kind = static_cast<Credential::Kind>(fields.at(4).as_int64())};
  const int64_t expires = fields.at(5).as_int64();
  if (expires != 0) credential.expires = WallTime(WallTime::duration(expires));
  return {text(0), text(1), std::move(credential)};
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
      if (known_.emplace(place, std::move(credential)).second) order_.push_back(place);
    }
  } catch (const std::exception&) {  // of the wrong shape
    known_.clear();
    order_.clear();
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

void ShownCredentials::show(std::string host, std::string repository, Credential credential) {
  Place place(std::move(host), std::move(repository));
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(place);
  if (found != known_.end()) {
    const auto& end = found->second.expires;
    const bool worse = credential.kind == Credential::Kind::kBearer &&
                       found->second.kind != Credential::Kind::kBearer &&
                       (!end || *end > clock_.wall());
    if (worse || found->second == credential) return;
    found->second = std::move(credential);
    return save_locked();
  }
  if (known_.size() >= kMostKnown) {
    known_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(place);
  known_.emplace(std::move(place), std::move(credential));
  save_locked();
}

Result<std::optional<Credential>> ShownCredentials::find(std::string_view host,
                                                         std::string_view repository) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(Place(host, repository));
  if (found == known_.end()) return std::nullopt;
  const auto& expires = found->second.expires;
  if (expires && *expires <= clock_.wall()) return std::nullopt;
  return found->second;
}

bool ShownCredentials::refused(std::string_view host, std::string_view repository,
                               const Credential& credential) {
  const Place place(host, repository);
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(place);
  // A newer one may have come meanwhile.
  if (found == known_.end() || found->second != credential) return found != known_.end();
  known_.erase(found);
  std::erase(order_, place);
  save_locked();
  return false;
}

void ShownCredentials::exchanged(std::string_view host, std::string_view repository,
                                 const Credential& credential, Credential better) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(Place(host, repository));
  if (found == known_.end() || found->second != credential) return;  // a newer one came
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
