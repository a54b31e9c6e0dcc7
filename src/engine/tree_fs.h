// The complete FUSE file system: requests about the files of image trees, for kernels without
// EROFS. A tree is a directory of the same FUSE mount that has the device files (device_fs.h), so
// it survives the worker the same way; mounting an image is a bind mount of it.
//
// A tree never changes, so the kernel may remember everything for ever: attributes, names, names
// that are not there, and contents.
#pragma once

#include <memory>

#include "base/clock.h"
#include "engine/fuse_connection.h"
#include "engine/fuse_server.h"
#include "engine/node_table.h"

namespace runnel::engine {

// Any thread may call any method.
class TreeFs {
 public:
  // `server` runs what waits for a disk. The references must outlive it.
  TreeFs(std::shared_ptr<FuseConnection> connection, NodeTable& nodes, FuseServer& server,
         const Clock& clock)
      : connection_(std::move(connection)), nodes_(nodes), server_(server), clock_(clock) {}

  // A request whose node is a tree's. What may wait for a disk it hands to the server.
  void handle(const FuseRequest& request);

  // What a lookup of the tree's root answers.
  static Result<fuse_entry_out> root_entry(uint32_t number, const ImageTree& tree);

 private:
  using Tree = std::shared_ptr<const ImageTree>;

  void with_tree(const FuseRequest& request);
  void answer(const FuseRequest& request, const ImageTree& tree);
  void answer_node(const FuseRequest& request, const ImageTree& tree, const erofs::Node& node);
  void lookup(const FuseRequest& request, const ImageTree& tree, const erofs::Node& directory);
  void list(const FuseRequest& request, const ImageTree& tree, const erofs::Node& directory,
            bool plus);
  void get_xattr(const FuseRequest& request, const ImageTree& tree, const erofs::Node& node);
  void list_xattrs(const FuseRequest& request, const ImageTree& tree, const erofs::Node& node);
  void reply_sized(const FuseRequest& request, const Result<Buffer>& value, uint32_t room);
  void read(const FuseRequest& request, const Tree& tree);
  void read_pieces(Ticket ticket, const Tree& tree, const std::vector<Piece>& pieces,
                   const Waiting& waiting);

  template <class Out>
  void finish(const FuseRequest& request, const Out& out) {
    connection_->finish(request.ticket, [&] { connection_->reply(request.ticket, out); });
  }
  void finish_bytes(const FuseRequest& request, Bytes bytes);
  void finish_error(const FuseRequest& request, int error);
  void fail_with(const FuseRequest& request, const Error& error);

  const std::shared_ptr<FuseConnection> connection_;
  NodeTable& nodes_;
  FuseServer& server_;
  const Clock& clock_;
};

}  // namespace runnel::engine
