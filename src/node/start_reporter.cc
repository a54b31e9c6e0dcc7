#include "node/start_reporter.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>

#include "base/bytes.h"
#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"
#include "remote/registry_api.h"

namespace runnel::node {

namespace {

constexpr auto kLook = std::chrono::seconds(1);
constexpr size_t kIdBytes = 16;
constexpr uint64_t kMaxIdFile = 256;

bool is_id(std::string_view text) {
  return text.size() == 2 * kIdBytes &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Result<std::string> node_id(const std::string& root) {
  const auto path = root + "/node-id";
  const auto kept = read_file(path, kMaxIdFile);
  if (kept && is_id(as_text(*kept))) return std::string(as_text(*kept));
  if (!kept && kept.error().code != Code::kNotFound) return std::unexpected(kept.error());
  std::array<std::byte, kIdBytes> random{};
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), kIdBytes) != 1)
    return fail(Code::kUnavailable, "no random numbers for {}", path);
  auto id = to_hex(random);
  RUNNEL_DO(replace_file(path, as_bytes(id), 0600));
  return id;
}

Result<void> tell_registry(const std::shared_ptr<remote::Gateway>& gateway,
                           const std::shared_ptr<remote::CredentialSource>& credentials,
                           const oci::Reference& image, const artifact::Profile& profile,
                           const std::string& node) {
  const remote::RegistryApi registry(gateway, image.host, credentials);
  const remote::ApiCall call{.method = "POST",
                             .path = fmt::format("/runnel/v1/{}/_profiles/{}?node={}",
                                                 image.repository, *image.digest, node),
                             .repository = image.repository,
                             .scope = remote::Scope::pull(image.repository),
                             .what = "profile",
                             .body = artifact::to_json(profile)};
  RUNNEL_TRY([[maybe_unused]] const auto answer, registry.expect(call));
  return {};
}

StartReporter::StartReporter(Starts starts, Report report, const Clock& clock)
    : starts_(std::move(starts)),
      report_(std::move(report)),
      clock_(clock),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

StartReporter::~StartReporter() = default;

void StartReporter::run(const std::stop_token& stop) {
  StartWatch watch;
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  while (!wake.wait_for(lock, stop, kLook, [&] { return stop.stop_requested(); })) {
    for (const auto& image : watch.over(starts_(), clock_.now())) {
      if (stop.stop_requested()) return;
      const auto told = report_(image);
      if (told) continue;
      log::debug("what the start of {} read was not told: {}", image, told.error().message);
      if (told.error().code == Code::kUnavailable) watch.failed(image, clock_.now());
    }
  }
}

}  // namespace runnel::node
