#include "engine/device_fs.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "base/bytes.h"
#include "base/log.h"
#include "base/worker_pool.h"
#include "cache/fault.h"

namespace runnel::engine {

namespace {

constexpr size_t kRequestBuffer = 64 * 1024;  // no request of a read-only file system is larger
constexpr size_t kMaxRead = 1 << 20;          // what open_fuse_mount allows
constexpr uint64_t kForever_s = 365 * 24 * 3600;
constexpr int kNotifyResend = 7;  // FUSE_NOTIFY_RESEND, Linux 6.9
constexpr auto kDeadlineTick = std::chrono::milliseconds(100);
// A range that did not come in time is refused at once for so long, and its reader's next ranges of
// that device get kNextAfterLate instead of the whole timeout.
constexpr auto kLateFor = std::chrono::seconds(2);
constexpr auto kNextAfterLate = std::chrono::milliseconds(500);
constexpr auto kNearDeadline = std::chrono::milliseconds(200);
constexpr size_t kReadThreads = 4;  // that may wait for a disk

// 64 bits of the digest; 0 and 1 mean "no node" and "the root".
uint64_t node_of(std::string_view hex) {
  uint64_t node = 0;
  for (const char c : hex.substr(0, 16)) {
    node = node << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return node < 2 ? node + 2 : node;
}

fuse_attr attributes(uint64_t node, uint32_t mode, uint64_t size) {
  fuse_attr attr{};
  attr.ino = node;
  attr.size = size;
  attr.blocks = div_up(size, 512);
  attr.mode = mode;
  attr.nlink = 1;
  attr.blksize = 4096;
  return attr;
}

}  // namespace

struct DeviceFs::File {
  std::string name;
  std::shared_ptr<cache::Layer> layer;
};

namespace {

// What a read asks for; `length` is 0 for requests that are no reads.
struct Range {
  uint64_t node = 0;
  uint64_t offset = 0;
  uint64_t length = 0;

  bool overlaps(const Range& other) const {
    return node == other.node && offset < other.offset + other.length &&
           other.offset < offset + length;
  }
};

// A request that is not answered yet. Whoever takes it out of the table answers it.
struct Waiting {
  SteadyTime deadline;
  // A lookup of, or a read from, a file that an earlier worker served and this one not yet.
  std::function<void()> retry;
  Range range;
  uint32_t pid = 0;  // of the reader; 0 when the kernel does not tell
};

// The descriptor and the requests taken from it. Reads that end late keep it alive.
class Connection {
 public:
  explicit Connection(UniqueFd fuse) : fuse_(std::move(fuse)) {}

  int fd() const { return fuse_.get(); }

  void keep(uint64_t unique, Waiting waiting) {
    const std::lock_guard lock(mutex_);
    waiting_[unique] = std::move(waiting);
  }

  // What waits for the file `node` to be registered, taken out of the table.
  std::vector<std::function<void()>> take_retries(uint64_t node) {
    std::vector<std::function<void()>> retries;
    const std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [&](auto& each) {
      if (each.second.range.node != node || !each.second.retry) return false;
      retries.push_back(std::move(each.second.retry));
      return true;
    });
    return retries;
  }

  // Answers a read, unless its deadline has done so.
  void answer(uint64_t unique, const Result<Buffer>& bytes, SteadyTime now) {
    {
      const std::lock_guard lock(mutex_);
      const auto waiting = waiting_.extract(unique);
      if (waiting.empty()) return;
      bytes ? counters_.bytes += bytes->size() : ++counters_.errors;
      if (!bytes && now + kNearDeadline >= waiting.mapped().deadline) {
        note_late_locked(waiting.mapped(), now);
      }
    }
    if (bytes) return reply_bytes(unique, *bytes);
    log::warning("a read ends with EIO: {}", bytes.error().message);
    reply_error(unique, EIO);
  }

  void expire(SteadyTime now) {
    std::vector<uint64_t> expired;
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(waiting_, [&](const auto& each) {
        if (each.second.deadline > now) return false;
        expired.push_back(each.first);
        if (each.second.range.length > 0) note_late_locked(each.second, now);
        return true;
      });
      counters_.errors += expired.size();
      counters_.expired += expired.size();
    }
    for (const uint64_t unique : expired) reply_error(unique, EIO);
  }

  // How long the reader `pid` may wait for the range: zero when bytes of it did not come in time a
  // moment ago, because the kernel repeats a failed read page by page at once; little when another
  // range of the device was late for this reader, because one read(2) becomes several requests, one
  // after the other; without both, each would wait for the deadline again.
  Duration patience(const Range& range, uint32_t pid, SteadyTime now, Duration timeout) {
    const std::lock_guard lock(mutex_);
    std::erase_if(late_, [&](const auto& each) { return each.until <= now; });
    Duration patience = timeout;
    for (const auto& each : late_) {
      if (each.range.overlaps(range)) {
        ++counters_.errors;
        return Duration::zero();
      }
      if (each.range.node == range.node && each.pid == pid && pid != 0) {
        patience = std::min<Duration>(timeout, kNextAfterLate);
      }
    }
    return patience;
  }

