#include "support/fake_registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>

#include "oci/media_types.h"

namespace runnel::test {

namespace {

using net::Headers;
using net::Response;

// A body that is cut or stops: what Fault asks for.
class BadBody final : public net::BodyStream {
 public:
  BadBody(std::string bytes, bool stall, std::shared_ptr<std::atomic<bool>> stopping)
      : bytes_(std::move(bytes)), stall_(stall), stopping_(std::move(stopping)) {}

  net::awaitable<Result<size_t>> read(MutableBytes into) override {
    if (at_ == bytes_.size()) {
      const Duration step = std::chrono::milliseconds(2);
      while (stall_ && !*stopping_) co_await net::sleep_for(step);
      co_return fail(Code::kUnavailable, "cut on purpose");
    }
    const size_t count = std::min(into.size(), bytes_.size() - at_);
    std::memcpy(into.data(), bytes_.data() + at_, count);
    at_ += count;
    co_return count;
  }

 private:
  const std::string bytes_;
  const bool stall_;
  const std::shared_ptr<std::atomic<bool>> stopping_;
  size_t at_ = 0;
};

Response error(int status, const std::string& code, const std::string& message) {
  return Response(status, Headers{{"Content-Type", "application/json"}},
                  fmt::format(R"({{"errors":[{{"code":"{}","message":"{}"}}]}})", code, message));
}

std::string base64(std::string_view text) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < text.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      out += i + k <= text.size() ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string text_of(std::optional<std::string_view> value) {
  return std::string(value.value_or(""));
}

// "bytes=5-9", "bytes=5-": what our clients send.
std::optional<std::pair<uint64_t, uint64_t>> parse_range(std::string_view value, uint64_t size) {
  if (!value.starts_with("bytes=")) return std::nullopt;
  value.remove_prefix(6);
  uint64_t first = 0;
  uint64_t last = size - 1;
  auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), first);
  if (failed != std::errc() || end == value.data() + value.size() || *end != '-')
    return std::nullopt;
  const char* stop = value.data() + value.size();
  if (end + 1 != stop) std::from_chars(end + 1, stop, last);
  return std::pair(first, std::min(last, size - 1));
}

}  // namespace

FakeRegistry::FakeRegistry() {
  start();
}

FakeRegistry::~FakeRegistry() {
  stop();
}

void FakeRegistry::start() {
  stopping_ = std::make_shared<std::atomic<bool>>(false);
  net::Server::Options options;
  options.port = port_;
  options.threads = 1;
  options.stop_grace = std::chrono::milliseconds(1);
  auto server = net::Server::listen(options, *this);
  if (!server) {
    ADD_FAILURE() << server.error().message;
    std::abort();
  }
  server_ = std::move(*server);
  port_ = server_->port();
}

void FakeRegistry::stop() {
  if (stopping_) *stopping_ = true;
  server_.reset();
}

void FakeRegistry::set(Behaviour behaviour) {
  const std::lock_guard lock(mutex_);
  behaviour_ = std::move(behaviour);
}

void FakeRegistry::inject(std::string what, Fault fault, int times) {
  const std::lock_guard lock(mutex_);
  faults_.push_back({std::move(what), std::move(fault), times});
}

void FakeRegistry::forget_faults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

void FakeRegistry::expire_tokens() {
  const std::lock_guard lock(mutex_);
  tokens_.clear();
}

void FakeRegistry::expire_redirects() {
  const std::lock_guard lock(mutex_);
  ++redirect_generation_;
}

void FakeRegistry::lose_uploads() {
  const std::lock_guard lock(mutex_);
  sessions_.clear();
}

oci::Digest FakeRegistry::add_blob(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  const oci::Digest digest = oci::Digest::of(as_bytes(bytes));
  blobs_[digest.to_string()] = bytes;
  return digest;
}

