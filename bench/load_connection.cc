#include "load_connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace runnel::bench {

namespace {

constexpr size_t kMaxHead = 64 * 1024;
constexpr size_t kReadSize = 256 * 1024;

// Where bytes go that nobody looks at.
MutableBytes scratch() {
  static Buffer bytes(kReadSize);
  return bytes;
}

bool same_letter(unsigned char a, unsigned char b) {
  return std::tolower(a) == std::tolower(b);
}

std::string_view value_of(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':' ||
      !std::ranges::equal(line.substr(0, name.size()), name, same_letter))
    return {};
  line.remove_prefix(name.size() + 1);
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  return line;
}

template <class Integer>
Result<Integer> number(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return fail(Code::kInvalid, "{} is not a number", text);
}

}  // namespace

Result<std::unique_ptr<LoadConnection>> LoadConnection::open(uint16_t port, ssl_ctx_st* tls) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return fail_errno("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("connect to port {}", port);
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ssl_st* session = nullptr;
  if (tls != nullptr) {
    session = SSL_new(tls);
    if (session == nullptr || SSL_set_fd(session, socket.get()) != 1 || SSL_connect(session) != 1) {
      SSL_free(session);
      return fail(Code::kUnavailable, "no TLS with port {}", port);
    }
  }
  std::unique_ptr<LoadConnection> made(new LoadConnection(std::move(socket), session));
  if (::fcntl(made->fd(), F_SETFL, O_NONBLOCK) != 0)
    return fail_errno("make a socket non-blocking");
  return made;
}

LoadConnection::~LoadConnection() {
  SSL_free(tls_);
}

Result<void> LoadConnection::begin(Outgoing request) {
  RUNNEL_CHECK(complete_);
  request_ = std::move(request);
  head_sent_ = body_sent_ = 0;
  in_body_ = complete_ = false;
  answer_ = Answer();
  return send();
}

Result<void> LoadConnection::send() {
  const auto head = as_bytes(request_.head);
  while (head_sent_ < head.size()) {
    RUNNEL_TRY(const auto moved,
               send_some(head.subspan(head_sent_), request_.body_size > 0, head_sent_));
    if (moved == Moved::kNothing) return {};
  }
  while (body_sent_ < request_.body_size) {
    const auto at = body_sent_ % request_.block.size();
    const auto left =
        std::min<uint64_t>(request_.block.size() - at, request_.body_size - body_sent_);
    RUNNEL_TRY(const auto moved, send_some(request_.block.subspan(at, left), false, body_sent_));
    if (moved == Moved::kNothing) return {};
  }
  return {};
}

Result<LoadConnection::Moved> LoadConnection::send_some(Bytes bytes, bool more, uint64_t& sent) {
  if (tls_ != nullptr) {
    const int count = SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()));
    if (count > 0) {
      sent += static_cast<uint64_t>(count);
      return Moved::kSome;
    }
    const int error = SSL_get_error(tls_, count);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Moved::kNothing;
    return fail(Code::kUnavailable, "TLS: cannot send ({})", error);
  }
  const auto count = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
  if (count >= 0) {
    sent += static_cast<uint64_t>(count);
    return Moved::kSome;
  }
  if (errno == EAGAIN || errno == EINTR) return Moved::kNothing;
  return fail_errno("send");
}

Result<LoadConnection::Moved> LoadConnection::receive_some(MutableBytes into, bool discard,
                                                           size_t& count) {
  if (tls_ != nullptr) {
    const int got = SSL_read(tls_, into.data(), static_cast<int>(into.size()));
    count = got > 0 ? static_cast<size_t>(got) : 0;
    if (got > 0) return Moved::kSome;
    const int error = SSL_get_error(tls_, got);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Moved::kNothing;
    return fail(Code::kUnavailable, "TLS: cannot receive ({})", error);
  }
  const auto got = ::recv(fd(), into.data(), into.size(), discard ? MSG_TRUNC : 0);
  count = got > 0 ? static_cast<size_t>(got) : 0;
  if (got > 0) return Moved::kSome;
  if (got == 0) return fail(Code::kUnavailable, "the server closed the connection");
  if (errno == EAGAIN || errno == EINTR) return Moved::kNothing;
  return fail_errno("receive");
}

Result<bool> LoadConnection::advance() {
  if (complete_) return false;
  RUNNEL_DO(send());
  if (!in_body_) {
    RUNNEL_TRY(const bool has_head, take_head());
    if (!has_head) return false;
  }
  while (body_left_ > 0) {
    size_t count = 0;
    const auto part = scratch().first(std::min<uint64_t>(kReadSize, body_left_));
    RUNNEL_TRY(const auto moved, receive_some(part, true, count));
    if (moved == Moved::kNothing) return false;
    body_left_ -= count;
  }
  complete_ = true;
  return true;
}

// True when the head is there; what came of the body with it is counted.
Result<bool> LoadConnection::take_head() {
  while (true) {
    size_t count = 0;
    const auto block = scratch().first(16 * 1024);
    RUNNEL_TRY(const auto moved, receive_some(block, false, count));
    if (moved == Moved::kNothing) return false;
    input_.append(as_text(Bytes(block).first(count)));
    const auto end = input_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (input_.size() > kMaxHead) return fail(Code::kInvalid, "an answer's head has no end");
      continue;
    }
    RUNNEL_DO(parse_head(std::string_view(input_).substr(0, end)));
    const uint64_t more = input_.size() - end - 4;
    if (more > body_left_) return fail(Code::kInvalid, "more came than the answer announced");
    body_left_ -= more;
    input_.clear();
    in_body_ = true;
    return true;
  }
}

Result<void> LoadConnection::parse_head(std::string_view head) {
  if (!head.starts_with("HTTP/1.1 ") || head.size() < 12)
    return fail(Code::kInvalid, "not an answer of HTTP/1.1");
  RUNNEL_TRY(answer_.status, number<int>(head.substr(9, 3)));
  for (size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
    at += 2;
    const auto line = head.substr(at, head.find("\r\n", at) - at);
    if (const auto length = value_of(line, "Content-Length"); !length.empty()) {
      RUNNEL_TRY(answer_.body_size, number<uint64_t>(length));
    }
    if (const auto location = value_of(line, "Location"); !location.empty())
      answer_.location = location;
    if (!value_of(line, "Transfer-Encoding").empty())
      return fail(Code::kUnsupported, "an answer in chunks");
  }
  body_left_ = request_.head_only ? 0 : answer_.body_size;
  return {};
}

}  // namespace runnel::bench
