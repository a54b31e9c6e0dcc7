// The server over TLS: with our client, and with bytes that are none of TLS.
#include "net/server_tls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "base/durable.h"
#include "net/client.h"
#include "support/raw_socket.h"
#include "support/serving.h"
#include "support/temp_dir.h"
#include "support/tls_identity.h"

namespace runnel::net {
namespace {

using test::Identity;
using test::Owned;

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 % 251);
  return text;
}

awaitable<Response> echo(Request& request, RequestBody& body) {
  if (request.path == "/hello") co_return Response(200, {}, "hello");
  std::string all;
  Buffer piece(10'000);
  while (true) {
    const auto got = co_await body.read(piece);
    if (!got) co_return Response(400);
    if (*got == 0) break;
    all.append(as_text(Bytes(piece).first(*got)));
  }
  co_return Response(200, {}, std::move(all));
}

class ServerTlsTest : public testing::Test {
 protected:
  ServerTlsTest() {
    write(first_);
    tls_ = ServerTls::load(directory_.path() + "/crt", directory_.path() + "/key").value();
  }

  void write(const Identity& identity) {
    EXPECT_TRUE(replace_file(directory_.path() + "/crt", as_bytes(identity.pem()), 0600));
    EXPECT_TRUE(replace_file(directory_.path() + "/key", as_bytes(identity.key_pem()), 0600));
  }
  Server::Options options() const {
    Server::Options made;
    made.tls = tls_;
    made.threads = 1;
    return made;
  }
  static Result<BufferedResponse> ask(const test::Serving& serving, const Identity& trusted,
                                      const std::string& path, std::string body = {}) {
    Client client;
    ClientRequest request(body.empty() ? "GET" : "PUT",
                          fmt::format("https://localhost:{}{}", serving.port(), path));
    auto settings = std::make_shared<TlsSettings>();
    settings->authorities = trusted.pem();
    request.tls = settings;
    if (!body.empty()) request.body = std::move(body);
    return client.fetch(std::move(request), 64 << 20);
  }

  test::TempDir directory_;
  const Identity first_;
  std::shared_ptr<ServerTls> tls_;
};

// A client of OpenSSL's own, to choose what it offers.
class TlsClient {
 public:
  TlsClient(uint16_t port, int max_version, std::string_view protocols)
      : socket_(port), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_.get(), max_version);
    SSL_CTX_set_security_level(context_.get(), 0);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned>(protocols.size()));
    SSL_set_fd(ssl_.get(), socket_.fd());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }

  bool connected() const { return connected_; }
  std::string version() const { return SSL_get_version(ssl_.get()); }
  std::string protocol() const {
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &chosen, &size);
    return std::string(reinterpret_cast<const char*>(chosen), size);
  }

 private:
  test::RawSocket socket_;
  Owned<SSL_CTX, SSL_CTX_free> context_;
  Owned<SSL, SSL_free> ssl_;
  bool connected_ = false;
};

