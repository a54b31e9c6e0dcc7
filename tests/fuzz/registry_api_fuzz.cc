// Any requests, one after the other, to a registry in memory: to its management as well as to the
// distribution API. Each is answered in bounded size with what is well-formed, none by an error
// that is the registry's own, and none leaves something behind that cannot be read any more.
//
// The first byte says whether there is authentication. Then requests, with a zero byte between
// them; each is lines "METHOD TARGET" and "NAME: VALUE", an empty line, and the body. A "@" stands
// for what no seed can know: in a target for the last Location, elsewhere for the last token.
//
// Seeds: make_protocol_corpus.py.
//
// links: registry
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "net/request_parser.h"
#include "registry/api.h"
#include "registry/conversions.h"
#include "registry/services.h"
#include "support/fake_clock.h"
#include "support/memory_blob_store.h"
#include "support/memory_metadata_store.h"
#include "support/memory_operation_queue.h"
#include "support/run_coroutine.h"

namespace json = boost::json;
namespace net = runnel::net;
namespace oci = runnel::oci;
namespace registry = runnel::registry;
namespace test = runnel::test;
using runnel::Bytes;
using runnel::Result;

namespace {

constexpr size_t kMostRequests = 8;
constexpr std::string_view kRepository = "team/app";
// owner:owner, as seeds send it; the weakest bcrypt there is, which takes a millisecond.
constexpr std::string_view kOwner = "Basic b3duZXI6b3duZXI=";
constexpr std::string_view kPeople =
    "owner:$2y$04$ABCDEFGHIJKLMNOPQRSTUuhcrcZv.P5gGTeZD5bQPhGlyXEOwSR6G\n";

class TextBody final : public net::RequestBody {
 public:
  explicit TextBody(std::string_view text) : left_(runnel::as_bytes(text)) {}

  net::awaitable<Result<size_t>> read(runnel::MutableBytes into) override {
    const size_t size = std::min(into.size(), left_.size());
    std::ranges::copy(left_.first(size), into.begin());
    left_ = left_.subspan(size);
    co_return size;
  }
  std::optional<uint64_t> content_length() const override { return left_.size(); }