oci::Digest FakeRegistry::add_manifest(const std::string& repository, const std::string& tag,
                                       const std::string& media_type, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  const oci::Digest digest = oci::Digest::of(as_bytes(bytes));
  Repository& into = repositories_[repository];
  into.manifests[digest.to_string()] = {media_type, std::string(bytes)};
  if (!tag.empty()) into.tags[tag] = digest.to_string();
  return digest;
}

void FakeRegistry::remove_blob(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  blobs_.erase(digest.to_string());
}

std::optional<std::string> FakeRegistry::blob(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest.to_string());
  return found == blobs_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string> FakeRegistry::manifest(const std::string& repository,
                                                  const std::string& reference) const {
  const std::lock_guard lock(mutex_);
  const auto found = repositories_.find(repository);
  if (found == repositories_.end()) return std::nullopt;
  const auto tag = found->second.tags.find(reference);
  const auto stored =
      found->second.manifests.find(tag == found->second.tags.end() ? reference : tag->second);
  if (stored == found->second.manifests.end()) return std::nullopt;
  return stored->second.bytes;
}

size_t FakeRegistry::count(std::string_view what) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::ranges::count_if(seen_, [&](const Seen& one) {
    return (one.method + " " + one.target).find(what) != std::string::npos;
  }));
}

std::vector<FakeRegistry::Seen> FakeRegistry::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void FakeRegistry::forget_seen() {
  const std::lock_guard lock(mutex_);
  seen_.clear();
}

Fault FakeRegistry::take_fault(const net::Request& request) {
  const std::string line = request.method + " " + request.target;
  for (auto it = faults_.begin(); it != faults_.end(); ++it) {
    if (line.find(it->what) == std::string::npos) continue;
    Fault fault = it->fault;
    if (--it->times == 0) faults_.erase(it);
    return fault;
  }
  return {};
}

net::awaitable<Response> FakeRegistry::handle(net::Request& request, net::RequestBody& body) {
  std::string bytes;
  Buffer piece(64 << 10);
  while (true) {
    auto count = co_await body.read(piece);
    if (!count) co_return Response(400);
    if (*count == 0) break;
    bytes += as_text(Bytes(piece).first(*count));
  }
  Fault fault;
  Response response;
  const auto stopping = stopping_;
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back(
        {request.method, request.target, text_of(request.headers.first("Authorization")),
         text_of(request.headers.first("Range")), text_of(request.headers.first("Host"))});
    fault = take_fault(request);
    const bool ignored_before = behaviour_.ignore_ranges;
    behaviour_.ignore_ranges |= fault.ignore_range;
    response = fault.status != 0 ? Response(fault.status, fault.headers, fault.body)
                                 : answer(request, bytes);
    behaviour_.ignore_ranges = ignored_before;
    response = misbehave(fault, request, std::move(response));
  }
  const Duration step = std::chrono::milliseconds(2);
  for (int waited = 0; waited < fault.delay_ms && !*stopping; waited += 2)
    co_await net::sleep_for(step);
  while (fault.stall && !fault.cut_after && !*stopping) co_await net::sleep_for(step);
  co_return response;
}

Response FakeRegistry::misbehave(const Fault& fault, const net::Request& request,
                                 Response response) {
  auto* text = std::get_if<std::string>(&response.body);
  if (text == nullptr || request.method == "HEAD") return response;
  if (fault.corrupt && !text->empty())
    (*text)[text->size() / 2] = static_cast<char>((*text)[text->size() / 2] ^ 1);
  if (fault.wrong_range && response.status == 206)
    response.headers.set("Content-Range", "bytes 0-0/1");
  std::optional<uint64_t> cut = fault.cut_after;
  if (fault.drop_answer) {
    cut = 0;
    text->assign(100, 'x');
  }
  if (!cut || *cut >= text->size()) return response;
  response.content_length = text->size();
  response.body = std::make_unique<BadBody>(text->substr(0, *cut), fault.stall, stopping_);
  return response;
}

