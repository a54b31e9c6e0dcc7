// A fetcher before a registry that tests script, with one blob to read.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "fetch/fetcher.h"
#include "support/anonymous.h"
#include "support/fake_registry.h"
#include "support/read_answer.h"

namespace runnel::test {

class FetcherFixture : public ::testing::Test {
 protected:
  fetch::Fetcher& fetcher() {
    if (!fetcher_) {
      gateway_ = std::make_shared<remote::Gateway>(client_, hosts_, credentials_, clock_);
      fetcher_ = std::make_unique<fetch::Fetcher>(gateway_, options_);
    }
    return *fetcher_;
  }
  void publish(size_t size) {
    bytes_ = random_text(size);
    digest_ = registry_.add_blob(bytes_);
    source_ = fetcher().source(registry_.host(), "team/app", digest_, size);
  }
  void know_user() {
    credentials_ = std::make_shared<remote::FixedCredential>(
        registry_.host(), remote::Credential{.user = "user", .secret = remote::Secret("password")});
  }
  ReadAnswer start(uint64_t offset, uint64_t length,
                   fetch::Priority priority = fetch::Priority::kDemand,
                   Duration within = std::chrono::seconds(30)) {
    ReadAnswer answer;
    source_->read(offset, length, priority, std::chrono::steady_clock::now() + within,
                  answer.done());
    return answer;
  }
  void expect_bytes(ReadAnswer answer, uint64_t offset, uint64_t length) {
    auto got = answer.wait();
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_TRUE(as_text(*got) == bytes_.substr(offset, length)) << offset;
  }
  // Keeps every connection busy, so that what is read next has to wait in the queue.
  std::vector<ReadAnswer> occupy(size_t count) {
    registry_.inject("/blobs/", {.delay_ms = 300}, static_cast<int>(count));
    std::vector<ReadAnswer> out;
    for (size_t i = 0; i < count; ++i) out.push_back(start(i * 2, 1));
    return out;
  }
  std::vector<std::string> ranges() {
    std::vector<std::string> out;
    for (const auto& seen : registry_.seen()) out.push_back(seen.range);
    return out;
  }

  FakeRegistry registry_;
  remote::Hosts hosts_;  // before the first use of fetcher()
  net::Client client_;
  SystemClock clock_;
  std::shared_ptr<remote::CredentialSource> credentials_ = std::make_shared<test::Anonymous>();
  fetch::FetcherOptions options_{.backoff = {.first_delay = std::chrono::milliseconds(1),
                                             .longest_delay = std::chrono::milliseconds(10)}};
  std::string bytes_;
  oci::Digest digest_;
  std::shared_ptr<fetch::RangeSource> source_;

 private:
  std::shared_ptr<remote::Gateway> gateway_;
  std::unique_ptr<fetch::Fetcher> fetcher_;
};

}  // namespace runnel::test