 private:
  Bytes left_;
};

std::string_view cut(std::string_view& text, char at) {
  const auto end = std::min(text.find(at), text.size());
  const auto part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

// What earlier answers said.
struct Said {
  void remember(const net::Response& answer) {
    if (const auto found = answer.headers.first("Location")) {
      const auto path = found->find('/', found->find("://") == found->npos ? 0 : 8);
      location = found->substr(std::min(path, found->size()));
    }
    json::error_code broken;
    const auto* text = std::get_if<std::string>(&answer.body);
    const auto document = json::parse(text == nullptr ? "" : *text, broken);
    const auto* object = broken ? nullptr : document.if_object();
    for (const auto* name : {"access_token", "refresh_token", "value"}) {
      const auto* value = object == nullptr ? nullptr : object->if_contains(name);
      if (value != nullptr && value->is_string()) token = value->get_string();
    }
  }

  std::string location;
  std::string token;
};

std::string replaced(std::string_view text, const std::string& by) {
  const auto at = text.find('@');
  if (at == std::string_view::npos) return std::string(text);
  return fmt::format("{}{}{}", text.substr(0, at), by, text.substr(at + 1));
}

// Nothing for what no server would hand on.
std::optional<net::Request> read_head(std::string_view& text, const Said& said) {
  net::Request request;
  auto first = cut(text, '\n');
  request.method = cut(first, ' ');
  request.target = replaced(first, said.location);
  request.peer = "192.0.2.1:1234";
  if (request.method.empty() || !net::split_target(request)) return std::nullopt;
  for (auto line = cut(text, '\n'); !line.empty(); line = cut(text, '\n')) {
    const auto name = cut(line, ':');
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (!request.headers.add_received(name, replaced(line, said.token))) return std::nullopt;
  }
  return request;
}

// What all of them share: to make it takes longer than a request.
struct Shared {
  Shared() {
    std::string directory = "/tmp/registry_api_fuzz.XXXXXX";
    RUNNEL_CHECK(::mkdtemp(directory.data()) != nullptr);
    for (auto* each : {&open, &guarded}) {
      each->data = directory;
      each->sparse_manifests = true;
      each->conversion.concurrency = 0;  // nothing is really converted
    }
    guarded.auth.htpasswd = directory + "/people";
    guarded.auth.anonymous_pull = {"public/*"};
    guarded.auth.users["owner"] = {runnel::access::Grant("*", runnel::access::Actions::all())};
    std::ofstream(guarded.auth.htpasswd) << kPeople;
    runnel::log::open({.level = runnel::log::Level::kError});
  }
  ~Shared() {
    std::error_code error;
    std::filesystem::remove_all(open.data, error);
  }

  registry::Config open;
  registry::Config guarded;
  runnel::WorkerPool readers{1};
  runnel::WorkerPool writers{1};
  const runnel::artifact::Key key = runnel::artifact::Key::generate();
};

Shared& shared() {
  static Shared instance;
  return instance;
}

class Running {
 public:
  explicit Running(bool guarded) : config_(guarded ? shared().guarded : shared().open) {
    if (guarded) gate_ = registry::Gate::open(config_, metadata_, clock_).value();
    services_.emplace(config_, blobs_, metadata_, uploads_, gate_.get(), clock_, shared().readers,
                      shared().writers);
    services_->conversions = &conversions_;
    push_image();
  }

  net::Response send(net::Request& request, std::string_view body) {
    registry::Api api(*services_);
    TextBody stream(body);
    return test::run_coroutine(api.handle(request, stream));
  }
  int send(const std::string& method, const std::string& target, std::string_view body = {},
           std::string_view type = {}) {
    net::Request request;
    request.method = method;
    request.target = target;
    request.peer = "192.0.2.2:1";
    RUNNEL_CHECK(net::split_target(request).has_value());
    if (gate_) request.headers.add("Authorization", std::string(kOwner));
    if (!type.empty()) request.headers.add("Content-Type", std::string(type));
    return send(request, body).status;
  }

  // What is there can be seen, whatever was done to it.
  void look_around() {
    for (const auto* target :
         {"/v2/_catalog", "/runnel/v1/_soft-delete", "/runnel/v1/_operations",
          "/acr/v1/_deleted/_catalog", "/runnel/v1/_config/soft-delete",
          "/acr/v1/_deleted/team/app/_manifests", "/acr/v1/_deleted/team/app/_tags"})
      RUNNEL_CHECK(send("GET", target) == 200);
    for (const auto* kind : {"_tokens", "_scope-maps", "_role-assignments"})
      if (gate_) RUNNEL_CHECK(send("GET", fmt::format("/runnel/v1/{}", kind)) == 200);
    for (const auto& name : metadata_.repositories("", 100).value())
      for (const auto* part : {"", "/_tags", "/_manifests", "/_streaming"}) {
        const int status = send("GET", fmt::format("/acr/v1/{}{}", name, part));
        RUNNEL_CHECK(status == 200 || status == 403 || status == 404);
      }
  }

 private:
  // An image of one layer, and a tag.
  void push_image() {
    constexpr std::string_view kLayer = "layer";
    constexpr std::string_view kConfig = "{}";
    const auto digest_of = [](std::string_view text) {
      return oci::Digest::of(runnel::as_bytes(text));
    };
    for (const auto content : {kConfig, kLayer}) {
      const auto target =
          fmt::format("/v2/{}/blobs/uploads/?digest={}", kRepository, digest_of(content));
      RUNNEL_CHECK(send("POST", target, content) == 201);
    }
    oci::Manifest image;
    image.media_type = oci::kOciManifest;
    image.config = {.media_type = std::string(oci::kOciConfig),
                    .digest = digest_of(kConfig),
                    .size = kConfig.size()};
    image.layers = {{.media_type = std::string(oci::kOciLayerGzip),
                     .digest = digest_of(kLayer),
                     .size = kLayer.size()}};
    RUNNEL_CHECK(send("PUT", fmt::format("/v2/{}/manifests/v1", kRepository), oci::to_json(image),
                      oci::kOciManifest) == 201);
  }

  const registry::Config& config_;
  const test::FakeClock clock_;
  test::MemoryBlobStore blobs_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
  test::MemoryOperationQueue queue_{std::make_shared<test::MemoryOperationQueue::Data>(), clock_};
  registry::Uploads uploads_{blobs_, metadata_, clock_, config_.upload_lifetime};
  std::unique_ptr<registry::Gate> gate_;
  const registry::ConversionTools tools_{config_, blobs_, metadata_, uploads_, shared().key, {}};
  registry::Conversions conversions_{tools_, queue_, clock_, nullptr};
  std::optional<registry::Services> services_;
};

void check(const net::Response& answer, size_t input) {
  RUNNEL_CHECK(answer.status >= 200 && answer.status < 600);
  // Not "unavailable" or "full" either: memory is neither.
  RUNNEL_CHECK(answer.status < 500);
  RUNNEL_CHECK(answer.headers.check().has_value());
  const auto* text = std::get_if<std::string>(&answer.body);
  if (text == nullptr || text->empty()) return;
  // Everything that was sent, each byte as an escape, several times; and what was there before.
  RUNNEL_CHECK(text->size() <= 64 * 1024 + 32 * input);
  const auto type = answer.headers.first("Content-Type").value_or("");
  if (answer.status < 300 && !type.starts_with("application/json")) return;
  json::error_code broken;
  json::parse_options deep;
  deep.max_depth = 100;
  const auto document = json::parse(*text, broken, {}, deep);
  RUNNEL_CHECK(!broken && document.is_object());
  if (answer.status >= 400) RUNNEL_CHECK(document.get_object().contains("errors"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Running running(data[0] % 2 == 1);
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  Said said;
  for (size_t i = 0; i < kMostRequests && !rest.empty(); ++i) {
    auto text = cut(rest, '\0');
    auto request = read_head(text, said);
    if (!request) continue;
    const auto answer = running.send(*request, replaced(text, said.token));
    check(answer, size);
    said.remember(answer);
  }
  running.look_around();
  return 0;
}
