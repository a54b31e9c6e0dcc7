#include "engine/device_fs.h"

#include <linux/fuse.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "cache/fault.h"
#include "engine/fuse_server.h"
#include "engine/node_table.h"
#include "engine/tree_fs.h"

namespace runnel::engine {

namespace {

constexpr uint64_t kForever_s = 365 * 24 * 3600;
constexpr uint64_t kTrialSize = kTrialBlocks * erofs::kBlockSize;

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

bool is_digest(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The number of "tree-N"; 0 when the name is another.
uint32_t tree_number(std::string_view name) {
  constexpr std::string_view kPrefix = "tree-";
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const bool good = error == std::errc() && end == name.data() + name.size();
  return good && number <= kMaxTreeNumber ? number : 0;
}

}  // namespace

class DeviceFs::Impl {
 public:
  Impl(std::shared_ptr<FuseConnection> connection, const Options& options, const Clock& clock)
      : connection_(std::move(connection)),
        options_(options),
        clock_(clock),
        nodes_(connection_),
        server_(connection_, clock) {
    trees_ = std::make_unique<TreeFs>(connection_, nodes_, server_, clock);
  }

  Result<void> start() {
    RUNNEL_TRY(const auto outstanding, connection_->take_over(options_.recovery));
    return server_.start(
        options_.threads, options_.alive,
        [this](const FuseRequest& request, MutableBytes scratch) { handle(request, scratch); },
        outstanding);
  }

  FuseConnection& connection() const { return *connection_; }
  NodeTable& nodes() { return nodes_; }

 private:
  void handle(const FuseRequest& request, MutableBytes scratch) {
    switch (request.opcode) {
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT: return connection_->dismiss(request.ticket);  // a read ends by itself
      default: break;
    }
    if (is_tree_node(request.node)) return trees_->handle(request);
    handle_device(request, scratch);
  }

  void handle_device(const FuseRequest& request, MutableBytes scratch) {
    const auto ticket = request.ticket;
    switch (request.opcode) {
      case FUSE_LOOKUP: return lookup(ticket, std::string(request.name()));
      case FUSE_GETATTR: return getattr(ticket, request.node);
      // The kernel asks for none any more, and keeps what it has cached (fs/fuse/file.c,
      // fuse_file_open()): opening a file is no round trip.
      case FUSE_OPEN:
      case FUSE_OPENDIR: return connection_->reply_error(ticket, ENOSYS);
      case FUSE_READ: {
        const auto* in = request.as<fuse_read_in>();
        if (in == nullptr) return connection_->reply_error(ticket, EIO);
        return read(ticket, {.node = request.node, .offset = in->offset, .length = in->size},
                    request.pid, scratch);
      }
      case FUSE_STATFS: {
        fuse_statfs_out out{};
        out.st.bsize = 4096;
        out.st.frsize = 4096;
        out.st.namelen = 255;
        return connection_->reply(ticket, out);
      }
      case FUSE_READDIR:
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR: return connection_->reply_bytes(ticket, {});
      // ENOSYS would switch them off for the whole connection, trees included.
      case FUSE_GETXATTR: return connection_->reply_error(ticket, ENODATA);
      case FUSE_LISTXATTR: return list_no_xattrs(request);
      case FUSE_READDIRPLUS: return connection_->reply_bytes(ticket, {});
      default: return connection_->reply_error(ticket, ENOSYS);
    }
  }

  void list_no_xattrs(const FuseRequest& request) {
    const auto* in = request.as<fuse_getxattr_in>();
    if (in != nullptr && in->size == 0) {
      return connection_->reply(request.ticket, fuse_getxattr_out{});
    }
    connection_->reply_bytes(request.ticket, {});
  }

  void lookup(Ticket ticket, const std::string& name) {
    if (name == kTrialName) return reply_file(ticket, kTrialNode, kTrialSize);
    if (const uint32_t number = tree_number(name)) return lookup_tree(ticket, number);
    const uint64_t node = is_digest(name) ? layer_node(name) : 0;
    const auto file = nodes_.layer(node);
    if (node == 0 || (file && file->name != name)) return connection_->reply_error(ticket, ENOENT);
    if (!file) {
      if (!nodes_.wait_for(ticket, node, [this, ticket, name] { lookup(ticket, name); })) {
        connection_->reply_error(ticket, ENOENT);
      }
      return;
    }
    reply_file(ticket, node, file->layer->size());
  }

  void reply_file(Ticket ticket, uint64_t node, uint64_t size) {
    fuse_entry_out out{};
    out.nodeid = node;
    out.entry_valid = kForever_s;
    out.attr_valid = kForever_s;
    out.attr = attributes(node, S_IFREG | 0400, size);
    connection_->reply(ticket, out);
  }

  void lookup_tree(Ticket ticket, uint32_t number) {
    const uint64_t root = tree_node(number, 0);
    const auto tree = nodes_.tree(root);
    if (!tree) {
      if (!nodes_.wait_for(ticket, root, [this, ticket, number] { lookup_tree(ticket, number); })) {
        connection_->reply_error(ticket, ENOENT);
      }
      return;
    }
    const auto entry = TreeFs::root_entry(number, *tree);
    if (entry) return connection_->reply(ticket, *entry);
    connection_->reply_error(ticket, EIO);
  }

  void getattr(Ticket ticket, uint64_t node) {
    fuse_attr_out out{};
    out.attr_valid = kForever_s;
    if (node == FUSE_ROOT_ID || node == kTrialNode) {
      out.attr = node == FUSE_ROOT_ID ? attributes(node, S_IFDIR | 0500, 0)
                                      : attributes(node, S_IFREG | 0400, kTrialSize);
      return connection_->reply(ticket, out);
    }
    const auto file = nodes_.layer(node);
    if (!file) {
      if (!nodes_.wait_for(ticket, node, [this, ticket, node] { getattr(ticket, node); })) {
        connection_->reply_error(ticket, ESTALE);
      }
      return;
    }
    out.attr = attributes(node, S_IFREG | 0400, file->layer->size());
    connection_->reply(ticket, out);
  }