Response FakeRegistry::answer(const net::Request& request, const std::string& body) {
  if (request.path == (behaviour_.exchanges ? "/oauth2/token" : "/token"))
    return token(request, body);
  if (request.path == "/oauth2/exchange") return exchange(body);
  if (request.path.starts_with("/storage/")) return storage(request, request.path.substr(9));
  if (request.path.starts_with("/v2/")) return answer_v2(request, body);
  return error(404, "UNSUPPORTED", "no such route");
}

// /v2/<name>/<kind>/<rest>, the name with slashes in it.
Response FakeRegistry::answer_v2(const net::Request& request, const std::string& body) {
  const std::string path = request.path.substr(4);
  if (path.empty()) {
    if (auto refusal = refuse(request, "", false)) return std::move(*refusal);
    return Response(200, net::Headers{{"Content-Type", "application/json"}}, std::string("{}"));
  }
  for (const std::string kind : {"/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/"}) {
    const size_t at = path.find(kind);
    if (at == std::string::npos) continue;
    const std::string name = path.substr(0, at);
    const std::string rest = path.substr(at + kind.size());
    const bool push = request.method != "GET" && request.method != "HEAD";
    if (auto refusal = refuse(request, name, push)) return std::move(*refusal);
    if (kind == "/manifests/") return manifests(request, name, rest, body);
    if (kind == "/blobs/uploads/") return uploads(request, name, rest, body);
    if (kind == "/blobs/") return blobs(request, rest);
    return referrers(request, name, rest);
  }
  return error(404, "UNSUPPORTED", "no such route");
}

Response FakeRegistry::manifests(const net::Request& request, const std::string& name,
                                 const std::string& reference, const std::string& body) {
  if (request.method == "PUT") return put_manifest(request, name, reference, body);
  Repository& repository = repositories_[name];
  const auto tag = repository.tags.find(reference);
  const auto stored =
      repository.manifests.find(tag == repository.tags.end() ? reference : tag->second);
  if (stored == repository.manifests.end())
    return error(404, "MANIFEST_UNKNOWN", "no manifest " + reference);
  if (request.method == "DELETE") {
    if (tag != repository.tags.end()) {
      repository.tags.erase(tag);
    } else {
      repository.manifests.erase(stored);
    }
    return Response(202);
  }
  if (request.method == "HEAD" && !behaviour_.head_manifests)
    return error(405, "UNSUPPORTED", "no HEAD");
  Headers headers{{"Content-Type", stored->second.media_type}};
  if (behaviour_.digest_headers) headers.add("Docker-Content-Digest", stored->first);
  return Response(200, headers, stored->second.bytes);
}

Response FakeRegistry::put_manifest(const net::Request& request, const std::string& name,
                                    const std::string& reference, const std::string& body) {
  const std::string type = text_of(request.headers.first("Content-Type"));
  const auto document = oci::parse_document(as_bytes(body), type);
  if (!document) return error(400, "MANIFEST_INVALID", "not a manifest");
  const auto wanted = oci::Digest::parse(reference);
  const oci::Digest digest =
      oci::Digest::of(as_bytes(body), wanted ? wanted->algorithm() : oci::Algorithm::kSha256);
  if (wanted && *wanted != digest) return error(400, "DIGEST_INVALID", "other bytes");

  Repository& repository = repositories_[name];
  repository.manifests[digest.to_string()] = {type, body};
  if (!wanted) repository.tags[reference] = digest.to_string();
  Headers headers{{"Location", location(request, "/v2/" + name + "/manifests/" + reference)},
                  {"Docker-Content-Digest", digest.to_string()}};
  const auto& subject = oci::subject(*document);
  if (subject && behaviour_.referrers_api) headers.add("OCI-Subject", subject->digest.to_string());
  return Response(201, headers);
}

Response FakeRegistry::ranged(const net::Request& request, const std::string& bytes) {
  const auto range = parse_range(text_of(request.headers.first("Range")), bytes.size());
  if (!range || behaviour_.ignore_ranges)
    return Response(200, Headers{{"Content-Type", "application/octet-stream"}}, bytes);
  const auto [first, last] = *range;
  if (first >= bytes.size()) return error(416, "RANGE_INVALID", "beyond the end");
  return Response(
      206, Headers{{"Content-Range", fmt::format("bytes {}-{}/{}", first, last, bytes.size())}},
      bytes.substr(first, last - first + 1));
}

