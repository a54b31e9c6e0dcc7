// The passwords that `runnel login` gave this node: ROOT/logins.json, in the form of docker's
// config.json, readable by root only.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "remote/credentials.h"

namespace runnel::node {

// Any thread may call any method; those that write block on the disk.
class Logins {
 public:
  explicit Logins(const std::string& root) : path_(root + "/logins.json") {}

  const std::string& path() const { return path_; }

  // Goes over an earlier login to the same host. Durable when it returns.
  Result<void> add(const std::string& host, const remote::Credential& credential);
  // kNotFound when there was none.
  Result<void> remove(const std::string& host);

 private:
  const std::string path_;
  std::mutex mutex_;
};

}  // namespace runnel::node
