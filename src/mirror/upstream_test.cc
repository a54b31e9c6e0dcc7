// Redirects, as the mirror's clients see them.
#include "mirror/upstream.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <future>
#include <mutex>
#include <semaphore>

#include "base/base64.h"
#include "mirror/mirror.h"
#include "support/scripted_server.h"

namespace runnel::mirror {
namespace {

using net::Headers;
using net::Response;

// One server, at an origin of its own, that answers what the test wants.
class Peer final : public net::Handler {
 public:
  using Answer = std::function<Response(const net::Request&)>;

  Peer() : server_(net::Server::listen({}, *this).value()) {}

  std::string host() const { return fmt::format("127.0.0.1:{}", server_->port()); }
  std::string url(std::string_view path, std::string_view name = "127.0.0.1") const {
    return fmt::format("http://{}:{}{}", name, server_->port(), path);
  }
  void answer(Answer answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  std::vector<net::Request> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

  net::awaitable<Response> handle(net::Request& request, net::RequestBody&) override {
    const std::lock_guard lock(mutex_);
    seen_.push_back(request);
    co_return answer_(request);
  }

 private:
  mutable std::mutex mutex_;
  Answer answer_ = [](const net::Request&) { return Response(404); };
  std::vector<net::Request> seen_;
  std::unique_ptr<net::Server> server_;
};

Peer::Answer always(int status, std::string body) {
  return [status, body](const net::Request&) { return Response(status, Headers(), body); };
}

Peer::Answer redirect_to(std::string url) {
  return [url](const net::Request&) {
    return Response(307, Headers{{"Location", url}}, std::string("it is <a>there</a>"));
  };
}

Response wants_token_of(const std::string& realm) {
  const auto challenge = fmt::format("Bearer realm=\"{}\",error=\"invalid_token\"", realm);
  return Response(401, Headers{{"WWW-Authenticate", challenge}});
}

class Blind final : public Observer {
 public:
  void manifest_named(const NamedManifest&) override {}
  void manifest_seen(const SeenManifest&) override {}
};

class Redirects : public testing::Test {
 protected:
  void SetUp() override {
    evil_.answer(always(200, R"({"token":"stolen"})"));
    mirror_server_ = net::Server::listen({}, mirror_).value();
  }

  net::ClientRequest request(const std::string& path, const Headers& headers,
                             const std::string& host) const {
    net::ClientRequest request(
        fmt::format("http://127.0.0.1:{}{}?ns={}", mirror_server_->port(), path, host));
    request.headers = headers;
    return request;
  }
  net::BufferedResponse get(const std::string& path, const Headers& headers = {}) {
    auto response = client_.fetch(request(path, headers, registry_.host()), 4 << 20);
    EXPECT_TRUE(response) << response.error().message;
    return response ? *std::move(response) : net::BufferedResponse();
  }
  net::BufferedResponse ask_desk() { return get(TokenDesk::kPath, {{"Authorization", basic_}}); }
  bool is_shown() { return shown_.find(registry_.host(), "app").value().has_value(); }

  const std::string blob_ =
      "/v2/app/blobs/" + oci::Digest::of(as_bytes("whatever it is")).to_string();
  const std::string basic_ = "Basic " + to_base64("user:password");

