#include "net/client_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

namespace runnel::net {

namespace {

CURLM* new_multi() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  RUNNEL_CHECK(initialised == CURLE_OK);
  CURLM* multi = curl_multi_init();
  RUNNEL_CHECK(multi != nullptr);
  return multi;
}

template <class T>
void set(CURLM* multi, CURLMoption option, T value) {
  RUNNEL_CHECK(curl_multi_setopt(multi, option, value) == CURLM_OK);
}

Error cancelled() {
  return Error(Code::kCancelled, "the transfer was cancelled");
}

}  // namespace

ClientLoop::ClientLoop(Client::Options options)
    : options_(std::move(options)),
      multi_(new_multi()),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  RUNNEL_CHECK(epoll_ && wake_);
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake_.get()}};
  RUNNEL_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);

  set(multi_, CURLMOPT_SOCKETDATA, this);
  set(
      multi_, CURLMOPT_SOCKETFUNCTION,
      +[](CURL*, curl_socket_t socket, int what, void* self, void*) {
        return static_cast<ClientLoop*>(self)->watch(socket, what);
      });
  set(multi_, CURLMOPT_TIMERDATA, this);
  set(
      multi_, CURLMOPT_TIMERFUNCTION, +[](CURLM*, long milliseconds, void* self) {
        static_cast<ClientLoop*>(self)->curl_due_ =
            milliseconds < 0
                ? SteadyTime::max()
                : std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
        return 0;
      });
  const long per_host = static_cast<long>(options_.max_connections_per_host);
  set(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, per_host);
  // Idle connections that are kept, over all hosts.
  set(multi_, CURLMOPT_MAXCONNECTS, 4 * per_host);
  set(multi_, CURLMOPT_PIPELINING, long{CURLPIPE_NOTHING});

  // OpenSSL writes without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  thread_ = std::thread([this] { run(); });
  thread_id_ = thread_.get_id();
}

ClientLoop::~ClientLoop() {
  curl_multi_cleanup(multi_);
}

uint64_t ClientLoop::start(ClientRequest request, std::shared_ptr<ResponseSink> sink,
                           Client::Done done) {
  const uint64_t id = ++last_id_;
  // A transfer is made by its thread, but std::function wants to be copyable.
  auto made = std::make_shared<std::unique_ptr<Transfer>>(
      std::make_unique<Transfer>(std::move(request), std::move(sink), std::move(done), options_));
  const bool posted = post([this, id, made] {
    transfers_.emplace(id, std::move(*made));
    launch(id);
  });
  if (!posted) (*made)->report(std::unexpected(cancelled()));
  return id;
}

void ClientLoop::cancel(uint64_t id) {
  post([this, id] { finish(id, std::unexpected(cancelled())); });
}

void ClientLoop::resume(uint64_t id) {
  post([this, id] {
    const auto found = transfers_.find(id);
    if (found == transfers_.end()) return;
    if (auto resumed = found->second->resume(); !resumed)
      finish(id, std::unexpected(resumed.error()));
    else
      next_deadline_ = std::min(next_deadline_, found->second->deadline());
  });
}

// Whether it will run.
bool ClientLoop::post(Command command) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    commands_.push_back(std::move(command));
  }
  const uint64_t one = 1;
  // Full only when it is readable already.
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  return true;
}

bool ClientLoop::rest(Duration time) {
  std::unique_lock lock(mutex_);
  return !closing_.wait_for(lock, time, [this] { return closed_; });
}

void ClientLoop::stop() {
  RUNNEL_CHECK(!on_this_thread());
  if (!thread_.joinable()) return;
  stopping_ = true;
  post([] {});
  thread_.join();
}

void ClientLoop::run() {
  while (!stopping_) {
    wait_and_act();
    run_commands();
    collect_ended();
    check_deadlines();
  }
  end_all();
}

