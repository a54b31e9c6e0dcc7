#include "registry/webhooks.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <functional>
#include <future>

#include "registry/request_body.h"
#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"
#include "support/scripted_server.h"
#include "support/serving.h"

namespace runnel::registry {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

net::Request push(std::string_view tag = "v1") {
  net::Request request;
  request.method = "PUT";
  request.path = fmt::format("/v2/a/manifests/{}", tag);
  return request;
}

// Takes events, or answers them with another status.
class Receiver {
 public:
  using Answer = std::function<int(const std::string& tag, size_t attempt)>;

  explicit Receiver(Answer answer = [](const std::string&, size_t) { return 200; })
      : answer_(std::move(answer)) {}

  std::string url() const { return serving_.url("/"); }
  // Whether so many were taken in time.
  bool wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return taken_.size() >= count; });
  }
  // Tags, in the order in which they came.
  std::vector<std::string> taken() {
    const std::lock_guard lock(mutex_);
    return taken_;
  }

 private:
  net::awaitable<net::Response> take(net::RequestBody& body) {
    const auto bytes = co_await read_whole(body, 1 << 20);
    const auto event = boost::json::parse(as_text(bytes.value()));
    const auto tag = std::string(event.at("reference").as_string());
    const std::lock_guard lock(mutex_);
    const auto status = answer_(tag, ++attempts_[tag]);
    if (status == 200) taken_.push_back(tag);
    changed_.notify_all();
    co_return net::Response(status);
  }

  const Answer answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> taken_;
  std::map<std::string, size_t> attempts_;
  test::Serving serving_{[this](net::Request&, net::RequestBody& body) { return take(body); }};
};

class WebhookSenderTest : public testing::Test {
 protected:
  // Long enough for a machine that is busy, and no test waits for it.
  static constexpr WebhookPace kPace{.first_pause = std::chrono::milliseconds(1),
                                     .longest_pause = std::chrono::milliseconds(8),
                                     .answer_time = 2 * kPatience};

  std::vector<std::string> kept() {
    std::vector<std::string> names;
    for (const auto& each : metadata_.documents("event-of-webhook", "", 10).value())
      names.push_back(each.name);
    return names;
  }

  // What was taken goes after its answer.
  bool wait_until_kept(size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (kept().size() != count && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    return kept().size() == count;
  }

  test::FakeClock clock_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_};
  Webhooks webhooks_;
};

TEST_F(WebhookSenderTest, KeepsAnEventForADayAlsoWhenTheRegistryRunsForLonger) {
  webhooks_["one"].url = "http://127.0.0.1:1/";  // nobody is there
  WebhookSender sender(webhooks_, metadata_, clock_);
  clock_.advance(std::chrono::hours(25));

  sender.remember(push(), net::Response(201));
  sender.remember(push(), net::Response(201));

  const auto names = kept();
  ASSERT_EQ(names.size(), 2u);
  const auto now = clock_.wall();
  EXPECT_EQ(time_of_webhook_event(names[0].substr(4)), now);
  EXPECT_EQ(time_of_webhook_event(names[1].substr(4)), now + std::chrono::nanoseconds(1));
}

TEST_F(WebhookSenderTest, GivesAnEventUpThatNobodyTookForADay) {
  Receiver receiver([](const std::string& tag, size_t) { return tag == "v1" ? 500 : 200; });
  webhooks_["one"].url = receiver.url();
  WebhookSender sender(webhooks_, metadata_, clock_, kPace);
  sender.remember(push("v1"), net::Response(201));
  sender.remember(push("v2"), net::Response(201));
  ASSERT_TRUE(receiver.wait_for(1));
  clock_.advance(std::chrono::hours(25));
  sender.remember(push("v3"), net::Response(201));

  ASSERT_TRUE(receiver.wait_for(2));
  EXPECT_TRUE(wait_until_kept(0));
}

TEST_F(WebhookSenderTest, TellsOneReceiverWhileAnotherOneDoesNotAnswer) {
  std::promise<void> over;
  const auto is_over = over.get_future().share();
  test::ScriptedServer dead([&](test::RawSocket&) { is_over.wait(); });
  Receiver receiver;
  webhooks_["dead"].url = dead.url("/");
  webhooks_["live"].url = receiver.url();
  {
    WebhookSender sender(webhooks_, metadata_, clock_, kPace);

    for (const auto* tag : {"v1", "v2", "v3"}) sender.remember(push(tag), net::Response(201));

    EXPECT_TRUE(receiver.wait_for(3));
    EXPECT_EQ(receiver.taken(), (std::vector<std::string>{"v1", "v2", "v3"}));
    over.set_value();
  }
}