Response FakeRegistry::blobs(const net::Request& request, const std::string& digest) {
  const auto stored = blobs_.find(digest);
  if (stored == blobs_.end()) return error(404, "BLOB_UNKNOWN", "no blob " + digest);
  if (behaviour_.redirect_blobs && request.method == "GET") {
    return Response(
        307, Headers{{"Location", fmt::format("http://localhost:{}/storage/{}?signature={}", port_,
                                              digest, redirect_generation_)}});
  }
  return ranged(request, stored->second);
}

Response FakeRegistry::storage(const net::Request& request, const std::string& digest) {
  if (text_of(request.query.first("signature")) != std::to_string(redirect_generation_))
    return Response(403, Headers{{"Content-Type", "text/plain"}}, "signature expired");
  const auto stored = blobs_.find(digest);
  return stored == blobs_.end() ? Response(404) : ranged(request, stored->second);
}

Response FakeRegistry::uploads(const net::Request& request, const std::string& name,
                               const std::string& session, const std::string& body) {
  if (request.method == "POST") {
    const std::string mount = text_of(request.query.first("mount"));
    if (!mount.empty() && behaviour_.mounts && blobs_.contains(mount))
      return Response(201, Headers{{"Location", "/v2/" + name + "/blobs/" + mount}});
    const std::string fresh = std::to_string(next_++);
    sessions_.insert(fresh);
    const std::string path = "/v2/" + name + "/blobs/uploads/" + fresh + "?state=a%2Bb";
    return Response(202, Headers{{"Location", location(request, path)}});
  }
  if (!sessions_.contains(session) || text_of(request.query.first("state")) != "a+b")
    return error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
  sessions_.erase(session);
  if (request.method == "DELETE") return Response(204);
  const auto wanted = oci::Digest::parse(text_of(request.query.first("digest")));
  if (!wanted || oci::Digest::of(as_bytes(body), wanted->algorithm()) != *wanted)
    return error(400, "DIGEST_INVALID", "the bytes have another digest");
  blobs_[wanted->to_string()] = body;
  return Response(201, Headers{{"Location", "/v2/" + name + "/blobs/" + wanted->to_string()},
                               {"Docker-Content-Digest", wanted->to_string()}});
}

Response FakeRegistry::referrers(const net::Request& request, const std::string& name,
                                 const std::string& digest) {
  if (!behaviour_.referrers_api) return Response(404);
  const std::string type = text_of(request.query.first("artifactType"));
  oci::Index all;
  all.media_type = oci::kOciIndex;
  for (const auto& [own, stored] : repositories_[name].manifests) {
    const auto manifest = oci::parse_manifest(as_bytes(stored.bytes), stored.media_type);
    if (!manifest || !manifest->subject || manifest->subject->digest.to_string() != digest)
      continue;
    if (!type.empty() && manifest->effective_artifact_type() != type) continue;
    oci::Descriptor entry;
    entry.media_type = stored.media_type;
    entry.digest = *oci::Digest::parse(own);
    entry.size = stored.bytes.size();
    entry.annotations = manifest->annotations;
    entry.artifact_type = manifest->effective_artifact_type();
    all.manifests.push_back(entry);
  }
  size_t from = 0;
  const std::string last = text_of(request.query.first("last"));
  std::from_chars(last.data(), last.data() + last.size(), from);
  const size_t to = std::min(all.manifests.size(), from + behaviour_.referrers_page);
  Headers headers{{"Content-Type", std::string(oci::kOciIndex)}};
  if (to < all.manifests.size())
    headers.add("Link", fmt::format("</v2/{}/referrers/{}?last={}&artifactType={}>; rel=\"next\"",
                                    name, digest, to, net::percent_encode(type)));
  all.manifests = {all.manifests.begin() + static_cast<ptrdiff_t>(std::min(from, to)),
                   all.manifests.begin() + static_cast<ptrdiff_t>(to)};
  return Response(200, headers, oci::to_json(all));
}

