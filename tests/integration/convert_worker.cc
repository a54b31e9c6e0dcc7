// A worker of conversions for worker_process_test.cc. With an argument it confines itself as a
// worker does and then misbehaves in the way that the argument says.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <thread>

#include "convert/worker_job.h"
#include "convert/worker_main.h"
#include "convert/worker_sandbox.h"

namespace {

using namespace runnel;
using namespace runnel::convert;

int misbehave(std::string_view how) {
  if (how == "stop") return ::raise(SIGSTOP);
  const auto bytes = receive_message(kWorkerSocket, kMaxJob);
  if (!bytes) return 2;
  const auto job = parse_worker_job(*bytes);
  if (!job || !detach(kWorkerInputs + 1)) return 2;
  if (!limit_resources(job->limits.memory_bytes, job->limits.cpu_seconds) || !confine()) return 2;
  if (how == "open") return ::open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 ? 3 : 4;
  if (how == "connect") return ::socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 3 : 4;
  if (how == "exec") return ::execl("/bin/true", "true", nullptr) == 0 ? 3 : 4;
  if (how == "code")
    return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                   MAP_FAILED
               ? 3
               : 4;
  if (how == "thread") std::thread([] {}).join();
  if (how == "abort") std::abort();
  if (how == "spin")
    for (volatile uint64_t count = 0;; count = count + 1) {
    }
  if (how == "pour") {
    static constexpr char kZeros[1 << 20] = {};
    while (::write(kWorkerOutput, kZeros, sizeof kZeros) > 0) {
    }
  }
  if (how == "claim") {
    const auto sent = send_message(kWorkerSocket, serialize(WorkerMessage(LayerDone{.size = 100})));
    return sent ? 0 : 2;
  }
  if (how == "halt") {  // in the middle of a message
    char never = 0;
    if (::send(kWorkerSocket, "\x10\0\0\0x", 5, 0) != 5) return 2;
    return ::read(kWorkerSocket, &never, 1) == 0 ? 0 : 2;
  }
  if (how == "sleep") {
    char never = 0;
    return ::read(kWorkerSocket, &never, 1) == 0 ? 0 : 2;
  }
  if (how == "lie") {
    const auto sent = send_message(kWorkerSocket, as_bytes("nonsense"));
    return sent ? 0 : 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && argv[1] != std::string_view("convert-worker")) return misbehave(argv[1]);
  return run_worker();
}
