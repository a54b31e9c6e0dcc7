#include "convert/worker_job.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "artifact/artifact.h"
#include "base/quote.h"
#include "base/utf8.h"

namespace runnel::convert {

namespace {

enum class JobKind : uint8_t { kLayer = 1, kBoot = 2 };
enum class MessageKind : uint8_t { kProgress = 1, kLayerDone = 2, kBootDone = 3, kFailed = 4 };

constexpr uint32_t kMaxThreads = 256;
constexpr uint32_t kMaxLayers = 65536;

void write_text(ByteWriter& out, std::string_view text) {
  out.u32(static_cast<uint32_t>(text.size()));
  out.bytes(as_bytes(text));
}

Result<std::string> read_text(ByteReader& in) {
  RUNNEL_TRY(const auto size, in.u32());
  RUNNEL_TRY(const auto bytes, in.bytes(size));
  return std::string(as_text(bytes));
}

void write_texts(ByteWriter& out, const std::vector<std::string>& texts) {
  out.u32(static_cast<uint32_t>(texts.size()));
  for (const auto& text : texts) write_text(out, text);
}

Result<std::vector<std::string>> read_texts(ByteReader& in) {
  RUNNEL_TRY(const auto count, in.u32());
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < count; ++i) {
    RUNNEL_TRY(auto text, read_text(in));
    texts.push_back(std::move(text));
  }
  return texts;
}

Result<oci::Digest> read_digest(ByteReader& in) {
  RUNNEL_TRY(const auto text, read_text(in));
  return oci::Digest::parse(text);
}

Result<WorkerLimits> read_limits(ByteReader& in) {
  WorkerLimits limits;
  for (auto* field : {&limits.memory_bytes, &limits.cpu_seconds, &limits.max_plain_bytes,
                      &limits.max_ratio, &limits.max_entries}) {
    RUNNEL_TRY(*field, in.u64());
  }
  return limits;
}

Result<LayerJob> read_layer_job(ByteReader& in) {
  LayerJob job;
  RUNNEL_TRY(job.diff_id, read_digest(in));
  RUNNEL_TRY(job.source_size, in.u64());
  return job;
}

Result<std::vector<BootLayer>> read_layers(ByteReader& in) {
  RUNNEL_TRY(const auto count, in.u32());
  if (count > kMaxLayers) return fail(Code::kInvalid, "a job of {} layers", count);
  std::vector<BootLayer> layers;
  for (uint32_t i = 0; i < count; ++i) {
    BootLayer layer;
    RUNNEL_TRY(layer.blob, read_digest(in));
    RUNNEL_TRY(layer.size, in.u64());
    RUNNEL_TRY(layer.descriptor, in.u32());
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<BootJob> read_boot_job(ByteReader& in) {
  BootJob job;
  RUNNEL_TRY(job.generation, in.u64());
  RUNNEL_TRY(job.profile, read_text(in));
  RUNNEL_TRY(job.process.arguments, read_texts(in));
  RUNNEL_TRY(job.process.environment, read_texts(in));
  RUNNEL_TRY(job.process.working_directory, read_text(in));
  RUNNEL_TRY(job.layers, read_layers(in));
  RUNNEL_TRY(job.earlier_profile, read_text(in));
  RUNNEL_TRY(job.earlier_layers, read_layers(in));
  RUNNEL_TRY(job.shared_profile, read_text(in));
  return job;
}

Result<void> at_end(const ByteReader& in) {
  if (in.at_end()) return {};
  return fail(Code::kInvalid, "a message with {} bytes too many", in.remaining());
}

// It stands in a manifest that the registry signs.
Result<std::string> read_hot(ByteReader& in) {
  RUNNEL_TRY(auto text, read_text(in));
  if (text.empty() || text == artifact::kHotGuessed || text == artifact::kHotSeeded ||
      text == artifact::kHotRecorded)
    return text;
  return fail(Code::kInvalid, "a hot pack of an unknown kind, {}", quote(text));
}

// It goes into JSON and into logs, as a sentence of ours.
Result<std::string> read_sentence(ByteReader& in) {
  RUNNEL_TRY(const auto text, read_text(in));
  std::string sentence;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t size = utf8_size(rest);
    const bool control = size == 1 && (rest.front() < ' ' || rest.front() == 0x7f);
    const auto next = size == 0 || control ? "?" : rest.substr(0, size);
    if (sentence.size() + next.size() > kMaxFailureText) break;
    sentence += next;
    rest.remove_prefix(std::max<size_t>(size, 1));
  }
  return sentence;
}

Result<WorkerMessage> read_message(ByteReader& in) {
  RUNNEL_TRY(const auto kind, in.u8());
  switch (static_cast<MessageKind>(kind)) {
    case MessageKind::kProgress: {
      WorkerProgress progress;
      RUNNEL_TRY(progress.done, in.u64());
      return progress;
    }
    case MessageKind::kLayerDone: {
      LayerDone done;
      RUNNEL_TRY(done.size, in.u64());
      RUNNEL_TRY(done.plain_bytes, in.u64());
      return done;
    }
    case MessageKind::kBootDone: {
      BootDone done;
      RUNNEL_TRY(done.boot, read_digest(in));
      RUNNEL_TRY(done.size, in.u64());
      RUNNEL_TRY(done.head, read_digest(in));
      RUNNEL_TRY(done.head_size, in.u64());
      RUNNEL_TRY(done.hot, read_hot(in));
      return done;
    }
    case MessageKind::kFailed: {
      RUNNEL_TRY(const auto code, in.u8());
      if (code > static_cast<uint8_t>(Code::kCancelled))
        return fail(Code::kInvalid, "a failure of an unknown kind, {}", code);
      RUNNEL_TRY(auto text, read_sentence(in));
      return Error(static_cast<Code>(code), std::move(text));
    }
  }
  return fail(Code::kInvalid, "a message of an unknown kind, {}", kind);
}

struct Write {
  ByteWriter& out;

  void kind(MessageKind value) const { out.u8(static_cast<uint8_t>(value)); }

  void operator()(const WorkerProgress& progress) const {
    kind(MessageKind::kProgress);
    out.u64(progress.done);
  }
  void operator()(const LayerDone& done) const {
    kind(MessageKind::kLayerDone);
    out.u64(done.size);
    out.u64(done.plain_bytes);
  }
  void operator()(const BootDone& done) const {
    kind(MessageKind::kBootDone);
    write_text(out, done.boot.to_string());
    out.u64(done.size);
    write_text(out, done.head.to_string());
    out.u64(done.head_size);
    write_text(out, done.hot);
  }
  void operator()(const Error& error) const {
    kind(MessageKind::kFailed);
    out.u8(static_cast<uint8_t>(error.code));
    write_text(out, error.message);
  }
  void operator()(const LayerJob& job) const {
    write_text(out, job.diff_id.to_string());
    out.u64(job.source_size);
  }
  void operator()(const BootJob& job) const {
    out.u64(job.generation);
    write_text(out, job.profile);
    write_texts(out, job.process.arguments);
    write_texts(out, job.process.environment);
    write_text(out, job.process.working_directory);
    layers(job.layers);
    write_text(out, job.earlier_profile);
    layers(job.earlier_layers);
    write_text(out, job.shared_profile);
  }
  void layers(const std::vector<BootLayer>& all) const {
    out.u32(static_cast<uint32_t>(all.size()));
    for (const auto& layer : all) {
      write_text(out, layer.blob.to_string());
      out.u64(layer.size);
      out.u32(layer.descriptor);
    }
  }
};

// One message, which may have to be over in time. Without a deadline the calls themselves wait: a
// confined worker has no other.
class Transfer {
 public:
  Transfer(int socket, std::optional<Duration> within) : socket_(socket) {
    if (within) deadline_ = clock_.now() + *within;
  }

  Result<void> read(MutableBytes into) const {
    while (!into.empty()) {
      RUNNEL_DO(wait_for(POLLIN));
      const auto count = ::read(socket_, into.data(), into.size());
      if (count < 0 && may_go_on()) continue;
      if (count < 0) return fail_errno("reading from the worker's socket");
      if (count == 0)
        return fail(Code::kUnavailable, "the other end of the worker's socket is gone");
      into = into.subspan(static_cast<size_t>(count));
    }
    return {};
  }

  Result<void> send(Bytes rest) const {
    while (!rest.empty()) {
      RUNNEL_DO(wait_for(POLLOUT));
      const auto count =
          ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL | (deadline_ ? MSG_DONTWAIT : 0));
      if (count < 0 && may_go_on()) continue;
      if (count < 0) return fail_errno("writing to the worker's socket");
      rest = rest.subspan(static_cast<size_t>(count));
    }
    return {};
  }

 private:
  static bool may_go_on() { return errno == EINTR || errno == EAGAIN; }

  Result<void> wait_for(short event) const {
    if (!deadline_) return {};
    pollfd waiting{.fd = socket_, .events = event, .revents = 0};
    for (;;) {
      const int ready = ::poll(&waiting, 1, left_ms());
      if (ready > 0) return {};
      if (ready == 0)
        return fail(Code::kInvalid, "the worker's socket: a message that comes to no end");
      if (errno != EINTR) return fail_errno("waiting for the worker's socket");
    }
  }

  int left_ms() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - clock_.now());
    return static_cast<int>(std::max<int64_t>(left.count(), 0));
  }

  const SystemClock clock_;
  const int socket_;
  std::optional<SteadyTime> deadline_;
};

}  // namespace