TEST_F(WebhookSenderTest, KeepsTheOrderOfEventsWhenAReceiverIsDownForAMoment) {
  Receiver receiver([](const std::string&, size_t attempt) { return attempt < 2 ? 503 : 200; });
  webhooks_["one"].url = receiver.url();
  for (const auto* tag : {"v1", "v2", "v3"}) {
    // Before anything is sent: by a process whose receiver is somewhere else.
    Webhooks nowhere = webhooks_;
    nowhere["one"].url = "http://127.0.0.1:1/";
    WebhookSender(nowhere, metadata_, clock_, {}).remember(push(tag), net::Response(201));
    clock_.advance(std::chrono::seconds(1));
  }
  auto pace = kPace;
  pace.longest_pause = std::chrono::hours(1);

  const WebhookSender sender(webhooks_, metadata_, clock_, pace);

  ASSERT_TRUE(receiver.wait_for(3));
  EXPECT_EQ(receiver.taken(), (std::vector<std::string>{"v1", "v2", "v3"}));
}

TEST_F(WebhookSenderTest, TellsOfOthersWhenAReceiverNeverTakesSomeEvents) {
  Receiver receiver(
      [](const std::string& tag, size_t) { return tag.starts_with('v') ? 200 : 500; });
  webhooks_["one"].url = receiver.url();
  WebhookSender sender(webhooks_, metadata_, clock_, kPace);

  for (const auto* tag : {"a", "b", "c", "d", "e", "v1", "f", "v2"})
    sender.remember(push(tag), net::Response(201));

  ASSERT_TRUE(receiver.wait_for(2));
  EXPECT_EQ(receiver.taken(), (std::vector<std::string>{"v1", "v2"}));
  EXPECT_TRUE(wait_until_kept(6)) << "the others are tried again";
}

TEST_F(WebhookSenderTest, GoesOnBehindAnEventWhoseNameCannotBeRead) {
  for (const auto* name :
       {"one 0", "one x", "one 00000000000000000000", "one 99999999999999999999-x"})
    ASSERT_TRUE(metadata_.put_document("event-of-webhook", name, "{}", 0));
  Receiver receiver;
  webhooks_["one"].url = receiver.url();
  WebhookSender sender(webhooks_, metadata_, clock_, kPace);

  sender.remember(push("v1"), net::Response(201));

  ASSERT_TRUE(receiver.wait_for(1));
  EXPECT_TRUE(wait_until_kept(0));
}

TEST_F(WebhookSenderTest, TellsOfWhatAnOlderProgramKept) {
  const auto id = webhook_event_id(1'700'000'000'000'000'000, "x");
  const auto put = [&](std::string_view name, std::string_view body) {
    ASSERT_TRUE(metadata_.put_document("webhook-event", name, body, 0));
  };
  put(id, R"({"webhook":"one","event":{"reference":"v1"}})");
  put(id + "1", R"({"webhook":"gone","event":{"reference":"v2"}})");
  put("unreadable", "{");
  Receiver receiver;
  webhooks_["one"].url = receiver.url();

  const WebhookSender sender(webhooks_, metadata_, clock_, kPace);

  ASSERT_TRUE(receiver.wait_for(1));
  EXPECT_EQ(receiver.taken(), (std::vector<std::string>{"v1"}));
}

TEST_F(WebhookSenderTest, ForgetsEventsOfWebhooksThatAreNotConfiguredAnyMore) {
  WebhookEvents events(metadata_);
  const auto id = webhook_event_id(1, "x");
  for (const auto* webhook : {"a", "a b", "a 0", "b", "c"})
    ASSERT_TRUE(events.put(webhook, {.id = id, .body = "{}"}));
  ASSERT_TRUE(metadata_.put_document("event-of-webhook", "nameless", "{}", 0));

  ASSERT_TRUE(events.tidy({"a", "c"}, {}));

  EXPECT_EQ(kept(), (std::vector<std::string>{"a " + id, "c " + id}));
  EXPECT_EQ(events.list("a", "", 10)->size(), 1u);
}

}  // namespace
}  // namespace runnel::registry