TEST_F(ServerTlsTest, CarriesBodiesInBothDirections) {
  const test::Serving serving(echo, options());

  for (const size_t size : {1uz, 4096uz, 16'383uz, 16'384uz, 16'385uz, 3'000'000uz}) {
    const auto body = pattern(size);
    const auto answer = ask(serving, first_, "/", body);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(as_text(answer->body), body) << size;
  }
}

TEST_F(ServerTlsTest, SendsPiecesOfFiles) {
  const auto content = pattern(2'500'000);
  const auto path = directory_.path() + "/file";
  ASSERT_TRUE(replace_file(path, as_bytes(content), 0600));
  const auto file = std::make_shared<const UniqueFd>(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const test::Serving serving(
      [&](Request& request, RequestBody&) -> awaitable<Response> {
        const auto offset = std::stoull(std::string(request.query.first("at").value()));
        const auto length = std::stoull(std::string(request.query.first("size").value()));
        co_return Response(200, {}, FileRange(file, offset, length));
      },
      options());

  for (const auto& [at, size] : std::vector<std::pair<size_t, size_t>>{
           {0, 1}, {1, 16'384}, {7, 65'536}, {100'000, 1'048'577}, {0, 2'500'000}}) {
    const auto answer = ask(serving, first_, fmt::format("/?at={}&size={}", at, size));
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(as_text(answer->body), std::string_view(content).substr(at, size)) << at;
  }
  EXPECT_FALSE(ask(serving, first_, "/?at=2499999&size=2"));  // cut, never made up
}

TEST_F(ServerTlsTest, SpeaksTls12AndLaterAndHttp11) {
  const test::Serving serving(echo, options());

  const TlsClient newest(serving.port(), TLS1_3_VERSION, "\x02h2\x08http/1.1");
  EXPECT_TRUE(newest.connected());
  EXPECT_EQ(newest.version(), "TLSv1.3");
  EXPECT_EQ(newest.protocol(), "http/1.1");
  EXPECT_EQ(TlsClient(serving.port(), TLS1_2_VERSION, "").version(), "TLSv1.2");
  EXPECT_TRUE(TlsClient(serving.port(), TLS1_2_VERSION, "").connected());
  EXPECT_FALSE(TlsClient(serving.port(), TLS1_1_VERSION, "").connected());
  EXPECT_FALSE(TlsClient(serving.port(), TLS1_3_VERSION, "\x02h2").connected());
}

TEST_F(ServerTlsTest, ShowsANewCertificateToNewConnections) {
  const test::Serving serving(echo, options());
  const Identity second;
  EXPECT_FALSE(tls_->reload_if_changed().value());
  write(second);

  EXPECT_TRUE(tls_->reload_if_changed().value());

  EXPECT_TRUE(ask(serving, second, "/hello"));
  EXPECT_FALSE(ask(serving, first_, "/hello"));
}

TEST_F(ServerTlsTest, ShowsTheOldCertificateWhileTheFilesDoNotFit) {
  const test::Serving serving(echo, options());
  const Identity second;
  const auto certificate = directory_.path() + "/crt";
  ASSERT_TRUE(replace_file(certificate, as_bytes(second.pem()), 0600));

  const auto reloaded = tls_->reload_if_changed();

  ASSERT_FALSE(reloaded);
  EXPECT_EQ(reloaded.error().code, Code::kInvalid);
  EXPECT_TRUE(ask(serving, first_, "/hello"));
  EXPECT_FALSE(tls_->reload_if_changed().value());  // said once
  ASSERT_TRUE(replace_file(directory_.path() + "/key", as_bytes(second.key_pem()), 0600));
  EXPECT_TRUE(tls_->reload_if_changed().value());
  EXPECT_TRUE(ask(serving, second, "/hello"));
}

TEST_F(ServerTlsTest, RefusesFilesThatAreNone) {
  const auto empty = directory_.path() + "/empty";
  ASSERT_TRUE(replace_file(empty, as_bytes("not PEM"), 0600));

  EXPECT_EQ(ServerTls::load(empty, "").error().code, Code::kInvalid);
  EXPECT_EQ(ServerTls::load(directory_.path() + "/crt", empty).error().code, Code::kInvalid);
  EXPECT_EQ(ServerTls::load(directory_.path() + "/absent", "").error().code, Code::kInvalid);
}

TEST_F(ServerTlsTest, TakesTheKeyFromTheCertificatesFile) {
  const auto both = directory_.path() + "/both";
  ASSERT_TRUE(replace_file(both, as_bytes(first_.pem() + first_.key_pem()), 0600));
  EXPECT_TRUE(ServerTls::load(both, ""));
}

TEST_F(ServerTlsTest, TellsWhoSpeaksHttpThatItIsTls) {
  const test::Serving serving(echo, options());
  test::RawSocket socket(serving.port());
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));

  EXPECT_TRUE(socket.read_response().starts_with("HTTP/1.1 400 "));
}

TEST_F(ServerTlsTest, GoesOnWhileHandshakesStandStillAndEndsThem) {
  auto chosen = options();
  chosen.header_timeout = std::chrono::seconds(2);
  const test::Serving serving(echo, std::move(chosen));
  test::RawSocket silent(serving.port());
  test::RawSocket half(serving.port());
  ASSERT_TRUE(half.send(std::string_view("\x16\x03\x01\x02\x00\x01", 6)));
  test::RawSocket garbage(serving.port());
  ASSERT_TRUE(garbage.send("\x80\x01\x02 nothing that anybody speaks"));

  EXPECT_TRUE(ask(serving, first_, "/hello"));

  EXPECT_EQ(silent.read_to_end(), "");
  half.read_to_end();
  garbage.read_to_end();
}

}  // namespace
}  // namespace runnel::net