Buffer serialize(const WorkerJob& job) {
  ByteWriter out;
  out.u8(static_cast<uint8_t>(std::holds_alternative<LayerJob>(job.what) ? JobKind::kLayer
                                                                         : JobKind::kBoot));
  const auto& limits = job.limits;
  for (const auto value : {limits.memory_bytes, limits.cpu_seconds, limits.max_plain_bytes,
                           limits.max_ratio, limits.max_entries})
    out.u64(value);
  out.u32(job.threads);
  std::visit(Write{out}, job.what);
  return out.take();
}

Result<WorkerJob> parse_worker_job(Bytes bytes) {
  ByteReader in(bytes, "job");
  WorkerJob job;
  RUNNEL_TRY(const auto kind, in.u8());
  RUNNEL_TRY(job.limits, read_limits(in));
  RUNNEL_TRY(job.threads, in.u32());
  if (job.threads == 0 || job.threads > kMaxThreads)
    return fail(Code::kInvalid, "a job for {} threads", job.threads);
  if (kind == static_cast<uint8_t>(JobKind::kLayer)) {
    RUNNEL_TRY(job.what, read_layer_job(in));
  } else if (kind == static_cast<uint8_t>(JobKind::kBoot)) {
    RUNNEL_TRY(job.what, read_boot_job(in));
  } else {
    return fail(Code::kInvalid, "a job of an unknown kind, {}", kind);
  }
  RUNNEL_DO(at_end(in));
  return job;
}

