// What each request of this process's clients took, told to whoever wants to know where time went.
//
// One observer a process, like the log: where a registry's answer was waited for does not depend on
// which client asked. What a request is about is said by a scope around its start and not by the
// request: it is nothing that a peer is told.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace runnel::net {

// One request on the wire; a redirect that the client follows is another one.
struct TransferReport {
  uint64_t number = 0;       // names it among those of the process
  std::string about;         // of the scope that it was started in
  const char* purpose = "";  // likewise
  std::string method;
  std::string url;     // without its query, which may be a secret
  std::string range;   // the request's header, empty for none
  SteadyTime asked{};  // given to the client, or sent on by the redirect before
  // Those that it has not come to yet, or never came to, are zero.
  SteadyTime sent{};        // the connection stood; before it: the queue, TCP, TLS
  SteadyTime first_byte{};  // of the answer's status line
  SteadyTime ended{};
  bool connected = false;  // on a connection that was made for it
  uint64_t bytes = 0;      // of the body
  int status = 0;          // 0: there was no answer
  std::string error;       // empty: it ended well, whatever the status
};

// Called on clients' threads: must not block.
class TransferObserver {
 public:
  virtual ~TransferObserver() = default;
  // Twice for each request: when it is begun (`ended` is zero then), and at its end.
  virtual void transfer(const TransferReport& report) = 0;
};

// Of every client of this process, from the next request on; null for none. It must outlive the
// clients, or be taken back when they have ended their transfers.
void observe_transfers(TransferObserver* observer);

// Says of the requests that this thread starts, as long as the object lives, what they are about
// ("registry.example/team/app") and what they are for (a literal). Not across a co_await.
class TransferScope {
 public:
  TransferScope(std::string about, const char* purpose);
  ~TransferScope();
  TransferScope(const TransferScope&) = delete;
  TransferScope& operator=(const TransferScope&) = delete;

  struct Words {
    std::string about;
    const char* purpose = "";
  };
  static const Words& current();

 private:
  Words before_;
};

// For the clients: null when nobody watches.
TransferObserver* transfer_observer();

}  // namespace runnel::net
