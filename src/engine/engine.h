// engine/ lets containers read layers that are not here yet: the kernel's EROFS shows the merged
// tree of an image, its devices are the layers, and a device that is not complete is a file on our
// own FUSE mount, whose reads the cache answers (device_fs). Where the kernel has no EROFS, that
// mount shows the whole tree (tree_fs). fuse_connection and fuse_server speak the protocol; holder
// is the tiny parent that keeps the FUSE connection while workers come and go; mounter makes the
// mounts; probe finds out what the kernel can do; this file puts them together for the node.
//
// It does not hold: what an image is, who may use it (node/), how bytes come (fetch/), where they
// are kept (cache/). docs/failure.md says what happens when a part of it dies.
//
// Any thread may call Engine. Never read a file below ROOT/mounts or ROOT/devices from the worker:
// it would wait for itself.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "cache/cache.h"
#include "engine/device_fs.h"
#include "engine/mount_record.h"
#include "engine/mounter.h"
#include "engine/probe.h"
#include "engine/way.h"
#include "fetch/range_source.h"
#include "oci/digest.h"

namespace runnel::engine {

// What the caller knows of a mount that may be there already.
enum class Existing : uint8_t { kUsed, kIdle };

class Engine {
 public:
  struct Options {
    std::string root;  // as the kernel names it: absolute, without links
    Way way = Way::kAuto;
    Recovery recovery = Recovery::kAuto;
    size_t threads = 2;                                // that answer the kernel
    Duration read_timeout = std::chrono::seconds(60);  // then a read ends with EIO
    Duration mount_timeout = std::chrono::seconds(30);
    bool background_fill = true;
    bool read_ahead = true;  // fetch what lies around a first read, where the registry is far
    bool direct_io = false;  // read what is mounted from plain files alone past their page cache
    cache::Limits cache_limits;
    cache::ScrubOptions scrub;
  };

  // Opens the cache, serves the devices on `channel` (inherited_channel(), see holder.h), trees
  // that an earlier worker mounted included, and tries the ways to mount. kConflict when another
  // process uses the root, kUnsupported when no way works.
  static Result<std::unique_ptr<Engine>> start(Options options, FuseChannel channel,
                                               const Clock& clock);
  // Ends every read that waits with an error. Mounts stay. All sources must be shut down before.
  ~Engine();

  // From now on the layer can be read, from `original` too. The same object for the same digest,
  // whose source is then the first one given. What had waited for it is read at once, so an
  // original that came later would be too late for what the source refuses.
  Result<std::shared_ptr<cache::Layer>> add_layer(const oci::Digest& digest,
                                                  artifact::ChunkTable table,
                                                  std::shared_ptr<fetch::RangeSource> source,
                                                  const std::optional<cache::Original>& original);
  // Every layer of what an earlier worker mounted is added that can be. Until then whoever reads
  // one that was not waits for it, for his whole time at most; from now on he has EIO at once.
  void all_layers_added() { devices_->expect_no_more(); }
  // Null when it was not added.
  std::shared_ptr<cache::Layer> layer(const oci::Digest& digest) const;

  // Mounts an image read-only and returns the directory. `layers`, all of them added, are its
  // devices in slot order. `name` stands for this content for ever (at most 200 letters,
  // digits, "-" and "_"); when it is mounted already, be it by an earlier worker, that mount is
  // returned; one that is `existing` idle is made anew if its layers became complete since, so that
  // readers need nobody. kUnavailable when a layer is gone since it was added (clear()): adding all
  // of them again helps.
  Result<std::string> mount(const std::string& name, const std::string& metadata_path,
                            const std::vector<oci::Digest>& layers,
                            Existing existing = Existing::kUsed);
  // Also when the mount is an earlier holder's, or nobody can say what it is made of: it has to be
  // unmounted all the same.
  bool has_mounted(const std::string& name) const;
  // Where this worker has mounted the image, of these layers, and it is there and alive: they are
  // pinned, and nothing is left to do. Waits for no other mount.
  std::optional<std::string> mounted_at(const std::string& name,
                                        const std::vector<oci::Digest>& layers) const;
  // kConflict while something uses it; no error when it is not mounted.
  Result<void> unmount(const std::string& name, WhenBusy when_busy = WhenBusy::kTryAgain);

  // The layers of everything that is mounted, each once. kConflict when one of them was not added.
  Result<std::vector<std::shared_ptr<cache::Layer>>> mounted_layers() const;

  // Somebody brought a credential: what could not be read for want of one is tried again at once.
  void credentials_changed() { cache_->credentials_changed(); }

