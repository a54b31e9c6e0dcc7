#include "convert/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>

#include "artifact/layer_parts.h"
#include "base/child.h"
#include "base/fd.h"
#include "convert/worker_main.h"

namespace runnel::convert {

namespace {

constexpr int kAskEveryMs = 100;
// A pipe's default is 64 KiB, at which both ends would wait for each other all the time.
constexpr int kPipeSize = 1 << 20;
constexpr size_t kPiece = 256 << 10;
// What a blob may have besides its chunks: a tree and a chunk table, each at their largest.
constexpr uint64_t kBesideChunks = artifact::kMaxTreeStored + artifact::kMaxTableSize;

constexpr std::string_view kStarting = "starting a worker";

// No signal reaches this thread, nor whom it forks, while this lives.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;
  ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// What the child of a fork becomes a worker with. All of it is made before, because between fork
// and exec in a process of many threads nothing may be allocated.
struct Launch {
  const char* path;
  std::vector<char*> argv;
  std::vector<UniqueFd> descriptors;  // to stand from kWorkerSocket on; all of them are above that
  UniqueFd null;
  UniqueFd failure;  // gets an errno; closed by a successful exec
  pid_t parent;
};

// As this process was started: no handlers, nothing ignored, nothing blocked.
void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

bool place_descriptors(const Launch& launch) {
  for (const int fd : {0, 1, 2})
    if (::dup2(launch.null.get(), fd) < 0) return false;
  int place = kWorkerSocket;
  for (const auto& fd : launch.descriptors)
    if (::dup2(fd.get(), place++) < 0) return false;
  return true;
}

// In the child. Before it is another program it is told to die with its parent, so that it does so
// wherever it is then, even stopped; had the parent died before that, nobody would tell it.
[[noreturn]] void become_worker(const Launch& launch) {
  char* const no_environment[] = {nullptr};
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == launch.parent) {
    reset_signals();
    if (place_descriptors(launch)) ::execve(launch.path, launch.argv.data(), no_environment);
  }
  const int error = errno;
  const auto told = ::write(launch.failure.get(), &error, sizeof error);
  ::_exit(told == sizeof error ? 127 : 126);
}

Result<Launch> prepare_launch(const WorkerProgram& program, const std::vector<int>& descriptors) {
  Launch launch{.path = program.path.c_str(), .parent = ::getpid()};
  for (const auto& argument : program.arguments)
    launch.argv.push_back(const_cast<char*>(argument.c_str()));
  launch.argv.push_back(nullptr);
  // Above all of their places first, so that none is overwritten before it has moved.
  const int above = kWorkerSocket + static_cast<int>(descriptors.size());
  const auto move_up = [&](int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, above)); };
  for (const int fd : descriptors) {
    launch.descriptors.push_back(move_up(fd));
    if (!launch.descriptors.back()) return fail_errno("{}: duplicating a descriptor", kStarting);
  }
  RUNNEL_TRY(const auto null, open_file("/dev/null", O_RDWR));
  launch.null = move_up(null.get());
  if (!launch.null) return fail_errno("{}: duplicating a descriptor", kStarting);
  return launch;
}

Result<pid_t> spawn(const WorkerProgram& program, const std::vector<int>& descriptors) {
  RUNNEL_TRY(auto launch, prepare_launch(program, descriptors));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("{}: a pipe", kStarting);
  const UniqueFd failure(ends[0]);
  UniqueFd told(ends[1]);
  launch.failure = UniqueFd(::fcntl(told.get(), F_DUPFD_CLOEXEC, launch.null.get()));
  told.reset();
  if (!launch.failure) return fail_errno("{}: duplicating a descriptor", kStarting);
  pid_t pid = -1;
  {
    const WithoutSignals without;
    pid = ::fork();
    if (pid == 0) become_worker(launch);
  }
  if (pid < 0) return fail_errno("{}: fork", kStarting);
  launch.failure.reset();
  int error = 0;
  ssize_t count = 0;
  while ((count = ::read(failure.get(), &error, sizeof error)) < 0 && errno == EINTR) {
  }
  if (count == 0) return pid;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return std::unexpected(system_error(error, fmt::format("{}: {}", kStarting, program.path)));
}

