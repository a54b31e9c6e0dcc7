// netsim: a TCP forwarder that behaves like a slower, farther network.
//
//   netsim --target PORT [--listen PORT] [--delay-ms MS] [--mbit N] [--up-mbit N]
//          [--counters FILE] [--log FILE]
//
// Listens on 127.0.0.1 (prints "listening on PORT"), forwards to 127.0.0.1:TARGET. Bytes take
// --delay-ms each way; all connections share --mbit from the server, and --up-mbit (default: the
// same) to it; a new connection costs one round trip more, as its handshake would. The counters
// file has four 64-bit numbers in this machine's byte order (Counters in forwarder.h) that are
// always current. The log gets a line a request: seconds (CLOCK_MONOTONIC), request line, Range
// header. Ends with SIGTERM.
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "support/netsim/forwarder.h"

namespace runnel::netsim {

namespace {

struct Arguments {
  Options options;
  std::string counters;
  std::string log;
};

uint64_t bytes_per_second(double mbit) {
  return static_cast<uint64_t>(mbit * 1e6 / 8);
}

Result<Arguments> parse(int argc, char** argv) {
  const option known[] = {{"target", 1, nullptr, 't'},   {"listen", 1, nullptr, 'l'},
                          {"delay-ms", 1, nullptr, 'd'}, {"mbit", 1, nullptr, 'm'},
                          {"up-mbit", 1, nullptr, 'u'},  {"counters", 1, nullptr, 'c'},
                          {"log", 1, nullptr, 'g'},      {nullptr, 0, nullptr, 0}};
  Arguments out;
  double mbit = 0;
  double up_mbit = -1;
  for (int given; (given = ::getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    switch (given) {
      case 't': out.options.target = static_cast<uint16_t>(std::atoi(optarg)); break;
      case 'l': out.options.listen = static_cast<uint16_t>(std::atoi(optarg)); break;
      case 'd':
        out.options.delay = std::chrono::duration_cast<Duration>(
            std::chrono::duration<double, std::milli>(std::atof(optarg)));
        break;
      case 'm': mbit = std::atof(optarg); break;
      case 'u': up_mbit = std::atof(optarg); break;
      case 'c': out.counters = optarg; break;
      case 'g': out.log = optarg; break;
      default: return fail(Code::kInvalid, "see the head of tests/support/netsim/main.cc");
    }
  }
  if (out.options.target == 0) return fail(Code::kInvalid, "--target PORT is missing");
  out.options.down_rate = bytes_per_second(mbit);
  out.options.up_rate = bytes_per_second(up_mbit < 0 ? mbit : up_mbit);
  return out;
}

// The file's four numbers, shared with whoever maps or reads it.
Result<Counters*> map_counters(const std::string& path) {
  int flags = MAP_SHARED | MAP_ANONYMOUS;
  UniqueFd file;
  if (!path.empty()) {
    RUNNEL_TRY(file, open_file(path, O_RDWR | O_CREAT | O_TRUNC));
    if (::ftruncate(file.get(), sizeof(Counters)) != 0) return fail_errno("{}", path);
    flags = MAP_SHARED;
  }
  void* at = ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, flags, file.get(), 0);
  if (at == MAP_FAILED) return fail_errno("map {}", path);
  return new (at) Counters;
}

Result<void> run(int argc, char** argv) {
  RUNNEL_TRY(const auto arguments, parse(argc, argv));
  RUNNEL_TRY(Counters * counters, map_counters(arguments.counters));
  FILE* log = arguments.log.empty() ? nullptr : std::fopen(arguments.log.c_str(), "ae");
  if (!arguments.log.empty() && log == nullptr) return fail_errno("open {}", arguments.log);
  const auto write_line = [log](std::string_view line, std::string_view range) {
    if (log == nullptr) return;
    const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
    std::fprintf(log, "%.6f %.*s %.*s\n", now.count(), static_cast<int>(line.size()), line.data(),
                 static_cast<int>(range.size()), range.data());
    std::fflush(log);
  };
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const UniqueFd stop(::signalfd(-1, &ends, SFD_CLOEXEC));
  RUNNEL_TRY(auto forwarder, Forwarder::create(arguments.options, *counters, write_line));
  std::printf("listening on %u\n", unsigned{forwarder.port()});
  std::fflush(stdout);
  RUNNEL_DO(forwarder.run(stop.get()));
  if (log != nullptr) std::fclose(log);
  return {};
}

}  // namespace

}  // namespace runnel::netsim

int main(int argc, char** argv) {
  if (const auto done = runnel::netsim::run(argc, argv); !done) {
    std::fprintf(stderr, "netsim: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
