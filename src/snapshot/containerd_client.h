// A client of containerd's own services, for what an install and an uninstall ask of it.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::snapshot {

// Any thread may call any method; each waits `timeout` at most, and for containerd to come up when
// it does not answer yet. kUnavailable when it does not in time; else containerd's own words.
class ContainerdClient {
 public:
  explicit ContainerdClient(const std::string& socket, Duration timeout = std::chrono::seconds(30));
  ~ContainerdClient();

  // "1.6.20~ds1", "v2.3.7".
  Result<std::string> version() const;

  // Of a snapshotter that shows owners as the mapping in a snapshot's labels says.
  static constexpr const char* kRemapIds = "remap-ids";
  struct Plugin {
    std::string type;
    std::string id;
    std::string error;  // why it did not start; "" when it runs
    std::vector<std::string> capabilities;

    bool can(const std::string& capability) const {
      return std::ranges::find(capabilities, capability) != capabilities.end();
    }
  };
  Result<std::vector<Plugin>> plugins() const;

  Result<std::vector<std::string>> namespaces() const;

  struct Container {
    std::string id;
    std::string image;
    std::string snapshotter;
    std::string snapshot_key;
  };
  Result<std::vector<Container>> containers(const std::string& name_space) const;

  // The container's record no longer names a snapshot: it can be removed without its snapshotter.
  Result<void> forget_snapshot(const std::string& name_space, const std::string& container) const;

  // Takes a label away from everything in the content store that has it.
  Result<void> remove_content_label(const std::string& name_space, const std::string& label) const;

  // Waits until everything that nothing refers to is removed.
  Result<void> collect_garbage(const std::string& name_space) const;

 private:
  struct Stubs;
  const std::string socket_;
  const Duration timeout_;
  const std::unique_ptr<Stubs> stubs_;
};

}  // namespace runnel::snapshot