  // A read that was answered at once, or that was handed on.
  void count_read(uint64_t bytes, bool waits) {
    const std::lock_guard lock(mutex_);
    ++counters_.reads;
    counters_.bytes += bytes;
    if (waits) ++counters_.waited;
  }
  DeviceFs::Counters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

  template <class Out>
  void reply(uint64_t unique, const Out& out) const {
    reply_bytes(unique, std::as_bytes(std::span(&out, 1)));
  }
  void reply_bytes(uint64_t unique, Bytes bytes) const { send(unique, 0, bytes); }
  void reply_error(uint64_t unique, int error) const { send(unique, -error, {}); }

 private:
  void send(uint64_t unique, int error, Bytes bytes) const {
    fuse_out_header header{.len = static_cast<uint32_t>(sizeof header + bytes.size()),
                           .error = error,
                           .unique = unique};
    iovec parts[] = {{&header, sizeof header},
                     {const_cast<std::byte*>(bytes.data()), bytes.size()}};
    // ENOENT: the reader was killed and the kernel forgot the request.
    (void)!::writev(fuse_.get(), parts, bytes.empty() ? 1 : 2);
  }

  void note_late_locked(const Waiting& waiting, SteadyTime now) {
    late_.push_back({.range = waiting.range, .pid = waiting.pid, .until = now + kLateFor});
  }

  struct Late {
    Range range;
    uint32_t pid;
    SteadyTime until;
  };

  const UniqueFd fuse_;
  mutable std::mutex mutex_;
  std::vector<Late> late_;
  std::map<uint64_t, Waiting> waiting_;  // by the kernel's unique number
  DeviceFs::Counters counters_;
};

}  // namespace