  void read(Ticket ticket, ReadRange range, uint32_t pid, MutableBytes scratch) {
    if (range.node == kTrialNode) return read_trial(ticket, range);
    cache::fault("request-read");
    const auto file = nodes_.layer(range.node);
    if (!file) {
      if (!nodes_.wait_for(ticket, range.node,
                           [this, ticket, range, pid] { read(ticket, range, pid, {}); })) {
        connection_->reply_error(ticket, EIO);
      }
      return;
    }
    const uint64_t end = file->layer->size();
    if (range.offset >= end || range.length == 0) return connection_->reply_bytes(ticket, {});
    range.length = std::min(range.length, end - range.offset);
    if (range.length <= scratch.size() &&
        file->layer->read_now(range.offset, scratch.first(range.length))) {
      connection_->count_read(range.length, false);
      return connection_->reply_bytes(ticket, scratch.first(range.length));
    }
    wait_for_layer(ticket, range, pid, file);
  }

  // A range that is not all there is an error, as with a layer.
  void read_trial(Ticket ticket, const ReadRange& range) {
    constexpr uint64_t kPresent = kTrialPresentBlocks * erofs::kBlockSize;
    if (range.offset >= kTrialSize) return connection_->reply_bytes(ticket, {});
    for (const uint64_t half : {0, 1}) {
      if (range.offset == kTrialPair[half] * erofs::kBlockSize &&
          range.length == erofs::kBlockSize) {
        return read_trial_pair(ticket, half);
      }
    }
    if (range.offset >= kPresent || range.length > kPresent - range.offset) {
      return connection_->reply_error(ticket, EIO);
    }
    connection_->reply_bytes(ticket, Buffer(range.length, static_cast<std::byte>(kTrialFill)));
  }

  // Once one of them has waited in vain, none waits again: there is one trial for each worker.
  void read_trial_pair(Ticket ticket, uint64_t half) {
    const Buffer content(erofs::kBlockSize, static_cast<std::byte>(kTrialFill));
    const auto now = clock_.now();
    const std::lock_guard lock(trial_mutex_);
    auto& other = trial_pair_[1 - half];
    if (other && connection_->take_out(*other)) {
      trial_until_.reset();
      connection_->reply_bytes(*std::exchange(other, {}), content);
      return connection_->reply_bytes(ticket, content);
    }
    if (!trial_until_) trial_until_ = now + kTrialPairTime;
    if (now >= *trial_until_) return connection_->reply_error(ticket, EIO);
    trial_pair_[half] = ticket;
    connection_->keep(ticket, {.deadline = *trial_until_, .retry = {}, .range = {}});
  }

  void wait_for_layer(Ticket ticket, const ReadRange& range, uint32_t pid,
                      const std::shared_ptr<const LayerFile>& file) {
    connection_->count_read(0, true);
    const auto until = connection_->deadline(ticket, range, pid);
    if (!until) return connection_->reply_error(ticket, EIO);
    connection_->keep(ticket, {.deadline = *until, .retry = {}, .range = range, .pid = pid});
    const auto patience = connection_->waits_for(ticket, {supplier(range.node, file)});
    if (!patience) return;
    server_.submit(
        [connection = connection_, &clock = clock_, ticket, file, range, until = *patience] {
          file->layer->read(
              range.offset, range.length, fetch::Priority::kDemand, until.reader,
              [connection, &clock, ticket](const Result<cache::ReadBytes>& read) {
                connection->answer(ticket, cache::bytes_of(read), clock.now());
              },
              until.fetch);
        });
  }

  const std::shared_ptr<FuseConnection> connection_;
  const Options options_;
  const Clock& clock_;
  NodeTable nodes_;
  std::unique_ptr<TreeFs> trees_;
  std::mutex trial_mutex_;
  std::optional<Ticket> trial_pair_[2];  // that wait
  std::optional<SteadyTime> trial_until_;
  FuseServer server_;  // last: its tasks use all of the above
};

DeviceFs::DeviceFs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DeviceFs::~DeviceFs() = default;

Result<std::unique_ptr<DeviceFs>> DeviceFs::start(FuseChannel channel, const Options& options,
                                                  const Clock& clock) {
  RUNNEL_TRY(auto connection,
             FuseConnection::open(std::move(channel), options.read_timeout, clock));
  auto impl = std::make_unique<Impl>(std::move(connection), options, clock);
  RUNNEL_DO(impl->start());
  return std::unique_ptr<DeviceFs>(new DeviceFs(std::move(impl)));
}

Result<void> DeviceFs::add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer) {
  return impl_->nodes().add(digest, std::move(layer));
}
void DeviceFs::remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer) {
  impl_->nodes().remove(digest, layer);
}
void DeviceFs::add_tree(uint32_t number, std::shared_ptr<const ImageTree> tree) {
  impl_->nodes().add(number, std::move(tree));
}
void DeviceFs::remove_tree(uint32_t number) {
  impl_->nodes().remove(number);
}
void DeviceFs::expect_no_more() {
  impl_->nodes().expect_no_more();
}
void DeviceFs::set_senders(Senders senders) {
  impl_->connection().set_senders(senders);
}
Recovery DeviceFs::recovery() const {
  return impl_->connection().recovery();
}
const std::string& DeviceFs::recovery_reason() const {
  return impl_->connection().recovery_reason();
}
ReadCounters DeviceFs::counters() const {
  return impl_->connection().counters();
}

}  // namespace runnel::engine
