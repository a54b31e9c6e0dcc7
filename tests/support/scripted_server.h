// A server that is a script: for peers that lie, stall, stutter or vanish.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "support/raw_socket.h"

namespace runnel::test {

class ScriptedServer {
 public:
  // What is done with a connection; it is closed when the script returns.
  using Script = std::function<void(RawSocket&)>;

  // Connections are played one after the other, each with the next script; the last script is used
  // for all that follow.
  explicit ScriptedServer(std::vector<Script> scripts);
  explicit ScriptedServer(Script script) : ScriptedServer(std::vector<Script>{std::move(script)}) {}
  // Waits for the script that runs.
  ~ScriptedServer();

  uint16_t port() const { return port_; }
  std::string url(std::string_view path) const;
  size_t connections() const { return connections_; }

 private:
  void run();

  const std::vector<Script> scripts_;
  UniqueFd listener_;
  uint16_t port_ = 0;
  std::atomic<size_t> connections_ = 0;
  std::thread thread_;
};

// Reads a request's head, then sends these bytes and closes.
ScriptedServer::Script answer(std::string bytes);

}  // namespace runnel::test
