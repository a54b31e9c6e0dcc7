// A unix socket that appears at its path already with its final mode.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/error.h"

namespace runnel::snapshot {

// Lets `bind` make a socket at another path, in a directory that only this user can enter, gives it
// mode 0600 and renames it to its path: between the two nobody else can connect, and a stale socket
// is replaced in one step. Not for two threads at once.
class PrivateSocket {
 public:
  // kConflict when somebody listens there, or when what is there is no socket; kInvalid when the
  // path is longer than a socket's address may be.
  Result<void> publish(const std::string& path,
                       const std::function<Result<void>(const std::string&)>& bind);

  // Removes what publish() made, if it is still there.
  void remove();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace runnel::snapshot
