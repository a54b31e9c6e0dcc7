#include "net/transfer.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <set>
#include <utility>

#include "base/quote.h"
#include "net/redirect.h"

namespace runnel::net {

namespace {

constexpr long kBufferBytes = 128 * 1024;
// The body of a redirect, which nobody reads.
constexpr uint64_t kRedirectBody = 64 * 1024;
// Below this, asking whether a body is welcome costs more than sending it.
constexpr uint64_t kExpectBytes = 1024 * 1024;

long milliseconds(Duration duration) {
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_credential(std::string_view name) {
  return same_name(name, "Authorization") || same_name(name, "Cookie") ||
         same_name(name, "Proxy-Authorization");
}

std::optional<int> status_of(std::string_view line) {
  // "HTTP/1.1 200 OK"; the reason is optional.
  const auto space = line.find(' ');
  if (!line.starts_with("HTTP/") || space == line.npos) return std::nullopt;
  const auto digits = line.substr(space + 1, 3);
  int status = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), status);
  if (error != std::errc() || end != digits.data() + 3 || status < 100) return std::nullopt;
  return status;
}

template <class T>
void set(CURL* easy, CURLoption option, T value) {
  RUNNEL_CHECK(curl_easy_setopt(easy, option, value) == CURLE_OK);
}

}  // namespace

Transfer::Transfer(ClientRequest request, std::shared_ptr<ResponseSink> sink, Client::Done done,
                   const Client::Options& options)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      done_(std::move(done)),
      options_(options),
      easy_(curl_easy_init()),
      redirects_left_(request_.max_redirects),
      started_(std::chrono::steady_clock::now()),
      moved_at_(started_),
      asked_at_(started_) {
  RUNNEL_CHECK(easy_ != nullptr);
}

Transfer::~Transfer() {
  curl_easy_cleanup(easy_);
  curl_slist_free_all(header_lines_);
}

void Transfer::report(Result<ResponseHead> result) {
  done_(std::move(result));
}

std::string Transfer::shown() const {
  return request_.method + " " + without_secrets(url_.target.empty() ? request_.url : url_.text());
}

Result<void> Transfer::check_request() const {
  Headers method_as_name;
  method_as_name.add(request_.method, "");
  if (!method_as_name.check())
    return fail(Code::kInvalid, "{} is not an HTTP method", quote(request_.method));
  if (request_.headers.size() > Headers::kMaxLines)
    return fail(Code::kInvalid, "more than {} request headers", Headers::kMaxLines);
  for (const auto* name : {"Content-Length", "Transfer-Encoding", "Connection", "Expect"})
    if (request_.headers.has(name) || request_.origin_headers.has(name))
      return fail(Code::kInvalid, "request header {} is the client's to write", name);
  RUNNEL_DO(request_.origin_headers.check());
  return request_.headers.check();
}

Result<void> Transfer::prepare() {
  if (url_.target.empty()) {
    RUNNEL_DO(check_request());
    RUNNEL_TRY(url_, parse_url(request_.url));
  }
  head_ = ResponseHead();
  head_.url = url_.text();
  expects_status_line_ = true;
  head_done_ = redirecting_ = false;
  head_bytes_ = received_ = body_sent_ = 0;
  phase_ = Phase::kConnecting;
  moved();

  curl_easy_reset(easy_);
  set_connection();
  set_callbacks();
  RUNNEL_DO(set_headers());
  return set_body();
}