  net::Client client_;
  remote::Hosts hosts_;
  Blind blind_;
  SystemClock clock_;
  remote::ShownCredentials shown_{clock_};
  Mirror mirror_{client_, hosts_, blind_, shown_, [] { return std::string("{}"); }};
  Peer registry_;
  Peer storage_;
  Peer evil_;
  std::unique_ptr<net::Server> mirror_server_;
};

TEST_F(Redirects, AreFollowedWithoutTheClientsCredentials) {
  registry_.answer(redirect_to(storage_.url("/blob?signature=s")));
  const std::string blob(1 << 20, 'b');
  storage_.answer(always(200, blob));

  const auto response = get(blob_, {{"Authorization", "Bearer t"}, {"Range", "bytes=0-"}});

  EXPECT_EQ(response.head.status, 200);
  EXPECT_TRUE(as_text(response.body) == blob);
  ASSERT_EQ(storage_.seen().size(), 1u);
  EXPECT_EQ(storage_.seen()[0].target, "/blob?signature=s");
  EXPECT_EQ(storage_.seen()[0].headers.first("Range"), "bytes=0-");
  EXPECT_FALSE(storage_.seen()[0].headers.has("Authorization"));
  EXPECT_EQ(registry_.seen().at(0).headers.first("Authorization"), "Bearer t");
}

TEST_F(Redirects, BringNoCredentialsBack) {
  registry_.answer([&](const net::Request& request) {
    return request.path == "/again" ? always(200, "b")(request)
                                    : redirect_to(storage_.url("/"))(request);
  });
  storage_.answer(redirect_to(registry_.url("/again")));

  EXPECT_EQ(get(blob_, {{"Authorization", "Bearer t"}}).head.status, 200);

  EXPECT_FALSE(registry_.seen().at(1).headers.has("Authorization"));
}

// As a registry's own redirect to storage that is somebody else's by now.
TEST_F(Redirects, MakeNobodyTheRegistrysTokenServer) {
  registry_.answer([&](const net::Request& request) {
    if (request.path == "/v2/") return wants_token_of(registry_.url("/token"));
    if (request.path == "/token") return always(200, R"({"token":"good"})")(request);
    return redirect_to(storage_.url("/"))(request);
  });
  storage_.answer([&](const net::Request&) { return wants_token_of(evil_.url("/token")); });

  const auto refused = get(blob_, {{"Authorization", "Bearer expired"}});
  const auto token = ask_desk();

  EXPECT_EQ(refused.head.status, 503) << "containerd goes on without the mirror";
  EXPECT_FALSE(refused.head.headers.has("WWW-Authenticate"));
  EXPECT_TRUE(evil_.seen().empty()) << "it would have got the password";
  EXPECT_EQ(boost::json::parse(as_text(token.body)).at("token").as_string(), "good");
}

TEST_F(Redirects, MakeNobodyTheTokenServerOfARegistryThatIsAskedForIt) {
  registry_.answer(redirect_to(storage_.url("/v2/")));
  storage_.answer([&](const net::Request&) { return wants_token_of(evil_.url("/token")); });

  EXPECT_EQ(ask_desk().head.status, 404);

  EXPECT_TRUE(storage_.seen().empty());
  EXPECT_TRUE(evil_.seen().empty());
}

TEST_F(Redirects, WithinTheRegistryLeaveItsRefusalItsOwn) {
  registry_.answer([&](const net::Request& request) {
    return request.path == "/moved" ? wants_token_of(registry_.url("/token"))
                                    : redirect_to("/moved")(request);
  });

  const auto refused = get(blob_, {{"Authorization", "Bearer old"}});

  EXPECT_EQ(refused.head.status, 401);
  EXPECT_NE(refused.head.headers.first("WWW-Authenticate").value_or("").find(TokenDesk::kPath),
            std::string_view::npos);
  EXPECT_EQ(registry_.seen().at(1).headers.first("Authorization"), "Bearer old");
}

TEST_F(Redirects, BackToTheRegistryMakeARefusalNobodys) {
  registry_.answer([&](const net::Request& request) {
    return request.path == "/chosen" ? wants_token_of(evil_.url("/token"))
                                     : redirect_to(storage_.url("/"))(request);
  });
  storage_.answer(redirect_to(registry_.url("/chosen")));

  EXPECT_EQ(get(blob_).head.status, 503);
}

TEST_F(Redirects, SayWhatTheRegistryMakesOfACredentialAndStorageDoesNot) {
  registry_.answer(redirect_to(storage_.url("/")));
  storage_.answer([&](const net::Request&) {
    auto response = wants_token_of(evil_.url("/token"));
    response.status = 403;  // its address has expired, say
    return response;
  });

  const auto response = get(blob_, {{"Authorization", basic_}});

  EXPECT_EQ(response.head.status, 403);
  EXPECT_FALSE(response.head.headers.has("WWW-Authenticate"));
  EXPECT_TRUE(is_shown()) << "the registry has taken it";
}

TEST_F(Redirects, ToNowhereAreNoWordOnACredential) {
  registry_.answer(redirect_to("http://user:word@" + storage_.host() + "/"));
  EXPECT_EQ(get(blob_, {{"Authorization", basic_}}).head.status, 503);
  registry_.answer(redirect_to("ftp://storage.example/"));
  EXPECT_EQ(get(blob_, {{"Authorization", basic_}}).head.status, 503);
  registry_.answer(redirect_to("/v2/in/circles"));
  EXPECT_EQ(get(blob_, {{"Authorization", basic_}}).head.status, 503);

  EXPECT_FALSE(is_shown());
  EXPECT_TRUE(storage_.seen().empty());
  EXPECT_EQ(registry_.seen().size(), 1u + 1u + 6u);
}

// 0.0.0.0 is this machine, but not loopback: it stands for a service that lets root in.
TEST_F(Redirects, LeadNoLocalProcessWhereItCannotGoItself) {
  storage_.answer(always(200, "a secret"));
  registry_.answer(redirect_to(storage_.url("/latest/meta-data/", "0.0.0.0")));

  const auto response = get(blob_);

  EXPECT_EQ(response.head.status, 503);
  EXPECT_TRUE(storage_.seen().empty());
}

TEST_F(Redirects, MakeTheMirrorAskNoTokenServerWhereItsClientCannotGo) {
  const auto inside = evil_.url("/latest/meta-data/", "0.0.0.0");
  registry_.answer([&](const net::Request&) { return wants_token_of(inside); });

  const auto refused = get(blob_);

  EXPECT_EQ(refused.head.status, 401);
  EXPECT_NE(refused.head.headers.first("WWW-Authenticate").value_or("").find(inside),
            std::string_view::npos)
      << "the client may try for itself";
  EXPECT_EQ(ask_desk().head.status, 404);
  EXPECT_TRUE(evil_.seen().empty());
}

// Their bodies may come a moment after their heads.
TEST_F(Redirects, LeaveTheRegistrysConnectionOpen) {
  constexpr auto kLong = std::chrono::seconds(20);
  std::counting_semaphore<> asked(0);
  std::counting_semaphore<> sent(0);
  const test::ScriptedServer registry([&](test::RawSocket& socket) {
    for (int i = 0; i < 2 && !socket.read_until("\r\n\r\n").empty(); ++i) {
      socket.send(fmt::format("HTTP/1.1 307 There\r\nLocation: {}\r\n", storage_.url("/")));
      socket.send("Content-Length: 8\r\n\r\nhalf");
      EXPECT_TRUE(asked.try_acquire_for(kLong));
      socket.send("half");
      sent.release();
    }
  });
  storage_.answer([&](const net::Request& request) {
    asked.release();
    EXPECT_TRUE(sent.try_acquire_for(kLong));
    return always(200, "b")(request);
  });
  const auto host = fmt::format("127.0.0.1:{}", registry.port());

  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(client_.fetch(request(blob_, {}, host), 100)->head.status, 200);

  EXPECT_EQ(registry.connections(), 1u);
}

// Half of a body, and the rest when it is told to.
class TwoHalves final : public net::BodyStream {
 public:
  explicit TwoHalves(std::promise<net::Resume>& rest) : rest_(rest) {}