class DeviceFs::Impl {
 public:
  Impl(UniqueFd fuse, const Options& options, const Clock& clock)
      : connection_(std::make_shared<Connection>(std::move(fuse))),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        options_(options),
        clock_(clock),
        grace_until_(clock.now() + options.grace),
        readers_(kReadThreads) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    for (auto& thread : threads_) thread.join();
  }

  bool start() {
    fuse_out_header resend{.len = sizeof resend, .error = kNotifyResend, .unique = 0};
    const bool can_resend = ::write(connection_->fd(), &resend, sizeof resend) == sizeof resend;
    for (size_t i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { serve(); });
    threads_.emplace_back([this] { keep_deadlines(); });
    return can_resend;
  }

  Result<void> add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer) {
    const std::string name(digest.hex());
    const uint64_t node = node_of(name);
    {
      const std::lock_guard lock(mutex_);
      auto& file = files_[node];
      if (file && file->name != name) {
        return fail(Code::kConflict, "layers {} and {} have the same node ID", file->name, name);
      }
      file = std::make_shared<File>(File{.name = name, .layer = std::move(layer)});
    }
    for (const auto& retry : connection_->take_retries(node)) retry();
    return {};
  }

  void remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer) {
    const std::lock_guard lock(mutex_);
    const auto at = files_.find(node_of(digest.hex()));
    if (at != files_.end() && at->second->layer == layer) files_.erase(at);
  }

  Counters counters() const { return connection_->counters(); }

 private:
  // One of the threads that take requests from the kernel.
  void serve() {
    Buffer buffer(kRequestBuffer);
    Buffer into(kMaxRead);
    pollfd waiting[] = {{connection_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    for (;;) {
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
      if ((waiting[1].revents & POLLIN) != 0) return;
      const ssize_t size = ::read(connection_->fd(), buffer.data(), buffer.size());
      if (size < 0) {
        if (errno == ENODEV) return;  // unmounted
        continue;                     // EAGAIN: another thread took it; ENOENT: it was withdrawn
      }
      if (static_cast<size_t>(size) >= sizeof(fuse_in_header)) {
        handle(Bytes(buffer).first(static_cast<size_t>(size)), into);
      }
    }
  }

  void handle(Bytes request, MutableBytes into) {
    const auto header = load_le<fuse_in_header>(request.data());
    const Bytes body = request.subspan(sizeof header);
    switch (header.opcode) {
      case FUSE_LOOKUP: {
        const auto text = as_text(body);
        lookup(header.unique, std::string(text.substr(0, text.find('\0'))));
        return;
      }
      case FUSE_GETATTR: getattr(header.unique, header.nodeid); return;
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        fuse_open_out out{};
        out.open_flags = FOPEN_KEEP_CACHE;
        connection_->reply(header.unique, out);
        return;
      }
      case FUSE_READ:
        if (body.size() >= sizeof(fuse_read_in)) {
          const auto in = load_le<fuse_read_in>(body.data());
          read(header.unique, {.node = header.nodeid, .offset = in.offset, .length = in.size},
               header.pid, into);
        } else {
          connection_->reply_error(header.unique, EIO);
        }
        return;
      case FUSE_READDIR: connection_->reply_bytes(header.unique, {}); return;
      case FUSE_STATFS: {
        fuse_statfs_out out{};
        out.st.bsize = 4096;
        out.st.frsize = 4096;
        out.st.namelen = 255;
        connection_->reply(header.unique, out);
        return;
      }
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR: connection_->reply_bytes(header.unique, {}); return;
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT: return;  // without an answer; a read ends by itself
      default: connection_->reply_error(header.unique, ENOSYS); return;
    }
  }

  std::shared_ptr<File> find(uint64_t node) const {
    const std::lock_guard lock(mutex_);
    const auto found = files_.find(node);
    return found == files_.end() ? nullptr : found->second;
  }

  // Keeps a request for a file that may be registered yet. False when there is no hope.
  bool wait_for(uint64_t unique, uint64_t node, std::function<void()> retry) {
    const std::lock_guard lock(mutex_);  // so that add() comes before or sees it
    if (clock_.now() >= grace_until_ || files_.contains(node)) return false;
    connection_->keep(
        unique, {.deadline = grace_until_, .retry = std::move(retry), .range = {.node = node}});
    return true;
  }

  void lookup(uint64_t unique, const std::string& name) {
    const bool digest =
        name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
    const uint64_t node = digest ? node_of(name) : 0;
    const auto file = find(node);
    if (!digest || (file && file->name != name)) return connection_->reply_error(unique, ENOENT);
    if (!file) {
      if (!wait_for(unique, node, [this, unique, name] { lookup(unique, name); })) {
        connection_->reply_error(unique, ENOENT);
      }
      return;
    }
    fuse_entry_out out{};
    out.nodeid = node;
    out.entry_valid = kForever_s;
    out.attr_valid = kForever_s;
    out.attr = attributes(node, S_IFREG | 0400, file->layer->size());
    connection_->reply(unique, out);
  }

  void getattr(uint64_t unique, uint64_t node) {
    fuse_attr_out out{};
    out.attr_valid = kForever_s;
    if (node == FUSE_ROOT_ID) {
      out.attr = attributes(node, S_IFDIR | 0500, 0);
      return connection_->reply(unique, out);
    }
    const auto file = find(node);
    if (!file) {
      if (!wait_for(unique, node, [this, unique, node] { getattr(unique, node); })) {
        connection_->reply_error(unique, ESTALE);
      }
      return;
    }
    out.attr = attributes(node, S_IFREG | 0400, file->layer->size());
    connection_->reply(unique, out);
  }

  // `into` is scratch space of this thread.
  void read(uint64_t unique, Range range, uint32_t pid, MutableBytes into) {
    cache::fault("request-read");
    const auto file = find(range.node);
    if (!file) {
      if (!wait_for(unique, range.node,
                    [this, unique, range, pid] { read(unique, range, pid, {}); })) {
        connection_->reply_error(unique, EIO);
      }
      return;
    }
    const uint64_t end = file->layer->size();
    if (range.offset >= end || range.length == 0) return connection_->reply_bytes(unique, {});
    range.length = std::min(range.length, end - range.offset);
    if (range.length <= into.size() &&
        file->layer->read_now(range.offset, into.first(range.length))) {
      connection_->count_read(range.length, false);
      return connection_->reply_bytes(unique, into.first(range.length));
    }
    wait_for_layer(unique, range, pid, file);
  }

  void wait_for_layer(uint64_t unique, const Range& range, uint32_t pid,
                      const std::shared_ptr<File>& file) {
    connection_->count_read(0, true);
    const auto now = clock_.now();
    const auto patience = connection_->patience(range, pid, now, options_.read_timeout);
    if (patience == Duration::zero()) return connection_->reply_error(unique, EIO);
    const auto deadline = now + patience;
    connection_->keep(unique, {.deadline = deadline, .retry = {}, .range = range, .pid = pid});
    readers_.submit([connection = connection_, &clock = clock_, unique, file, range, deadline] {
      file->layer->read(range.offset, range.length, fetch::Priority::kDemand, deadline,
                        [connection, &clock, unique](Result<Buffer> bytes) {
                          connection->answer(unique, bytes, clock.now());
                        });
    });
  }

  void keep_deadlines() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kDeadlineTick, [this] { return stopping_; })) {
      lock.unlock();
      connection_->expire(clock_.now());
      options_.alive();
      lock.lock();
    }
  }

  const std::shared_ptr<Connection> connection_;
  const UniqueFd stop_;
  const Options options_;
  const Clock& clock_;
  const SteadyTime grace_until_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::map<uint64_t, std::shared_ptr<File>> files_;  // by node ID

  std::vector<std::thread> threads_;
  WorkerPool readers_;  // last: its tasks use all of the above
};

DeviceFs::DeviceFs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DeviceFs::~DeviceFs() = default;

Result<std::unique_ptr<DeviceFs>> DeviceFs::start(UniqueFd fuse, const Options& options,
                                                  const Clock& clock) {
  std::unique_ptr<DeviceFs> fs(
      new DeviceFs(std::make_unique<Impl>(std::move(fuse), options, clock)));
  fs->can_resend_ = fs->impl_->start();
  return fs;
}

Result<void> DeviceFs::add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer) {
  return impl_->add(digest, std::move(layer));
}
void DeviceFs::remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer) {
  impl_->remove(digest, layer);
}
DeviceFs::Counters DeviceFs::counters() const {
  return impl_->counters();
}

}  // namespace runnel::engine
