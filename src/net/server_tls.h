// The certificate and the key that a server shows, which may change while it serves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "net/tls_stream.h"

namespace runnel::net {

// TLS 1.2 and later, HTTP/1.1 by ALPN. Any thread may call any method.
class ServerTls {
 public:
  // Reads PEM files: the certificate with the chain after it, and its key ("": in the same file).
  // kInvalid when they are not that or do not fit together.
  static Result<std::unique_ptr<ServerTls>> load(const std::string& certificate_file,
                                                 const std::string& key_file);
  ~ServerTls();

  // Reads both files again. After an error what was there is shown on. Connections that there are
  // keep what they began with.
  Result<void> reload();
  // The same if one of the files is another one than the last time, read or tried.
  Result<bool> reload_if_changed();

  // A connection's side of TLS; null when there is no memory.
  std::unique_ptr<TlsStream> stream(int fd) const;

 private:
  ServerTls(std::string certificate_file, const std::string& key_file);
  struct Files;
  Files look() const;
  Result<std::shared_ptr<ssl_ctx_st>> read() const;

  const std::string certificate_file_;
  const std::string key_file_;
  std::mutex reading_;  // one reload at a time
  std::unique_ptr<Files> seen_;
  mutable std::mutex mutex_;
  std::shared_ptr<ssl_ctx_st> context_;
};

// Looks every few seconds whether the files changed, from a thread of its own.
class CertificateWatch {
 public:
  explicit CertificateWatch(ServerTls& tls, Duration every = std::chrono::seconds(2));

 private:
  std::jthread thread_;
};

}  // namespace runnel::net