Error death_of(int status, const WorkerLimits& limits) {
  if (!WIFSIGNALED(status))
    return {Code::kUnavailable,
            fmt::format("its worker ended with status {} and no answer", WEXITSTATUS(status))};
  switch (WTERMSIG(status)) {
    case SIGXCPU:
      return {Code::kExhausted,
              fmt::format("it took more than {} s of processor time", limits.cpu_seconds)};
    case SIGSYS:
      return {Code::kInvalid,
              "its worker was stopped at a system call that it may not make: the layer attacks "
              "the program, or the program has a bug"};
    case SIGKILL:
      return {Code::kUnavailable, "its worker was killed: the machine may be out of memory"};
    default:
      return {Code::kInvalid,
              fmt::format("its worker died of signal {}: the program has a bug that the layer "
                          "meets",
                          WTERMSIG(status))};
  }
}

// What no layer within the limits makes: incompressible chunks grow by far less than an eighth.
uint64_t max_blob(const WorkerLimits& limits) {
  const auto plain = std::min(limits.max_plain_bytes, artifact::kMaxBlobSize);
  return plain + plain / 8 + kBesideChunks;
}

// What comes out of a worker's pipe, to whoever wants it.
class Outflow {
 public:
  // Nothing is read without a pipe.
  Outflow() = default;
  Outflow(UniqueFd pipe, const BlobTaker& taker, uint64_t limit)
      : pipe_(std::move(pipe)), taker_(&taker), limit_(limit), piece_(kPiece) {}

  // -1 once it is at its end.
  int descriptor() const { return pipe_.get(); }
  uint64_t taken() const { return taken_; }

  // Reads what is there, or waits for it.
  Result<void> take() {
    const ssize_t count = ::read(pipe_.get(), piece_.data(), piece_.size());
    if (count < 0 && errno == EINTR) return {};
    if (count < 0) return fail_errno("reading what a worker made");
    if (count == 0) pipe_.reset();
    taken_ += static_cast<uint64_t>(count);
    if (taken_ > limit_)
      return fail(Code::kInvalid, "its worker made more than {} bytes of it", limit_);
    return count == 0 ? Result<void>() : (*taker_)(Bytes(piece_).first(static_cast<size_t>(count)));
  }

 private:
  UniqueFd pipe_;
  const BlobTaker* taker_ = nullptr;
  uint64_t limit_ = 0;
  uint64_t taken_ = 0;
  Buffer piece_;
};

// A job's messages and its output, as they come.
class Conversation {
 public:
  Conversation(int socket, Outflow& outflow, const WorkerWatch& watch)
      : socket_(socket), outflow_(outflow), watch_(watch) {}

  // The job's last message; empty when the worker ended without one.
  Result<std::optional<WorkerMessage>> until_message() {
    while (true) {
      RUNNEL_DO(wait());
      if (waits_[1].revents != 0) RUNNEL_DO(outflow_.take());
      if (waits_[0].revents == 0) continue;
      const auto bytes = receive_message(socket_, kMaxMessage, watch_.message_timeout);
      if (!bytes && bytes.error().code == Code::kUnavailable) return std::nullopt;
      if (!bytes) return std::unexpected(bytes.error());
      RUNNEL_TRY(auto message, parse_worker_message(*bytes));
      if (const auto* progress = std::get_if<WorkerProgress>(&message))
        watch_.progress(progress->done);
      else
        return message;
    }
  }

  // The rest of what it wrote.
  Result<void> until_end_of_output() {
    socket_ = -1;
    while (outflow_.descriptor() >= 0) {
      RUNNEL_DO(wait());
      if (waits_[1].revents != 0) RUNNEL_DO(outflow_.take());
    }
    return {};
  }

