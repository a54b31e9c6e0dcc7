// Descriptors that one process hands to the next by exec(2), by name: holder to worker, holder to
// the holder of a newer version, and systemd's descriptor store to a holder.
//
// They travel in the environment variable RUNNEL_FDS, "fuse=5,requests=6", and in systemd's
// LISTEN_FDS and LISTEN_FDNAMES (sd_listen_fds(3)).
//
// Not for several threads at once.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::engine {

class Handover {
 public:
  // What this process was given; RUNNEL_FDS wins over systemd. Takes the variables out of the
  // environment and marks the descriptors close-on-exec. kInvalid when one is no descriptor.
  static Result<Handover> inherited();

  // Letters, digits and "-". Replaces what has the name.
  void add(const std::string& name, UniqueFd fd) { fds_[name] = std::move(fd); }
  bool has(const std::string& name) const { return fds_.contains(name); }
  // None when nothing has the name.
  UniqueFd take(const std::string& name);
  int get(const std::string& name) const;
  // Closes what has a name with the prefix and is not in `wanted`.
  void drop_others(std::string_view prefix, const std::set<std::string>& wanted);

  // For the exec that follows: sets RUNNEL_FDS and lets the descriptors pass.
  Result<void> prepare_exec() const;

  // Gives all of them to systemd's descriptor store (sd_notify(3), FDSTORE=1), which keeps them
  // when this process dies. Does nothing without $NOTIFY_SOCKET. Best effort.
  void store_with_systemd() const;
  // Takes them out of the store again: this is an end that was wanted.
  void remove_from_systemd() const;

 private:
  std::map<std::string, UniqueFd> fds_;
};

}  // namespace runnel::engine
