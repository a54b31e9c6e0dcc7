#include "engine/pulse.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/memory_file.h"

namespace runnel::engine {

namespace {

constexpr const char* kVariable = "RUNNEL_PULSE_FD";
constexpr size_t kSize = 4096;
constexpr int kNotifyResend = 7;  // FUSE_NOTIFY_RESEND, Linux 6.9

using Word = std::atomic<uint32_t>;
static_assert(Word::is_always_lock_free, "it is shared between processes");

struct Words {
  Word beats;
  Word breaths;
};
static_assert(sizeof(Words) <= kSize);

constexpr auto kBreath = std::chrono::milliseconds(500);  // two to a tick of the holder

}  // namespace

Result<Pulse> Pulse::map(UniqueFd memory) {
  void* words = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (words == MAP_FAILED) return fail_errno("map the pulse");
  return Pulse(std::move(memory), words);
}

Result<Pulse> Pulse::create() {
  RUNNEL_TRY(const int memory, keep_memory_file(kVariable, "runnel-pulse", kSize));
  return map(UniqueFd(::fcntl(memory, F_DUPFD_CLOEXEC, 3)));
}

Result<Pulse> Pulse::inherited() {
  const char* text = std::getenv(kVariable);
  if (text == nullptr) {
    UniqueFd memory(::memfd_create("runnel-pulse", MFD_CLOEXEC));
    if (!memory || ::ftruncate(memory.get(), kSize) != 0) return fail_errno("make the pulse");
    return map(std::move(memory));
  }
  int fd = -1;
  const std::string_view view(text);
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), fd);
  if (error != std::errc() || fd < 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return fail(Code::kInvalid, "{}=\"{}\" is no descriptor", kVariable, text);
  }
  return map(UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)));
}

Pulse::Pulse(Pulse&& other) noexcept
    : memory_(std::move(other.memory_)), words_(std::exchange(other.words_, nullptr)) {}

Pulse::~Pulse() {
  if (words_ != nullptr) ::munmap(words_, kSize);
}

void Pulse::beat() {
  static_cast<Words*>(words_)->beats.fetch_add(1, std::memory_order_relaxed);
}

void Pulse::breathe() {
  static_cast<Words*>(words_)->breaths.fetch_add(1, std::memory_order_relaxed);
}

SignsOfLife Pulse::signs() const {
  const auto* words = static_cast<const Words*>(words_);
  return {.beats = words->beats.load(std::memory_order_relaxed),
          .breaths = words->breaths.load(std::memory_order_relaxed)};
}

Breathing::Breathing(Pulse pulse) : pulse_(std::move(pulse)) {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    do {
      pulse_.breathe();
    } while (!wake.wait_for(lock, stop, kBreath, [&] { return stop.stop_requested(); }));
  });
}

Breathing::~Breathing() = default;

size_t refuse_requests(int fuse) {
  fuse_out_header resend{.len = sizeof resend, .error = kNotifyResend, .unique = 0};
  (void)!::write(fuse, &resend, sizeof resend);  // before 6.9: what was taken stays with the kernel

  alignas(8) static std::byte buffer[64 * 1024];  // no request of a read-only file system is larger
  size_t refused = 0;
  for (;;) {
    const ssize_t size = ::read(fuse, buffer, sizeof buffer);
    if (size < 0 && (errno == EINTR || errno == ENOENT)) continue;  // ENOENT: it was withdrawn
    if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) return refused;
    const auto header = load_le<fuse_in_header>(buffer);
    if (header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET ||
        header.opcode == FUSE_INTERRUPT) {
      continue;  // these have no answer
    }
    const fuse_out_header refusal{.len = sizeof refusal, .error = -EIO, .unique = header.unique};
    (void)!::write(fuse, &refusal, sizeof refusal);
    ++refused;
  }
}

}  // namespace runnel::engine
