// The snapshotter's service alone, for tests with a real containerd: nothing streams, every
// snapshot is an ordinary directory.
//
//   snapshotter_host ROOT SOCKET      serves until SIGTERM
#include <fmt/core.h>

#include <csignal>

#include "base/durable.h"
#include "snapshot/service.h"
#include "snapshot/snapshotter.h"
#include "snapshot/store.h"

namespace runnel::snapshot {
namespace {

class NoStreaming final : public Streaming {
 public:
  Result<bool> offer(const std::string&, const std::string&, const Labels&) override {
    return false;
  }
  Result<std::string> mount(const std::string& chain_id) override {
    return fail(Code::kUnavailable, "nothing streams here, {} neither", chain_id);
  }
  void idle(const std::string&) override {}
  void forget(const std::string&) override {}
  Result<Usage> usage(const std::string&) override { return Usage{}; }
};

Result<void> serve(const std::string& root, const std::string& socket, const sigset_t& signals) {
  const SystemClock clock;
  NoStreaming streaming;
  RUNNEL_DO(make_directories(root));
  RUNNEL_TRY(auto store, Store::open(root + "/snapshots.db", clock));
  RUNNEL_TRY(auto snapshotter, Snapshotter::open(root, *store, streaming));
  RUNNEL_TRY(auto service, Service::listen(socket, *snapshotter));
  int signal = 0;
  ::sigwait(&signals, &signal);
  return {};
}

}  // namespace
}  // namespace runnel::snapshot

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: snapshotter_host ROOT SOCKET\n");
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto served = runnel::snapshot::serve(argv[1], argv[2], signals);
  if (served) return 0;
  fmt::print(stderr, "snapshotter_host: {}\n", served.error().message);
  return 1;
}
