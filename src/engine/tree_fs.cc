#include "engine/tree_fs.h"

#include <dirent.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "cache/fault.h"
#include "engine/joined_read.h"

namespace runnel::engine {

namespace {

// The user of a request whose mount could be ID-mapped: FUSE_INVALID_UIDGID,
// include/uapi/linux/fuse.h of Linux 6.12.
constexpr uint32_t kNoUser = UINT32_MAX;

constexpr uint64_t kForever_s = 365 * 24 * 3600;
constexpr size_t kMaxListing = 1 << 20;
constexpr size_t kMaxRead = 1 << 20;

Result<fuse_entry_out> entry_of(uint64_t root, const erofs::Node& node, bool is_root) {
  if (node.nid > 0xffffffff) return fail(Code::kUnsupported, "inode {} is too far out", node.nid);
  fuse_entry_out out{};
  out.nodeid = is_root ? root : root | node.nid;
  out.entry_valid = kForever_s;
  out.attr_valid = kForever_s;
  out.attr = ImageTree::attributes(node);
  return out;
}

// Appends a directory entry as READDIR or, with attributes, READDIRPLUS has it. False when there is
// no room.
bool append(Buffer& listing, size_t room, const ImageTree::Entry& entry,
            const fuse_entry_out* attributes) {
  const size_t head = attributes == nullptr ? sizeof(fuse_dirent) : sizeof(fuse_direntplus);
  const size_t size = round_up(head + entry.name.size(), sizeof(uint64_t));
  if (listing.size() + size > room) return false;
  fuse_dirent dirent{};
  dirent.ino = entry.inode;
  dirent.off = entry.next;
  dirent.namelen = static_cast<uint32_t>(entry.name.size());
  dirent.type = entry.type;
  const size_t at = listing.size();
  listing.resize(at + size);
  std::byte* to = listing.data() + at;
  if (attributes != nullptr) {
    std::memcpy(to, attributes, sizeof *attributes);
    to += sizeof *attributes;
  }
  std::memcpy(to, &dirent, offsetof(fuse_dirent, name));
  std::memcpy(to + offsetof(fuse_dirent, name), entry.name.data(), entry.name.size());
  return true;
}

}  // namespace

Result<fuse_entry_out> TreeFs::root_entry(uint32_t number, const ImageTree& tree) {
  RUNNEL_TRY(const auto node, tree.node(0));
  return entry_of(tree_node(number, 0), node, true);
}

void TreeFs::handle(const FuseRequest& request) {
  switch (request.opcode) {
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR: return connection_->reply_bytes(request.ticket, {});
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_READLINK:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
    case FUSE_STATFS:
    case FUSE_READ: return with_tree(request);
    default: return connection_->reply_error(request.ticket, ENOSYS);  // FUSE_OPEN: device_fs.cc
  }
}

// The metadata is a mapped file, whose pages may have to be read.
void TreeFs::with_tree(const FuseRequest& request) {
  if (request.opcode == FUSE_READ) cache::fault("request-read");
  const auto tree = nodes_.tree(root_of(request.node));
  if (!tree) {
    const auto retry = [this, request] { with_tree(request); };
    if (!nodes_.wait_for(request.ticket, root_of(request.node), retry)) {
      connection_->reply_error(request.ticket, ESTALE);
    }
    return;
  }
  if (request.opcode == FUSE_READ) return read(request, tree);
  connection_->keep(request.ticket,
                    {.deadline = connection_->due(request.ticket), .retry = {}, .range = {}});
  // With a copy of the body: at the deadline the request's slot goes to another.
  server_.submit([this, copy = request, body = Buffer(request.body.begin(), request.body.end()),
                  tree]() mutable {
    copy.body = body;
    answer(copy, *tree);
  });
}

void TreeFs::answer(const FuseRequest& request, const ImageTree& tree) {
  if (request.opcode == FUSE_STATFS) return finish(request, fuse_statfs_out{.st = tree.statfs()});
  const auto node = tree.node(request.node & 0xffffffff);
  if (!node) return fail_with(request, node.error());
  answer_node(request, tree, *node);
}

void TreeFs::answer_node(const FuseRequest& request, const ImageTree& tree,
                         const erofs::Node& node) {
  switch (request.opcode) {
    case FUSE_LOOKUP: return lookup(request, tree, node);
    case FUSE_GETATTR: {
      fuse_attr_out out{};
      out.attr_valid = kForever_s;
      out.attr = ImageTree::attributes(node);
      return finish(request, out);
    }
    case FUSE_READLINK: {
      const auto target = tree.symlink_target(node);
      return target ? finish_bytes(request, as_bytes(*target)) : fail_with(request, target.error());
    }
    case FUSE_READDIR: return list(request, tree, node, false);
    case FUSE_READDIRPLUS: return list(request, tree, node, true);
    case FUSE_GETXATTR: return get_xattr(request, tree, node);
    case FUSE_LISTXATTR: return list_xattrs(request, tree, node);
    default: return finish_error(request, EIO);
  }
}

void TreeFs::lookup(const FuseRequest& request, const ImageTree& tree,
                    const erofs::Node& directory) {
  const auto name = request.name();
  const auto child = tree.child(directory, name);
  if (!child && child.error().code == Code::kNotFound) {
    fuse_entry_out none{};  // node 0: the kernel may remember that there is no such name
    none.entry_valid = kForever_s;
    return finish(request, none);
  }
  if (!child) return fail_with(request, child.error());
  const auto entry = entry_of(root_of(request.node), *child, false);
  return entry ? finish(request, *entry) : fail_with(request, entry.error());
}

void TreeFs::list(const FuseRequest& request, const ImageTree& tree, const erofs::Node& directory,
                  bool plus) {
  const auto* in = request.as<fuse_read_in>();
  if (in == nullptr) return finish_error(request, EIO);
  const size_t room = std::min<size_t>(in->size, kMaxListing);
  Buffer listing;
  bool full = false;
  for (uint64_t offset = in->offset; !full;) {
    const auto entries = tree.entries(directory, offset);
    if (!entries) return fail_with(request, entries.error());
    if (entries->empty()) break;
    for (const auto& entry : *entries) {
      fuse_entry_out attributes{};  // node 0: no attributes, which "." and ".." need not have
      if (plus && entry.name != "." && entry.name != "..") {
        const auto node = tree.node(entry.inode);
        if (!node) return fail_with(request, node.error());
        const auto found = entry_of(root_of(request.node), *node, false);
        if (!found) return fail_with(request, found.error());
        attributes = *found;
      }
      full = !append(listing, room, entry, plus ? &attributes : nullptr);
      if (full) break;
      offset = entry.next;
    }
  }
  finish_bytes(request, listing);
}

void TreeFs::get_xattr(const FuseRequest& request, const ImageTree& tree, const erofs::Node& node) {
  const auto* in = request.as<fuse_getxattr_in>();
  if (in == nullptr) return finish_error(request, EIO);
  const auto value = tree.xattr(node, request.name(sizeof *in));
  if (!value && value.error().code == Code::kNotFound) return finish_error(request, ENODATA);
  reply_sized(request, value, in->size);
}

void TreeFs::list_xattrs(const FuseRequest& request, const ImageTree& tree,
                         const erofs::Node& node) {
  const auto* in = request.as<fuse_getxattr_in>();
  if (in == nullptr) return finish_error(request, EIO);
  // The kernel lets only the privileged have values of trusted.*; who may know their names it
  // leaves to us, and says no more who asks when mounts can be ID-mapped. overlayfs asks then, and
  // hides them.
  const bool trusted = request.uid == 0 || request.uid == kNoUser;
  reply_sized(request, tree.xattr_names(node, trusted), in->size);
}

// As getxattr(2): without room the size is the answer.
void TreeFs::reply_sized(const FuseRequest& request, const Result<Buffer>& value, uint32_t room) {
  if (!value) return fail_with(request, value.error());
  if (room == 0) {
    fuse_getxattr_out out{};
    out.size = static_cast<uint32_t>(value->size());
    return finish(request, out);
  }
  if (value->size() > room) return finish_error(request, ERANGE);
  finish_bytes(request, *value);
}

void TreeFs::read(const FuseRequest& request, const Tree& tree) {
  const auto* in = request.as<fuse_read_in>();
  if (in == nullptr) return connection_->reply_error(request.ticket, EIO);
  const ReadRange range{
      .node = request.node, .offset = in->offset, .length = std::min<size_t>(in->size, kMaxRead)};
  connection_->count_read(0, true);
  const auto until = connection_->deadline(request.ticket, range, request.pid);
  if (!until) return connection_->reply_error(request.ticket, EIO);
  const Waiting waiting{.deadline = *until, .retry = {}, .range = range, .pid = request.pid};
  connection_->keep(request.ticket, waiting);
  server_.submit([this, ticket = request.ticket, tree, waiting] {
    const auto& asked = waiting.range;
    const auto node = tree->node(asked.node & 0xffffffff);
    const auto pieces = node ? tree->pieces(*node, asked.offset, asked.length)
                             : Result<std::vector<Piece>>(std::unexpected(node.error()));
    if (!pieces) return connection_->answer(ticket, std::unexpected(pieces.error()), clock_.now());
    read_pieces(ticket, tree, *pieces, waiting);
  });
}

void TreeFs::read_pieces(Ticket ticket, const Tree& tree, const std::vector<Piece>& pieces,
                         const Waiting& waiting) {
  std::vector<std::shared_ptr<const LayerFile>> files(tree->layers().size());
  for (const auto& piece : pieces) {
    if (!piece.layer || files[*piece.layer]) continue;
    const auto node = layer_node(tree->layers()[*piece.layer].hex());
    files[*piece.layer] = nodes_.layer(node);
    if (files[*piece.layer]) continue;
    if (!connection_->take_out(ticket)) return;  // it waits for something else from now on
    const auto retry = [this, ticket, tree, pieces, waiting] {
      // add() calls this; what follows may wait for the disk.
      connection_->keep(ticket, waiting);
      server_.submit([=, this] { read_pieces(ticket, tree, pieces, waiting); });
    };
    if (nodes_.wait_for(ticket, node, retry)) return;
    connection_->keep(ticket, waiting);
    const auto error = fail(Code::kUnavailable, "a layer of the image is not served");
    return connection_->answer(ticket, error, clock_.now());
  }
  std::vector<Supplier> suppliers;
  for (size_t i = 0; i < files.size(); ++i) {
    if (files[i]) suppliers.push_back(supplier(layer_node(tree->layers()[i].hex()), files[i]));
  }
  const auto until = connection_->waits_for(ticket, std::move(suppliers));
  if (!until) return;
  read_joined(pieces, files, *until,
              [connection = connection_, &clock = clock_, ticket](const Result<Bytes>& bytes) {
                connection->answer(ticket, bytes, clock.now());
              });
}

void TreeFs::finish_bytes(const FuseRequest& request, Bytes bytes) {
  connection_->finish(request.ticket, [&] { connection_->reply_bytes(request.ticket, bytes); });
}

void TreeFs::finish_error(const FuseRequest& request, int error) {
  connection_->finish(request.ticket, [&] { connection_->reply_error(request.ticket, error); });
}

void TreeFs::fail_with(const FuseRequest& request, const Error& error) {
  log::warning("a request of a tree ends with EIO: {}", error.message);
  finish_error(request, EIO);
}

}  // namespace runnel::engine