  // No image needs these layers any more: they go at once when the disk is short.
  void release(const std::vector<oci::Digest>& layers);
  // Called when room is wanted and nothing may go that no mount needs: whether something was
  // unmounted. One at a time; returns when no call of the one before is under way.
  void on_short_of_room(cache::Cache::Unpinned unmounted) {
    cache_->on_short_of_room(std::move(unmounted));
  }
  // Deletes the cached layers that no mount needs and forgets them; returns the freed bytes.
  Result<uint64_t> clear();

  struct Status {
    Way wanted = Way::kAuto;  // as configured
    Way way = Way::kAuto;
    std::vector<ProbeResult> probes;
    Recovery recovery = Recovery::kAuto;  // how requests outlive a worker
    std::string recovery_reason;
    bool direct_io = false;  // of mounts whose layers are all plain files, from now on
    std::string direct_io_reason;
    bool parallel_loops = false;  // of loop devices over layers that are served, from now on
    std::string parallel_loops_reason;
    bool direct_devices = false;  // likewise of mounts whose layers are all served
    std::string direct_devices_reason;
    ReadCounters reads;
    cache::Cache::Totals cache;
    std::vector<std::string> mounts;  // names
  };
  Status status() const;
  cache::Budget::Status cache_status() const { return cache_->status(); }
  cache::Cache::ScrubStatus scrub_status() const { return cache_->scrub_status(); }

  // The layers that are devices of mounts, by digest: whether one of them reads the layer through
  // this process, and not from its plain file. Does not wait for a disk, but goes through every
  // layer of every mount under a lock that mounts need: for many layers it is to be asked once.
  using ServedLayers = std::map<std::string, bool>;
  ServedLayers served_layers() const;

 private:
  struct MountRecords;

  // Of what a way of mounting can do besides; none where it is not asked for, or not for that way.
  struct Trials {
    std::optional<ProbeResult> direct_io;
    std::optional<ProbeResult> parallel_loops;
    std::optional<ProbeResult> direct_devices;
  };
  static Trials try_options(const Options& options, Way way);

  Engine(Options options, const Clock& clock, std::string fuse_device,
         std::unique_ptr<cache::Cache> cache, std::unique_ptr<DeviceFs> devices,
         std::vector<ProbeResult> probes, Way way, Trials trials);

  void serve_trees(const MountRecords& records);
  Result<void> serve_tree(const MountRecord& record);
  Result<uint32_t> next_tree_number();
  std::string target_of(const std::string& name) const;
  std::string served_path(const oci::Digest& layer) const;
  std::string record_path(const std::string& name) const;
  Result<std::string> mount_pinned(const std::string& name, const std::string& metadata_path,
                                   const std::vector<oci::Digest>& layers, Existing existing);
  bool uses_direct_io() const { return trials_.direct_io && trials_.direct_io->ok; }
  std::string direct_io_reason() const;
  bool uses_parallel_loops() const { return trials_.parallel_loops && trials_.parallel_loops->ok; }
  void set_senders();
  bool uses_direct_devices() const { return trials_.direct_devices && trials_.direct_devices->ok; }
  std::string direct_devices_reason() const;
  bool reads_directly(size_t devices, size_t served) const;
  Result<bool> reuse(const std::string& name, const MountRecord& wanted, Existing existing);
  bool is_served(const MountRecord& record) const;
  void pin_mounts(const MountRecords& records);
  void pin_only(const std::string& name, const std::vector<oci::Digest>& layers);
  void remember_mounts(const MountRecords& records);
  struct ServedLayer {
    std::string mount;  // its name
    oci::Digest layer;
    std::vector<std::string> loops;  // that read it for this mount

    auto operator<=>(const ServedLayer&) const = default;
  };
  bool has_loops() const;
  void tend_loops(const std::stop_token& stop);
  std::vector<ServedLayer> complete_behind_loops() const;
  Result<void> move_to_plain_file(const ServedLayer& served);
  void record_as_plain(const ServedLayer& served);
  void remember(const std::string& name, const MountRecord& record);
  void keep_record(const std::string& name, const MountRecord& record) const;
  Result<MountRecords> records() const;

  const Options options_;
  const Clock& clock_;
  const std::vector<ProbeResult> probes_;
  const Way way_;
  const Trials trials_;
  const std::string fuse_device_;  // names the FUSE connection, as long as it lives
  const std::unique_ptr<cache::Cache> cache_;
  const std::unique_ptr<DeviceFs> devices_;

  std::mutex mount_mutex_;  // one mount or unmount at a time
  mutable std::mutex mounted_mutex_;
  std::map<std::string, MountRecord> mounted_;  // by name, for served_layers()
  // Of earlier workers, and not to be used: an earlier holder's, or of nobody knows what.
  std::set<std::string> unusable_;
  std::jthread loops_tender_;  // last: it uses all of the above
};

}  // namespace runnel::engine
