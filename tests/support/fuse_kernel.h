// The kernel's side of a FUSE connection, for tests: requests go in and answers come out at the
// other end of a socket. (No mount, and no kernel.)
#pragma once

#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/socket.h>

#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/fd.h"
#include "engine/fuse_connection.h"

namespace runnel::test {

class FuseKernel {
 public:
  FuseKernel(Duration read_timeout, const Clock& clock) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    end_ = UniqueFd(ends[0]);
    connection =
        engine::FuseConnection::open(
            {.fuse = UniqueFd(ends[1]), .slots = engine::RequestSlots::create_file().value()},
            read_timeout, clock)
            .value();
  }

  // A number that no request has had.
  uint64_t next_unique() { return unique_ += 2; }

  // Sends a read of 4096 bytes, and has the connection take it.
  engine::FuseRequest read(uint64_t node, uint64_t offset = 0, uint32_t pid = 0) {
    send_read(node, offset, pid);
    engine::FuseRequest request;
    Buffer scratch(65536);
    EXPECT_TRUE(connection->take(request, scratch).value());
    return request;
  }

  // For a server to take.
  void send_read(uint64_t node, uint64_t offset = 0, uint32_t pid = 0) {
    struct {
      fuse_in_header header{};
      fuse_read_in read{};
    } sent;
    sent.header.len = sizeof sent;
    sent.header.opcode = FUSE_READ;
    sent.header.unique = next_unique();
    sent.header.nodeid = node;
    sent.header.pid = pid;
    sent.read.offset = offset;
    sent.read.size = 4096;
    EXPECT_EQ(::send(end_.get(), &sent, sizeof sent, 0), static_cast<ssize_t>(sizeof sent));
  }

  // The head of the next answer, if there is one.
  std::optional<fuse_out_header> answer() const {
    fuse_out_header header;
    if (::recv(end_.get(), &header, sizeof header, 0) <= 0) return std::nullopt;
    return header;
  }

  std::shared_ptr<engine::FuseConnection> connection;

 private:
  UniqueFd end_;
  uint64_t unique_ = 100;
};

}  // namespace runnel::test
