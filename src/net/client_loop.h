// The client's thread: curl's multi handle driven by epoll, and the deadlines that curl does not
// keep.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/fd.h"
#include "net/client.h"
#include "net/transfer.h"

namespace runnel::net {

class ClientLoop {
 public:
  explicit ClientLoop(Client::Options options);
  // stop() was called.
  ~ClientLoop();

  // Any thread:
  uint64_t start(ClientRequest request, std::shared_ptr<ResponseSink> sink, Client::Done done);
  void cancel(uint64_t id);
  void resume(uint64_t id);
  bool on_this_thread() const { return std::this_thread::get_id() == thread_id_; }
  // False once it is stopped, which ends it.
  bool rest(Duration time);

  // Ends every transfer with kCancelled and joins the thread. One caller at a time.
  void stop();

 private:
  using Command = std::function<void()>;

  bool post(Command command);
  void run();
  void wait_and_act();
  int wait_milliseconds() const;
  void run_commands();
  void collect_ended();
  void check_deadlines();
  void end_all();

  void launch(uint64_t id);
  void finish(uint64_t id, Result<ResponseHead> result);

  int watch(curl_socket_t socket, int what);

  const Client::Options options_;
  CURLM* const multi_;
  UniqueFd epoll_;
  UniqueFd wake_;

  // The thread's own:
  std::unordered_map<uint64_t, std::unique_ptr<Transfer>> transfers_;
  std::unordered_map<CURL*, uint64_t> by_handle_;
  std::unordered_set<curl_socket_t> watched_;
  SteadyTime curl_due_ = SteadyTime::max();
  SteadyTime next_deadline_ = SteadyTime::max();

  std::mutex mutex_;
  std::vector<Command> commands_;
  bool closed_ = false;  // no commands any more
  std::condition_variable closing_;
  std::atomic<uint64_t> last_id_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
  std::thread::id thread_id_;  // of its own: stop() changes what thread_ says
};

}  // namespace runnel::net
