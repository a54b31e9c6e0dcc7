// A client of containerd's image, content, lease and snapshot services: what it takes to complete
// an image there, or to have it unpacked anew.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

namespace runnel::snapshot {

// One of containerd's namespaces. Any thread may call any method but lease(); each waits `timeout`
// at most (write_content() as long as a slow line may take). kUnavailable when nobody answers in
// time; else containerd's own words.
class ContainerdImages {
 public:
  ContainerdImages(std::string socket, std::string name_space,
                   Duration timeout = std::chrono::seconds(30));
  ~ContainerdImages();

  struct Target {
    std::string media_type;
    std::string digest;
    uint64_t size = 0;
  };
  // What the image of that name is: a manifest or an index.
  Result<Target> image(const std::string& name) const;

  using Labels = std::map<std::string, std::string>;
  // The labels of what the content store has under that digest; nothing when it is not there.
  Result<std::optional<Labels>> content_labels(const std::string& digest) const;
  Result<Buffer> read_content(const std::string& digest, uint64_t limit) const;
  // Adds to its labels.
  Result<void> label_content(const std::string& digest, const Labels& labels) const;

  // Gets the bytes of `digest` from `offset` on, piece by piece (1 MiB or less), and gives them to
  // the function it is called with. An error of that function is to be handed on.
  using Produce =
      std::function<Result<void>(uint64_t offset, const std::function<Result<void>(Bytes)>& piece)>;
  // Makes the content of `digest` appear, with these labels. What an interrupted call left is gone
  // on with. containerd verifies the digest.
  Result<void> write_content(const std::string& digest, uint64_t size, const Labels& labels,
                             const Produce& produce) const;

  // As long as it lives, what is written is kept although nothing refers to it yet.
  class Lease {
   public:
    explicit Lease(std::function<void()> end) : end_(std::move(end)) {}
    ~Lease() {
      if (end_) end_();
    }
    Lease(Lease&& other) noexcept : end_(std::exchange(other.end_, nullptr)) {}
    Lease& operator=(Lease&&) = delete;

    // It goes on without this, for a day: what is half written can be gone on with.
    void leave() { end_ = nullptr; }

   private:
    std::function<void()> end_;
  };
  // It must not outlive this. Calls that are made meanwhile are under it.
  Result<Lease> lease();

  struct Snapshot {
    std::string name;
    std::string parent;
    bool committed = false;
  };
  Result<std::vector<Snapshot>> snapshots(const std::string& snapshotter) const;
  // kConflict while something stands on it.
  Result<void> remove_snapshot(const std::string& snapshotter, const std::string& name) const;
  // Asks for the committed snapshot `chain_id` as an unpacker does before it has the layer. False
  // when the snapshotter wants it unpacked.
  Result<bool> find_snapshot(const std::string& snapshotter, const std::string& chain_id,
                             const std::string& parent) const;

 private:
  struct Stubs;
  class Call;
  class Writing;

  void forget_write(const std::string& ref) const;

  const std::string socket_;
  const std::string namespace_;
  const Duration timeout_;
  std::string lease_;
  const std::unique_ptr<Stubs> stubs_;
};

}  // namespace runnel::snapshot