  net::awaitable<Result<size_t>> read(MutableBytes into) override {
    if (read_ == 2) co_return size_t{0};
    if (++read_ == 2) {
      std::function<void(net::Resume)> start = [this](net::Resume resume) {
        rest_.set_value(std::move(resume));
      };
      co_await net::suspend(std::move(start));
    }
    std::ranges::copy(as_bytes("half"), into.begin());
    co_return size_t{4};
  }

 private:
  std::promise<net::Resume>& rest_;
  int read_ = 0;
};

TEST_F(Redirects, LeadToABodyThatIsHandedOnWhileItArrives) {
  struct Sink final : net::ResponseSink {
    Result<void> data(Bytes bytes) override {
      if (std::exchange(got, got + bytes.size()) == 0) first.set_value();
      return {};
    }
    size_t got = 0;
    std::promise<void> first;
  };
  std::promise<net::Resume> rest;
  registry_.answer(redirect_to(storage_.url("/")));
  storage_.answer(
      [&](const net::Request&) { return Response(200, {}, std::make_unique<TwoHalves>(rest), 8); });
  const auto sink = std::make_shared<Sink>();
  std::promise<Result<net::ResponseHead>> done;

  client_.start(request(blob_, {}, registry_.host()), sink,
                [&](auto head) { done.set_value(std::move(head)); });
  auto go_on = rest.get_future().get();
  const auto first = sink->first.get_future().wait_for(std::chrono::seconds(20));
  go_on();

  EXPECT_EQ(first, std::future_status::ready) << "the rest was waited for";
  EXPECT_TRUE(done.get_future().get());
  EXPECT_EQ(sink->got, 8u);
}

}  // namespace
}  // namespace runnel::mirror
