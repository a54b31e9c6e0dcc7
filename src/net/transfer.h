// One request of the client on its way: the curl handle, the redirects, what arrives.
#pragma once

#include <curl/curl.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "net/client.h"
#include "net/transfer_report.h"
#include "net/url.h"

namespace runnel::net {

// Made on the caller's thread, lives on the client's.
class Transfer {
 public:
  Transfer(ClientRequest request, std::shared_ptr<ResponseSink> sink, Client::Done done,
           const Client::Options& options);
  ~Transfer();

  // Makes the curl handle ready for the request, or after a redirect for the next one.
  Result<void> prepare();
  CURL* easy() const { return easy_; }

  // To the observer, if there is one: that a request of this was begun, and that it has ended.
  void tell_begun();
  void tell_ended(const std::string& error);

  // What curl's end of the handle means: the result, or nothing when a redirect is to be followed
  // (prepare() again).
  std::optional<Result<ResponseHead>> ended(CURLcode code);
  void report(Result<ResponseHead> result);

  // Goes on after a pause. The error of the sink, if it has one with what was held back.
  Result<void> resume();

  // When this must have moved, and the error if it has not.
  SteadyTime deadline() const;
  // Until when the deadline cannot come closer: that of a waiting transfer does when it gets its
  // connection.
  SteadyTime next_look(SteadyTime now) const;
  Error timeout_error() const;

 private:
  enum class Phase { kConnecting, kActive, kPaused };

  Result<void> check_request() const;
  Result<void> set_body();
  void set_connection();
  void set_proxy();
  void set_tls();
  Result<void> set_headers();
  void set_callbacks();
  std::optional<Result<ResponseHead>> follow_redirect();
  Result<void> take_head_line(std::string_view line);
  Result<void> finish_head();
  Result<void> check_complete() const;
  Result<size_t> read_body(MutableBytes into);
  bool body_is(size_t index) const { return request_.body.index() == index; }
  uint64_t body_size() const;
  bool sends_body() const;
  bool is_insecure() const;
  void moved();
  std::string shown() const;

  size_t on_header(std::string_view line);
  size_t on_data(Bytes bytes);

  ClientRequest request_;
  const std::shared_ptr<ResponseSink> sink_;
  const Client::Done done_;
  const Client::Options& options_;
  CURL* const easy_;
  curl_slist* header_lines_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> curl_message_{};

  TransferObserver* const observer_ = transfer_observer();
  const TransferScope::Words words_ = TransferScope::current();
  TransferReport report_;
  bool told_ = false;  // that it was begun

  Url url_;
  bool credentials_allowed_ = true;
  int redirects_left_;
  const SteadyTime started_;
  SteadyTime moved_at_;
  SteadyTime asked_at_;  // what this request is about to be for, or the next one after a redirect
  Phase phase_ = Phase::kConnecting;

  // Of the response that is arriving:
  ResponseHead head_;
  bool expects_status_line_ = true;
  bool head_done_ = false;
  bool redirecting_ = false;
  size_t head_bytes_ = 0;
  uint64_t received_ = 0;
  uint64_t body_sent_ = 0;
  std::optional<Error> failure_;  // ours or the sink's; curl only says that a callback failed
};

}  // namespace runnel::net
