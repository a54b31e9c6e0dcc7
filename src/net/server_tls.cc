#include "net/server_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <stop_token>
#include <tuple>

#include "base/log.h"

namespace runnel::net {

namespace {

constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

// Who offers only what we do not speak must not be taken for one who speaks HTTP/1.1.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof kHttp11, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Nobody types a passphrase here; without this OpenSSL would ask the terminal.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

std::unexpected<Error> tls_error(const std::string& what, const std::string& file) {
  const auto error = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(error);
  auto failed = fail(Code::kInvalid, "tls: {} {}: {}", what, file,
                     reason != nullptr ? reason : "it cannot be read");
  ERR_clear_error();
  return failed;
}

using FileState = std::tuple<uint64_t, int64_t, int64_t, int64_t>;

FileState state_of(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return {};
  return {found.st_ino, found.st_mtim.tv_sec, found.st_mtim.tv_nsec, found.st_size};
}

}  // namespace

struct ServerTls::Files {
  FileState certificate;
  FileState key;
  bool operator==(const Files&) const = default;
};

ServerTls::ServerTls(std::string certificate_file, const std::string& key_file)
    : certificate_file_(std::move(certificate_file)),
      key_file_(key_file.empty() ? certificate_file_ : key_file) {}

ServerTls::~ServerTls() = default;

Result<std::unique_ptr<ServerTls>> ServerTls::load(const std::string& certificate_file,
                                                   const std::string& key_file) {
  std::unique_ptr<ServerTls> made(new ServerTls(certificate_file, key_file));
  RUNNEL_DO(made->reload());
  return made;
}

ServerTls::Files ServerTls::look() const {
  return {.certificate = state_of(certificate_file_), .key = state_of(key_file_)};
}

Result<std::shared_ptr<ssl_ctx_st>> ServerTls::read() const {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) return fail(Code::kExhausted, "tls: no memory");
  auto* raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  // HTTP says itself where a message ends, so an end without TLS's own is none of a body.
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(raw, choose_protocol, nullptr);
  SSL_CTX_set_default_passwd_cb(raw, no_passphrase);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(raw, certificate_file_.c_str()) != 1)
    return tls_error("the certificate", certificate_file_);
  if (SSL_CTX_use_PrivateKey_file(raw, key_file_.c_str(), SSL_FILETYPE_PEM) != 1)
    return tls_error("the key", key_file_);
  if (SSL_CTX_check_private_key(raw) != 1)
    return tls_error("the key does not fit the certificate:", key_file_);
  return context;
}

Result<void> ServerTls::reload() {
  const std::lock_guard one(reading_);
  // Looked at first: what changes while it is read is read again.
  seen_ = std::make_unique<Files>(look());
  RUNNEL_TRY(auto context, read());
  const std::lock_guard lock(mutex_);
  context_ = std::move(context);
  return {};
}

Result<bool> ServerTls::reload_if_changed() {
  {
    const std::lock_guard one(reading_);
    if (look() == *seen_) return false;
  }
  RUNNEL_DO(reload());
  return true;
}

std::unique_ptr<TlsStream> ServerTls::stream(int fd) const {
  std::shared_ptr<ssl_ctx_st> context;
  {
    const std::lock_guard lock(mutex_);
    context = context_;
  }
  return TlsStream::make(context.get(), fd);  // which has a reference of its own
}

CertificateWatch::CertificateWatch(ServerTls& tls, Duration every)
    : thread_([&tls, every](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any wake;
        while (true) {
          std::unique_lock lock(mutex);
          wake.wait_for(lock, stop, every, [] { return false; });
          if (stop.stop_requested()) return;
          const auto changed = tls.reload_if_changed();
          if (!changed)
            log::error("{}; the certificate of before is shown on", changed.error().message);
          else if (*changed)
            log::info("the certificate was read again");
        }
      }) {}

}  // namespace runnel::net
