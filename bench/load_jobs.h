// What the load generator asks of a server: reads of one resource, or pushes of blobs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "load_connection.h"

namespace runnel::bench {

// One thread.
class Job {
 public:
  enum class Step { kGoesOn, kDone };

  virtual ~Job() = default;
  // The next request of this connection; none when nothing is left to do.
  virtual std::optional<Outgoing> next(size_t connection) = 0;
  // An answer came. kDone when what is measured has ended: a read, a whole push. An error when the
  // answer is not the one that such a request gets.
  virtual Result<Step> answered(size_t connection, const Answer& answer) = 0;
};

struct ReadOptions {
  std::string method = "GET";
  std::string target;
  std::vector<std::string> headers;  // "Accept: …"
  // Ranges of this size, of a resource of that size, anywhere in it; 0: whole.
  uint64_t range = 0;
  uint64_t of = 0;
};

// Reads for ever.
class ReadJob final : public Job {
 public:
  ReadJob(const ReadOptions& options, const std::string& host);
  std::optional<Outgoing> next(size_t connection) override;
  Result<Step> answered(size_t connection, const Answer& answer) override;

 private:
  const bool head_only_;
  const int status_;
  uint64_t size_;  // of every answer; 0 until the first has come
  std::vector<std::string> requests_;
  size_t turn_ = 0;
};

struct PushOptions {
  std::string repository;
  uint64_t bytes = 1024;
  uint64_t count = 1000;
  uint64_t seed = 0;
};

// Pushes `count` blobs as clients do: POST, then PUT with all the bytes. Small blobs are all
// different; larger ones are all the same, so that what is measured is not the generator's hashing.
class PushJob final : public Job {
 public:
  PushJob(const PushOptions& options, std::string host, size_t connections);
  std::optional<Outgoing> next(size_t connection) override;
  Result<Step> answered(size_t connection, const Answer& answer) override;

 private:
  struct State {
    std::string location;
    Buffer block;
    std::string digest;
  };
  Outgoing post() const;
  Outgoing put(State& state);
  void make_blob(State& state);

  const PushOptions options_;
  const std::string host_;
  std::vector<State> states_;
  uint64_t begun_ = 0;
};

}  // namespace runnel::bench