void Transfer::set_connection() {
  set(easy_, CURLOPT_URL, head_.url.c_str());
  set(easy_, CURLOPT_PATH_AS_IS, 1L);
  set(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy_, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  set(easy_, CURLOPT_NOSIGNAL, 1L);
  // Else the end of a transfer waits for its getaddrinfo(3), and every other transfer with it.
  set(easy_, CURLOPT_QUICK_EXIT, 1L);
  set(easy_, CURLOPT_BUFFERSIZE, kBufferBytes);
  set(easy_, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(easy_, CURLOPT_CONNECTTIMEOUT_MS, std::max(1L, milliseconds(request_.connect_timeout)));
  set(easy_, CURLOPT_ERRORBUFFER, curl_message_.data());
  set_proxy();
  if (!request_.unix_socket.empty())
    set(easy_, CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
  set_tls();
  curl_message_[0] = '\0';
}

void Transfer::set_proxy() {
  // A proxy of the environment cannot reach this machine's own addresses.
  if (is_loopback_host(url_.authority.host)) return set(easy_, CURLOPT_NOPROXY, "*");
  // curl reads http_proxy, HTTPS_PROXY, NO_PROXY and the like, but not HTTP_PROXY, which a CGI
  // program gets from its client. This is none, and containerd reads it.
  const char* upper = std::getenv("HTTP_PROXY");
  const bool plain = url_.scheme == "http" && std::getenv("http_proxy") == nullptr;
  if (plain && upper != nullptr && *upper != '\0') set(easy_, CURLOPT_PROXY, upper);
}

void Transfer::set_tls() {
  if (!options_.ca_file.empty()) set(easy_, CURLOPT_CAINFO, options_.ca_file.c_str());
  const auto& tls = request_.tls;
  if (tls && !tls->authorities.empty()) {
    curl_blob pem{.data = const_cast<char*>(tls->authorities.data()),
                  .len = tls->authorities.size(),
                  .flags = CURL_BLOB_NOCOPY};  // the request outlives the transfer
    set(easy_, CURLOPT_CAINFO_BLOB, &pem);
  }
  if (tls && !tls->certificate_file.empty() && credentials_allowed_) {
    set(easy_, CURLOPT_SSLCERT, tls->certificate_file.c_str());
    const auto& key = tls->key_file.empty() ? tls->certificate_file : tls->key_file;
    set(easy_, CURLOPT_SSLKEY, key.c_str());
  }
  if (is_insecure() || (tls && !tls->check_peer)) {
    set(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    set(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  }
}

bool Transfer::is_insecure() const {
  const auto& hosts = options_.insecure_hosts;
  const auto& authority = url_.authority;
  return std::ranges::any_of(hosts, [&](const std::string& host) {
    return host == authority.host || host == authority.text();
  });
}

Result<void> Transfer::set_headers() {
  curl_slist_free_all(std::exchange(header_lines_, nullptr));
  std::vector<std::string> lines;
  const auto add = [&](const Header& line) {
    // To curl, "Name:" removes a header, and "Name;" sends it empty.
    lines.push_back(line.value.empty() ? line.name + ";" : line.name + ": " + line.value);
  };
  for (const auto& line : request_.headers)
    if (credentials_allowed_ || !is_credential(line.name)) add(line);
  for (const auto& line : request_.origin_headers)
    if (credentials_allowed_ && !request_.headers.has(line.name)) add(line);
  if (!request_.headers.has("User-Agent"))
    lines.push_back("User-Agent: " +
                    (options_.user_agent.empty() ? "runnel/" RUNNEL_VERSION : options_.user_agent));
  if (body_size() < kExpectBytes) lines.push_back("Expect:");
  for (const auto& line : lines) {
    auto* longer = curl_slist_append(header_lines_, line.c_str());
    RUNNEL_CHECK(longer != nullptr);
    header_lines_ = longer;
  }
  set(easy_, CURLOPT_HTTPHEADER, header_lines_);
  return {};
}

bool Transfer::sends_body() const {
  const std::set<std::string_view> kWithBody = {"POST", "PUT", "PATCH"};
  return !std::holds_alternative<std::monostate>(request_.body) ||
         kWithBody.contains(request_.method);
}

uint64_t Transfer::body_size() const {
  if (const auto* text = std::get_if<std::string>(&request_.body)) return text->size();
  if (const auto* file = std::get_if<UploadFile>(&request_.body)) return file->length;
  return 0;
}

Result<void> Transfer::set_body() {
  if (sends_body()) {
    set(easy_, CURLOPT_UPLOAD, 1L);
    set(easy_, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_size()));
  } else if (request_.method == "HEAD") {
    set(easy_, CURLOPT_NOBODY, 1L);
  }
  set(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  return {};
}

void Transfer::set_callbacks() {
  using Self = Transfer;
  set(easy_, CURLOPT_PRIVATE, this);
  set(easy_, CURLOPT_HEADERDATA, this);
  set(
      easy_, CURLOPT_HEADERFUNCTION, +[](char* text, size_t, size_t size, void* self) {
        return static_cast<Self*>(self)->on_header({text, size});
      });
  set(easy_, CURLOPT_WRITEDATA, this);
  set(
      easy_, CURLOPT_WRITEFUNCTION, +[](char* bytes, size_t, size_t size, void* self) {
        return static_cast<Self*>(self)->on_data(as_bytes({bytes, size}));
      });
  set(easy_, CURLOPT_READDATA, this);
  set(
      easy_, CURLOPT_READFUNCTION, +[](char* into, size_t unit, size_t count, void* self) {
        auto& transfer = *static_cast<Self*>(self);
        auto got = transfer.read_body(std::as_writable_bytes(std::span(into, unit * count)));
        if (got) return *got;
        transfer.failure_ = got.error();
        return size_t{CURL_READFUNC_ABORT};
      });
  // curl starts over when a pooled connection turns out to be dead.
  set(easy_, CURLOPT_SEEKDATA, this);
  set(
      easy_, CURLOPT_SEEKFUNCTION, +[](void* self, curl_off_t offset, int whence) {
        auto& transfer = *static_cast<Self*>(self);
        if (whence != SEEK_SET || offset < 0 || uint64_t(offset) > transfer.body_size())
          return int{CURL_SEEKFUNC_FAIL};
        transfer.body_sent_ = static_cast<uint64_t>(offset);
        return int{CURL_SEEKFUNC_OK};
      });
  // The connection stands, the request is about to be sent.
  set(easy_, CURLOPT_PREREQDATA, this);
  set(
      easy_, CURLOPT_PREREQFUNCTION, +[](void* self, char*, char*, int, int) {
        auto& transfer = *static_cast<Self*>(self);
        transfer.phase_ = Phase::kActive;
        transfer.moved();
        transfer.report_.sent = transfer.moved_at_;
        return int{CURL_PREREQFUNC_OK};
      });
}

Result<size_t> Transfer::read_body(MutableBytes into) {
  moved();
  const size_t wanted = std::min<uint64_t>(into.size(), body_size() - body_sent_);
  if (wanted == 0) return size_t{0};
  if (const auto* text = std::get_if<std::string>(&request_.body)) {
    std::ranges::copy(as_bytes(*text).subspan(body_sent_, wanted), into.begin());
  } else {
    const auto& file = std::get<UploadFile>(request_.body);
    auto read = read_exact_at(file.file->get(), into.first(wanted), file.offset + body_sent_);
    if (!read) return std::unexpected(read.error().in(shown() + ": the file to upload"));
  }
  body_sent_ += wanted;
  return wanted;
}

void Transfer::tell_begun() {
  if (observer_ == nullptr) return;
  static std::atomic<uint64_t> last = 0;
  report_ = TransferReport{.number = ++last,
                           .about = words_.about,
                           .purpose = words_.purpose,
                           .method = request_.method,
                           .url = without_secrets(head_.url),
                           .range = std::string(request_.headers.first("Range").value_or("")),
                           .asked = std::exchange(asked_at_, std::chrono::steady_clock::now()),
                           .error = {}};
  told_ = true;
  observer_->transfer(report_);
}

void Transfer::tell_ended(const std::string& error) {
  if (!std::exchange(told_, false)) return;
  long connections = 0;
  report_.connected =
      curl_easy_getinfo(easy_, CURLINFO_NUM_CONNECTS, &connections) == CURLE_OK && connections > 0;
  report_.status = head_done_ ? head_.status : 0;
  report_.bytes = received_;
  report_.error = error;
  report_.ended = asked_at_ = std::chrono::steady_clock::now();
  observer_->transfer(report_);
}

size_t Transfer::on_header(std::string_view line) {
  moved();
  if (report_.first_byte == SteadyTime()) report_.first_byte = moved_at_;
  auto taken = take_head_line(line);
  if (taken) return line.size();
  failure_ = taken.error();
  return 0;
}

Result<void> Transfer::take_head_line(std::string_view line) {
  if (head_done_) return {};  // trailers
  head_bytes_ += line.size();
  if (head_bytes_ > Headers::kMaxBytes)
    return fail(Code::kUnavailable, "{}: the head of the response is larger than {} bytes", shown(),
                Headers::kMaxBytes);
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);

  if (expects_status_line_) {
    const auto status = status_of(line);
    if (!status) return fail(Code::kUnavailable, "{}: malformed status line", shown());
    head_.status = *status;
    head_.headers = Headers();
    expects_status_line_ = false;
    return {};
  }
  if (line.empty()) return finish_head();
  const auto colon = line.find(':');
  if (colon == line.npos)
    return fail(Code::kUnavailable, "{}: malformed header in the response", shown());
  auto added = head_.headers.add_received(line.substr(0, colon), line.substr(colon + 1));
  if (!added) return fail(Code::kUnavailable, "{}: response: {}", shown(), added.error().message);
  return {};
}

Result<void> Transfer::finish_head() {
  expects_status_line_ = true;
  if (head_.status < 200) return {};
  head_done_ = true;
  const auto lengths = head_.headers.all("Content-Length");
  if (std::ranges::any_of(lengths, [&](auto each) { return each != lengths.front(); }))
    return fail(Code::kUnavailable, "{}: the response has two lengths", shown());
  redirecting_ =
      request_.max_redirects > 0 && is_redirect(head_.status) && head_.headers.has("Location");
  if (redirecting_) return {};
  return sink_->head(head_);
}

size_t Transfer::on_data(Bytes bytes) {
  moved();
  if (!redirecting_ && !sink_->wants_more()) {
    phase_ = Phase::kPaused;
    return CURL_WRITEFUNC_PAUSE;
  }
  received_ += bytes.size();
  if (redirecting_) return received_ > kRedirectBody ? 0 : bytes.size();
  auto taken = sink_->data(bytes);
  if (taken) return bytes.size();
  failure_ = taken.error();
  return 0;
}

Result<void> Transfer::resume() {
  if (phase_ != Phase::kPaused) return {};
  phase_ = Phase::kActive;
  moved();
  const auto code = curl_easy_pause(easy_, CURLPAUSE_CONT);
  if (failure_) return std::unexpected(*failure_);
  if (code != CURLE_OK)
    return fail(Code::kUnavailable, "{}: {}", shown(), curl_easy_strerror(code));
  return {};
}

std::optional<Result<ResponseHead>> Transfer::ended(CURLcode code) {
  if (failure_) return std::unexpected(*failure_);
  const bool cut_redirect = code == CURLE_WRITE_ERROR && redirecting_;
  if (code != CURLE_OK && !cut_redirect) {
    const char* text = curl_message_[0] ? curl_message_.data() : curl_easy_strerror(code);
    return fail(Code::kUnavailable, "{}: {}", shown(), text);
  }
  if (redirecting_) return follow_redirect();
  if (auto complete = check_complete(); !complete) return std::unexpected(complete.error());
  return std::move(head_);
}

// curl checks this too; a short body that passes for a whole one is the worst that can happen here.
Result<void> Transfer::check_complete() const {
  if (!head_done_) return fail(Code::kUnavailable, "{}: no response", shown());
  const bool bodiless = request_.method == "HEAD" || head_.status == 204 || head_.status == 304;
  const auto length = head_.headers.first("Content-Length");
  if (bodiless || !length || head_.headers.has("Transfer-Encoding")) return {};
  if (*length != std::to_string(received_))
    return fail(Code::kUnavailable, "{}: {} bytes came of {}", shown(), received_, quote(*length));
  return {};
}

std::optional<Result<ResponseHead>> Transfer::follow_redirect() {
  if (redirects_left_-- == 0)
    return fail(Code::kUnavailable, "{}: more than {} redirects", shown(), request_.max_redirects);
  auto next = redirect_target(url_, *head_.headers.first("Location"));
  if (!next) return fail(Code::kUnavailable, "{}: {}", shown(), next.error().message);

  // Once lost, credentials stay lost: a redirect back could be steered by whom it came from.
  if (!next->same_origin(url_)) credentials_allowed_ = false;
  const bool to_get = head_.status == 303 || (head_.status < 303 && request_.method == "POST");
  if (to_get && request_.method != "HEAD") {
    request_.method = "GET";
    request_.body = std::monostate();
    request_.headers.remove("Content-Type");
  }
  url_ = *std::move(next);
  return std::nullopt;
}

void Transfer::moved() {
  moved_at_ = std::chrono::steady_clock::now();
}

SteadyTime Transfer::deadline() const {
  SteadyTime due = SteadyTime::max();
  if (phase_ == Phase::kConnecting) due = moved_at_ + options_.queue_timeout;
  if (phase_ == Phase::kActive) due = moved_at_ + request_.stall_timeout;
  if (request_.total_timeout > Duration::zero())
    due = std::min(due, started_ + request_.total_timeout);
  return due;
}

SteadyTime Transfer::next_look(SteadyTime now) const {
  const SteadyTime due = deadline();
  return phase_ == Phase::kConnecting ? std::min(due, now + request_.stall_timeout) : due;
}

Error Transfer::timeout_error() const {
  const auto seconds = [](Duration duration) {
    return std::chrono::duration<double>(duration).count();
  };
  if (request_.total_timeout > Duration::zero() &&
      std::chrono::steady_clock::now() >= started_ + request_.total_timeout)
    return Error(Code::kUnavailable, fmt::format("{}: not finished after {:.3g} s", shown(),
                                                 seconds(request_.total_timeout)));
  if (phase_ == Phase::kConnecting)
    return Error(Code::kUnavailable, fmt::format("{}: no connection became free in {:.3g} s",
                                                 shown(), seconds(options_.queue_timeout)));
  return Error(Code::kUnavailable,
               fmt::format("{}: no byte for {:.3g} s", shown(), seconds(request_.stall_timeout)));
}

}  // namespace runnel::net
