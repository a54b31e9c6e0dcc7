// The client and certificates, against a small TLS server.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <memory>
#include <thread>

#include "base/durable.h"
#include "net/client.h"
#include "support/scripted_server.h"
#include "support/temp_dir.h"
#include "support/tls_identity.h"

namespace runnel::net {
namespace {

using test::Identity;
using test::Owned;

// Answers every request with these bytes, over TLS.
test::ScriptedServer::Script tls_answer(const Identity& identity, std::string bytes) {
  return [&identity, bytes = std::move(bytes)](test::RawSocket& socket) {
    const Owned<SSL_CTX, SSL_CTX_free> context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_use_certificate(context.get(), identity.certificate());
    SSL_CTX_use_PrivateKey(context.get(), identity.key());
    const Owned<SSL, SSL_free> ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), socket.fd());
    if (SSL_accept(ssl.get()) != 1) return;  // the client may refuse
    std::string request;
    char piece[4096];
    while (!request.ends_with("\r\n\r\n")) {
      const int got = SSL_read(ssl.get(), piece, sizeof piece);
      if (got <= 0) return;
      request.append(piece, static_cast<size_t>(got));
    }
    SSL_write(ssl.get(), bytes.data(), static_cast<int>(bytes.size()));
    SSL_shutdown(ssl.get());
  };
}

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

std::string https(const test::ScriptedServer& server, const char* host = "localhost") {
  return fmt::format("https://{}:{}/", host, server.port());
}

TEST(ClientTls, RefusesACertificateThatNobodyKnows) {
  const Identity identity;
  const test::ScriptedServer server(tls_answer(identity, kOk));
  Client client;

  const auto response = client.fetch(ClientRequest(https(server)), 100);

  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::kUnavailable);
  EXPECT_NE(response.error().message.find("certificate"), std::string::npos)
      << response.error().message;
}

TEST(ClientTls, TrustsTheConfiguredAuthorityForItsHosts) {
  const Identity identity;
  const test::TempDir directory;
  Client::Options options;
  options.ca_file = directory.path() + "/ca.pem";
  ASSERT_TRUE(replace_file(options.ca_file, as_bytes(identity.pem())));
  const test::ScriptedServer server(tls_answer(identity, kOk));
  Client client(options);

  const auto right_name = client.fetch(ClientRequest(https(server)), 100);
  const auto wrong_name = client.fetch(ClientRequest(https(server, "127.0.0.1")), 100);

  ASSERT_TRUE(right_name) << right_name.error().message;
  EXPECT_EQ(as_text(right_name->body), "ok");
  EXPECT_FALSE(wrong_name);
}

TEST(ClientTls, ChecksNothingForInsecureHostsOnly) {
  const Identity identity;
  const test::ScriptedServer server(tls_answer(identity, kOk));
  Client::Options options;
  options.insecure_hosts = {fmt::format("127.0.0.1:{}", server.port())};
  Client client(options);

  EXPECT_TRUE(client.fetch(ClientRequest(https(server, "127.0.0.1")), 100));
  EXPECT_FALSE(client.fetch(ClientRequest(https(server, "localhost")), 100));
}

TEST(ClientTls, DoesNotFollowARedirectToHttp) {
  const Identity identity;
  const test::ScriptedServer plain(test::answer(kOk));
  const test::ScriptedServer server(tls_answer(
      identity, fmt::format("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
                            plain.url("/"))));
  Client::Options options;
  options.insecure_hosts = {"localhost"};
  Client client(options);

  const auto response = client.fetch(ClientRequest(https(server)), 100);

  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::kUnavailable);
  EXPECT_EQ(plain.connections(), 0u);
}

// Who can cut a TLS connection must not make a part pass for the whole.
TEST(ClientTls, RefusesABodyThatIsCut) {
  const Identity identity;
  const test::ScriptedServer server(
      tls_answer(identity, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
  Client::Options options;
  options.insecure_hosts = {"localhost"};
  Client client(options);

  EXPECT_FALSE(client.fetch(ClientRequest(https(server)), 100));
}

}  // namespace
}  // namespace runnel::net
