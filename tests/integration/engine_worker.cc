// A holder and its worker around the engine alone, for engine_test:
//
//   engine_worker ROOT WAY RECOVERY REPORT_FD            the holder, which starts
//   engine_worker ROOT WAY RECOVERY REPORT_FD --worker   the worker
//
// ROOT/input has what engine_test wrote: N.blob, N.table, N.digest (of the table), metadata. The
// worker mounts them as "image" and reports its process ID on REPORT_FD; then it obeys signals and
// reports again after each: USR1 makes its source lie, USR2 makes it hold every answer, HUP makes
// it good again, WINCH has it fail to mount "image" once more and then clear the cache. Where
// ROOT/input/hold exists it holds every answer from the start.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/holder.h"
#include "support/fake_range_source.h"

namespace runnel::engine {
namespace {

constexpr uint64_t kMaxInput = 1u << 30;
constexpr auto kNetworkDelay = std::chrono::milliseconds(3);

struct Layers {
  std::vector<oci::Digest> digests;
  std::vector<std::shared_ptr<test::FakeRangeSource>> sources;
};

Result<Layers> add_layers(Engine& engine, const std::string& input) {
  Layers layers;
  for (int i = 0; std::filesystem::exists(fmt::format("{}/{}.blob", input, i)); ++i) {
    RUNNEL_TRY(auto blob, read_file(fmt::format("{}/{}.blob", input, i), kMaxInput));
    RUNNEL_TRY(auto table, read_file(fmt::format("{}/{}.table", input, i), kMaxInput));
    RUNNEL_TRY(const auto digest, read_file(fmt::format("{}/{}.digest", input, i), 32));
    codec::Sha256Value table_digest;
    std::copy(digest.begin(), digest.end(), table_digest.begin());
    RUNNEL_TRY(auto parsed, artifact::ChunkTable::parse(std::move(table), table_digest));
    layers.digests.push_back(oci::Digest::of(blob));
    layers.sources.push_back(std::make_shared<test::FakeRangeSource>(std::move(blob)));
    layers.sources.back()->delay(kNetworkDelay);
    if (std::filesystem::exists(input + "/hold")) layers.sources.back()->hold();
    RUNNEL_DO(
        engine.add_layer(layers.digests.back(), std::move(parsed), layers.sources.back(), {}));
  }
  return layers;
}

void obey(int signal, test::FakeRangeSource& source) {
  source.succeed();
  if (signal == SIGUSR1) source.corrupt();
  if (signal == SIGUSR2) source.hold();
  if (signal == SIGHUP) source.release();
}

// With a layer that nobody added.
Result<void> fail_to_mount_again(Engine& engine, const std::string& metadata,
                                 std::vector<oci::Digest> layers) {
  layers.push_back(oci::Digest::of(as_bytes("of no layer")));
  const auto mounted = engine.mount("image", metadata, layers);
  if (mounted) return fail(Code::kConflict, "it was mounted");
  // A layer may go between its addition and the mount: no fault of the image's.
  if (mounted.error().code != Code::kUnavailable) return std::unexpected(mounted.error());
  RUNNEL_DO(engine.clear());
  return {};
}

Result<void> work(const std::string& root, const std::string& way_name,
                  const std::string& recovery_name, int report) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGWINCH})
    sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const SystemClock clock;
  RUNNEL_TRY(const Way way, parse_way(way_name));
  RUNNEL_TRY(const auto recovery, parse_recovery(recovery_name));
  RUNNEL_TRY(auto handover, Handover::inherited());
  RUNNEL_TRY(auto channel, take_channel(handover));
  RUNNEL_TRY(auto engine, Engine::start({.root = root,
                                         .way = way,
                                         .recovery = recovery,
                                         .read_timeout = std::chrono::seconds(2),
                                         .background_fill = false},
                                        std::move(channel), clock));
  RUNNEL_TRY(const auto layers, add_layers(*engine, root + "/input"));
  engine->all_layers_added();
  const auto metadata = root + "/input/metadata";
  RUNNEL_DO(engine->mount("image", metadata, layers.digests));
  const int self = ::getpid();
  for (int signal = 0; signal != SIGTERM;) {
    (void)!::write(report, &self, sizeof self);
    ::sigwait(&signals, &signal);
    for (const auto& source : layers.sources) obey(signal, *source);
    if (signal == SIGWINCH) RUNNEL_DO(fail_to_mount_again(*engine, metadata, layers.digests));
  }
  for (const auto& source : layers.sources) source->shutdown();
  return engine->unmount("image");
}

}  // namespace
}  // namespace runnel::engine

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const std::string root = argv[1];
  if (argc == 5) {
    auto handover = runnel::engine::Handover::inherited();
    if (!handover) return 1;
    const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
    return runnel::engine::run_holder(
        {.root = root,
         .worker = {self, argv[1], argv[2], argv[3], argv[4], "--worker"},
         .reload = {},
         .check = {}},
        *std::move(handover));
  }
  const auto worked = runnel::engine::work(root, argv[2], argv[3], std::atoi(argv[4]));
  if (worked) return 0;
  runnel::log::error("{}", worked.error().message);
  return 1;
}