void ClientLoop::wait_and_act() {
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), wait_milliseconds());
  int running = 0;
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<size_t>(i)];
    if (event.data.fd == wake_.get()) {
      uint64_t ignored;
      [[maybe_unused]] const auto got = ::read(wake_.get(), &ignored, sizeof ignored);
      continue;
    }
    // Closed by an earlier event of this round.
    if (!watched_.contains(event.data.fd)) continue;
    const int what = ((event.events & (EPOLLIN | EPOLLHUP)) ? CURL_CSELECT_IN : 0) |
                     ((event.events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
                     ((event.events & EPOLLERR) ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(multi_, event.data.fd, what, &running);
  }
  if (std::chrono::steady_clock::now() >= curl_due_) {
    curl_due_ = SteadyTime::max();
    curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

int ClientLoop::wait_milliseconds() const {
  const auto due = std::min(curl_due_, next_deadline_);
  if (due == SteadyTime::max()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(due - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

void ClientLoop::run_commands() {
  std::vector<Command> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (auto& command : commands) command();
}

void ClientLoop::collect_ended() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;
    const uint64_t id = by_handle_.at(easy);
    if (auto result = transfers_.at(id)->ended(code)) {
      finish(id, *std::move(result));
    } else {
      transfers_.at(id)->tell_ended({});
      curl_multi_remove_handle(multi_, easy);
      by_handle_.erase(easy);
      launch(id);
    }
  }
}

// Looks at all transfers, but only when the earliest deadline of the last look has come: a deadline
// moves with every byte, and most looks find that it did.
void ClientLoop::check_deadlines() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_deadline_) return;
  std::vector<uint64_t> late;
  next_deadline_ = SteadyTime::max();
  for (const auto& [id, transfer] : transfers_) {
    const auto deadline = transfer->deadline();
    if (deadline <= now)
      late.push_back(id);
    else
      next_deadline_ = std::min(next_deadline_, transfer->next_look(now));
  }
  for (const uint64_t id : late) {
    // Another's callback may have ended it.
    const auto found = transfers_.find(id);
    if (found != transfers_.end()) finish(id, std::unexpected(found->second->timeout_error()));
  }
}

void ClientLoop::launch(uint64_t id) {
  auto& transfer = *transfers_.at(id);
  if (auto prepared = transfer.prepare(); !prepared)
    return finish(id, std::unexpected(prepared.error()));
  by_handle_.emplace(transfer.easy(), id);
  if (const auto code = curl_multi_add_handle(multi_, transfer.easy()); code != CURLM_OK)
    return finish(id, fail(Code::kExhausted, "{}", curl_multi_strerror(code)));
  transfer.tell_begun();
  next_deadline_ = std::min(next_deadline_, transfer.next_look(std::chrono::steady_clock::now()));
}

void ClientLoop::finish(uint64_t id, Result<ResponseHead> result) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  const auto transfer = std::move(found->second);
  transfers_.erase(found);
  transfer->tell_ended(result ? std::string() : result.error().message);
  if (by_handle_.erase(transfer->easy()) > 0) curl_multi_remove_handle(multi_, transfer->easy());
  transfer->report(std::move(result));
}

void ClientLoop::end_all() {
  for (;;) {
    run_commands();
    while (!transfers_.empty()) finish(transfers_.begin()->first, std::unexpected(cancelled()));
    // Done may have started another.
    const std::lock_guard lock(mutex_);
    closed_ = commands_.empty();
    if (!closed_) continue;
    closing_.notify_all();
    return;
  }
}

int ClientLoop::watch(curl_socket_t socket, int what) {
  if (what == CURL_POLL_REMOVE) {
    watched_.erase(socket);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr);
    return 0;
  }
  epoll_event event{.events = 0, .data = {.fd = socket}};
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  const bool known = !watched_.insert(socket).second;
  const int done = ::epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
  return done == 0 ? 0 : -1;
}

}  // namespace runnel::net
