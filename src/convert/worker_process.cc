#include "convert/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "artifact/layer_parts.h"
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

Result<void> check_spawn(int error, const char* what) {
  if (error == 0) return {};
  return std::unexpected(system_error(error, fmt::format("starting a worker: {}", what)));
}

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

Result<pid_t> spawn(const WorkerProgram& program, const std::vector<int>& descriptors) {
  FileActions actions;
  Attributes attributes;
  for (const int fd : {0, 1, 2})
    RUNNEL_DO(check_spawn(
        posix_spawn_file_actions_addopen(actions.get(), fd, "/dev/null", O_RDWR, 0), "/dev/null"));
  // Above all of their places first, so that none is overwritten before it has moved.
  std::vector<UniqueFd> moved;
  const int above = kWorkerSocket + static_cast<int>(descriptors.size());
  for (const int fd : descriptors) {
    moved.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, above));
    if (!moved.back()) return fail_errno("starting a worker: duplicating a descriptor");
  }
  for (size_t i = 0; i < moved.size(); ++i)
    RUNNEL_DO(check_spawn(posix_spawn_file_actions_adddup2(actions.get(), moved[i].get(),
                                                           kWorkerSocket + static_cast<int>(i)),
                          "a descriptor"));
  std::vector<char*> argv;
  argv.reserve(program.arguments.size() + 1);
  for (const auto& argument : program.arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char* const no_environment[] = {nullptr};
  pid_t pid = -1;
  RUNNEL_DO(check_spawn(posix_spawn(&pid, program.path.c_str(), actions.get(), attributes.get(),
                                    argv.data(), no_environment),
                        program.path.c_str()));
  return pid;
}

// Killed and reaped at the latest when this goes.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  // Its status, once it has ended.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

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
      const auto bytes = receive_message(socket_);
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
    if (::poll(waits_, 2, kAskEveryMs) >= 0) return {};
    waits_[0].revents = waits_[1].revents = 0;
    return errno == EINTR ? Result<void>() : fail_errno("waiting for a worker");
  }

  int socket_;
  Outflow& outflow_;
  const WorkerWatch& watch_;
  pollfd waits_[2] = {};
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
  Child child(pid);
  theirs.reset();
  output.reset();
  if (const auto sent = send_message(ours.get(), serialize(job));
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