 private:
  Result<void> wait() {
    if (watch_.give_up()) return fail(Code::kCancelled, "it was given up");
    waits_[0] = {.fd = socket_, .events = POLLIN, .revents = 0};
    waits_[1] = {.fd = outflow_.descriptor(), .events = POLLIN, .revents = 0};
    const auto since = std::chrono::steady_clock::now();
    const int ready = ::poll(waits_, 2, kAskEveryMs);
    if (ready <= 0) return note_silence(ready, std::chrono::steady_clock::now() - since);
    silent_ = {};
    return {};
  }

  // Only time spent waiting counts: whoever takes the output may be slow.
  Result<void> note_silence(int ready, Duration waited) {
    waits_[0].revents = waits_[1].revents = 0;
    if (ready < 0 && errno != EINTR) return fail_errno("waiting for a worker");
    silent_ += waited;
    if (silent_ < watch_.silence_timeout) return {};
    return fail(Code::kUnavailable, "its worker did nothing for {} s",
                std::chrono::duration_cast<std::chrono::seconds>(silent_).count());
  }

  int socket_;
  Outflow& outflow_;
  const WorkerWatch& watch_;
  pollfd waits_[2] = {};
  Duration silent_{};  // since it said or wrote something
};

// `output` becomes the worker's and is closed here.
template <class Done>
Result<Done> run(const WorkerProgram& program, const WorkerJob& job, UniqueFd output,
                 Outflow outflow, const std::vector<int>& inputs, const WorkerWatch& watch) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return fail_errno("starting a worker: a socket");
  const UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  std::vector<int> descriptors = {theirs.get(), output.get()};
  descriptors.insert(descriptors.end(), inputs.begin(), inputs.end());
  RUNNEL_TRY(const auto pid, spawn(program, descriptors));
  Child child(pid, Child::Reach::kItself);
  theirs.reset();
  output.reset();
  if (const auto sent = send_message(ours.get(), serialize(job), kMaxJob, watch.message_timeout);
      !sent && sent.error().code != Code::kUnavailable)
    return std::unexpected(sent.error());
  Conversation conversation(ours.get(), outflow, watch);
  RUNNEL_TRY(auto message, conversation.until_message());
  if (!message) return std::unexpected(death_of(child.wait(), job.limits));
  if (auto* error = std::get_if<Error>(&*message)) return std::unexpected(std::move(*error));
  auto* done = std::get_if<Done>(&*message);
  if (done == nullptr) return fail(Code::kInvalid, "its worker did another job");
  RUNNEL_DO(conversation.until_end_of_output());
  if constexpr (std::is_same_v<Done, LayerDone>)
    if (done->size != outflow.taken())
      return fail(Code::kInvalid, "its worker speaks of {} bytes and wrote {}", done->size,
                  outflow.taken());
  return std::move(*done);
}

}  // namespace

Result<LayerDone> convert_in_worker(const WorkerProgram& program, const WorkerLimits& limits,
                                    uint32_t threads, const LayerJob& job, int source,
                                    const BlobTaker& taker, const WorkerWatch& watch) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("starting a worker: a pipe");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  // Only faster: one that may not have so much goes on with what it has.
  ::fcntl(read_end.get(), F_SETPIPE_SZ, kPipeSize);
  return run<LayerDone>(program, {.what = job, .limits = limits, .threads = threads},
                        std::move(write_end), Outflow(std::move(read_end), taker, max_blob(limits)),
                        {source}, watch);
}

Result<BootDone> build_boot_in_worker(const WorkerProgram& program, const WorkerLimits& limits,
                                      const BootJob& job, const std::vector<int>& layers,
                                      int output, const WorkerWatch& watch) {
  UniqueFd theirs(::fcntl(output, F_DUPFD_CLOEXEC, 0));
  if (!theirs) return fail_errno("starting a worker: duplicating a descriptor");
  return run<BootDone>(program, {.what = job, .limits = limits, .threads = 1}, std::move(theirs),
                       Outflow(), layers, watch);
}

}  // namespace runnel::convert