Response FakeRegistry::token(const net::Request& request, const std::string& body) {
  const auto form = net::Query::parse(body).value_or(net::Query());
  const bool post = request.method == "POST";
  if (post && !behaviour_.oauth_post) return Response(404);
  const std::string basic = text_of(request.headers.first("Authorization"));
  const std::string good = "Basic " + base64(behaviour_.user + ":" + behaviour_.password);
  const std::string by_token = "Basic " + base64(":" + behaviour_.identity_token);
  const bool known = post ? text_of(form.first("refresh_token")) == behaviour_.identity_token
                          : basic == good || basic == by_token;
  if (!known && (!basic.empty() || post || !behaviour_.anonymous_pull))
    return error(401, "UNAUTHORIZED", "who are you");

  Issued issued;
  issued.push = known;
  if (post) {
    issued.scopes.push_back(text_of(form.first("scope")));
  } else {
    for (const auto scope : request.query.all("scope")) issued.scopes.emplace_back(scope);
  }
  const std::string value = "token-" + std::to_string(next_++);
  tokens_[value] = issued;
  return Response(
      200, Headers{{"Content-Type", "application/json"}},
      fmt::format(R"({{"token":"{}","expires_in":{}}})", value, behaviour_.token_seconds));
}

Response FakeRegistry::exchange(const std::string& body) {
  const auto form = net::Query::parse(body).value_or(net::Query());
  if (text_of(form.first("grant_type")) != "access_token" ||
      !tokens_.contains(text_of(form.first("access_token")))) {
    return error(401, "UNAUTHORIZED", "no token of mine");
  }
  return Response(
      200, Headers{{"Content-Type", "application/json"}},
      fmt::format(R"({{"refresh_token":"{}","expires_in":86400}})", behaviour_.identity_token));
}

std::string FakeRegistry::token_for(const std::string& scope) {
  const std::lock_guard lock(mutex_);
  std::string value = "token-" + std::to_string(next_++);
  tokens_[value].scopes.push_back(scope);
  return value;
}

std::optional<Response> FakeRegistry::refuse(const net::Request& request, const std::string& name,
                                             bool push) {
  const std::string sent = text_of(request.headers.first("Authorization"));
  if (behaviour_.auth == Auth::kBasic) {
    if (sent == "Basic " + base64(behaviour_.user + ":" + behaviour_.password)) return std::nullopt;
    Response refusal = error(401, "UNAUTHORIZED", "log in first");
    refusal.headers.add("WWW-Authenticate", "Basic realm=\"fake\"");
    return refusal;
  }
  if (behaviour_.auth == Auth::kNone) return std::nullopt;

  const auto issued = tokens_.find(sent.starts_with("Bearer ") ? sent.substr(7) : "");
  const auto fits = [&](const std::string& scope) {
    return scope.find("repository:" + name + ":pull") != std::string::npos &&
           (!push || scope.find("push") != std::string::npos);
  };
  if (issued != tokens_.end() && (!push || issued->second.push) &&
      std::ranges::any_of(issued->second.scopes, fits))
    return std::nullopt;
  Response refusal = error(401, "UNAUTHORIZED", "a token is needed");
  refusal.headers.add(
      "WWW-Authenticate",
      fmt::format(R"(Bearer realm="http://{}{}/token",service="fake",scope="repository:{}:{}")",
                  host(), behaviour_.exchanges ? "/oauth2" : "", name,
                  push ? "pull,push" : "pull"));
  return refusal;
}

std::string FakeRegistry::location(const net::Request& request, const std::string& path) const {
  if (!behaviour_.absolute_locations) return path;
  return "http://" + text_of(request.headers.first("Host")) + path;
}

}  // namespace runnel::test
