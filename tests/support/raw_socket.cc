#include "support/raw_socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace runnel::test {

namespace {

UniqueFd connect_to(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

}  // namespace

RawSocket::RawSocket(uint16_t port) : RawSocket(connect_to(port)) {}

RawSocket::RawSocket(UniqueFd connected) : fd_(std::move(connected)) {
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

bool RawSocket::send(std::string_view text) {
  while (!text.empty()) {
    const auto sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void RawSocket::finish_sending() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void RawSocket::reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd_.reset();
}

bool RawSocket::receive_more() {
  std::array<char, 65536> buffer;
  const auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) {
    was_reset_ = errno == ECONNRESET;
    EXPECT_TRUE(was_reset_) << "nothing came for 20 seconds";
  }
  if (got <= 0) return false;
  received_.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

std::string RawSocket::take(size_t size) {
  std::string taken = received_.substr(0, size);
  received_.erase(0, taken.size());
  return taken;
}

std::string RawSocket::read_until(std::string_view mark) {
  size_t found;
  while ((found = received_.find(mark)) == std::string::npos)
    if (!receive_more()) return take(received_.size());
  return take(found + mark.size());
}

std::string RawSocket::read_exactly(size_t size) {
  while (received_.size() < size && receive_more()) {
  }
  return take(size);
}

std::string RawSocket::read_to_end() {
  while (receive_more()) {
  }
  return take(received_.size());
}

std::string RawSocket::read_response() {
  std::string head = read_until("\r\n\r\n");
  const std::string_view name = "Content-Length: ";
  const auto at = head.find(name);
  if (at == std::string::npos) return head;
  return head + read_exactly(std::stoul(head.substr(at + name.size())));
}

}  // namespace runnel::test
