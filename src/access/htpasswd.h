// People and their passwords, as `htpasswd -B` writes them: NAME:BCRYPT, one a line.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::access {

// The lines of an htpasswd file. kInvalid, with the line, for what is not NAME:BCRYPT (schemes that
// can be guessed quickly are refused), or a name that stands there twice.
Result<std::map<std::string, std::string>> parse_htpasswd(std::string_view text,
                                                          std::string_view name);

// A file that may change at any time. Thread-safe.
class Htpasswd {
 public:
  // Reads the file; errors as in parse_htpasswd(), or that it cannot be read. The clock must
  // outlive this.
  static Result<std::unique_ptr<Htpasswd>> open(const std::string& path, const Clock& clock);

  // Whether the file has this name with this password. Takes the time of one bcrypt (some 100 ms),
  // also for a name that is not there, unless the same pair was right in the last five minutes:
  // call it from a thread that may wait. A file that changed is read first; one that is broken now
  // is logged, and the last good one counts.
  bool verify(const std::string& name, std::string_view password);
  // Whether the pair is known to be right without bcrypt. Does not wait.
  bool known(const std::string& name, std::string_view password);
  bool has(const std::string& name);

 private:
  // Which version of the file was read.
  struct Version {
    uint64_t inode = 0;
    int64_t modified_ns = 0;
    int64_t size = 0;
    bool operator==(const Version&) const = default;
  };
  struct Known {
    std::string digest;  // of hash and password
    SteadyTime until;
  };

  Htpasswd(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock) {}
  Result<void> load_locked();
  void reload_if_changed_locked();
  Result<Version> version() const;
  static std::string digest(std::string_view hash, std::string_view password);

  const std::string path_;
  const Clock& clock_;
  std::mutex mutex_;  // never held over bcrypt
  Version read_;
  SteadyTime looked_{};
  std::map<std::string, std::string> hashes_;  // by name
  std::map<std::string, Known> known_;         // by name
};

}  // namespace runnel::access