Buffer serialize(const WorkerMessage& message) {
  ByteWriter out;
  std::visit(Write{out}, message);
  return out.take();
}

Result<WorkerMessage> parse_worker_message(Bytes bytes) {
  ByteReader in(bytes, "worker's message");
  RUNNEL_TRY(auto message, read_message(in));
  RUNNEL_DO(at_end(in));
  return message;
}

Buffer framed(Bytes message) {
  ByteWriter frame;
  frame.u32(static_cast<uint32_t>(message.size()));
  frame.bytes(message);
  return frame.take();
}

Result<void> send_message(int socket, Bytes message, size_t limit, std::optional<Duration> within) {
  if (message.size() > limit) return fail(Code::kInvalid, "a message of {} bytes", message.size());
  return Transfer(socket, within).send(framed(message));
}

Result<Buffer> receive_message(int socket, size_t limit, std::optional<Duration> within) {
  const Transfer transfer(socket, within);
  Buffer header(sizeof(uint32_t));
  RUNNEL_DO(transfer.read(header));
  const auto size = load_le<uint32_t>(header.data());
  if (size > limit) return fail(Code::kInvalid, "a message of {} bytes", size);
  Buffer message(size);
  RUNNEL_DO(transfer.read(message));
  return message;
}

}  // namespace runnel::convert
