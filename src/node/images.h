// The images that this node streams, and the verdict on each that it was asked about.
//
// A manifest that goes through the mirror (or a label of the CRI) starts a preparation: the image's
// configuration gives the chain IDs, the referrers give the artifact, its boot blob is fetched,
// verified, validated, made durable and mounted. Only then does offer() say yes to any of the
// image's chain IDs; whatever goes wrong before is a verdict with its reason, and containerd takes
// the ordinary way. The verdict is per image and kept, so no image is half one and half the other.
#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "artifact/profile.h"
#include "base/clock.h"
#include "base/worker_pool.h"
#include "convert/find_artifact.h"
#include "engine/engine.h"
#include "mirror/mirror.h"
#include "node/artifact_lookups.h"
#include "node/boot_download.h"
#include "node/by_chain.h"
#include "node/early_boots.h"
#include "node/idle_mounts.h"
#include "node/image_needs.h"
#include "node/image_store.h"
#include "node/layer_tree_file.h"
#include "node/letting_go.h"
#include "node/merge_turn.h"
#include "node/page_cache_meter.h"
#include "node/reason.h"
#include "node/registries.h"
#include "node/start_log.h"
#include "node/start_watch.h"
#include "node/tree_keeper.h"
#include "node/trust.h"
#include "node/until_done.h"
#include "oci/reference.h"
#include "snapshot/streaming.h"

namespace runnel::node {

// Any thread may call any method. manifest_seen() returns at once, offer() within offer_timeout,
// mount() within the time that a few requests may take.
class Images final : public snapshot::Streaming, public mirror::Observer {
 public:
  struct Options {
    Trust trust;
    Duration offer_timeout = std::chrono::seconds(60);
    // How long a verdict that may change (no artifact, registry unreachable) is kept.
    Duration retry_after = std::chrono::seconds(60);
    // How long an image stays mounted that streams for nobody, or that no container uses any more.
    Duration keep_unused = std::chrono::minutes(5);
    // Hears of the steps of preparations; null for nobody. It must outlive this.
    StartLog* log = nullptr;
    // Whether an ordinary snapshot of that chain ID is there.
    std::function<Result<bool>(const std::string& chain_id)> is_unpacked;
  };

  // `held` are the chain IDs of the streamed snapshots that exist. Loads what is stored, hands the
  // layers to the engine, and drops images that no snapshot needs. The references must outlive it.
  static Result<std::unique_ptr<Images>> open(Options options, const std::string& root,
                                              const std::set<std::string>& held,
                                              Registries& registries, engine::Engine& engine,
                                              const Clock& clock);
  ~Images() override;

  void manifest_named(const mirror::NamedManifest& manifest) override;
  void manifest_seen(const mirror::SeenManifest& manifest) override;

  // What an ordinarily unpacked image would be if it were pulled now: looks for an artifact again,
  // and mounts it. Waits for offer_timeout at most, or until `stop`. What streams then is kept
  // until let_go_unless_used(), which must follow; what streams only after that goes after
  // keep_unused.
  Verdict prepare_now(const mirror::SeenManifest& manifest, const std::stop_token& stop = {});
  // The caller of prepare_now() is done. The image goes unless a snapshot or another caller has it.
  void let_go_unless_used(const oci::Digest& manifest);

  Result<bool> offer(const std::string& chain_id, const std::string& parent_chain,
                     const snapshot::Labels& labels) override;
  // From now on nothing is prepared either. What is under way goes on, until the network is shut
  // down; the end of this waits for it.
  void begin_stop() override;
  Result<std::string> mount(const std::string& chain_id) override;
  void idle(const std::string& chain_id) override;
  void forget(const std::string& chain_id) override;
  // The mounts that no container uses go now. Returns whether one did.
  bool unmount_idle() { return idle_mounts_.unmount_idle(); }
  Result<snapshot::Usage> usage(const std::string& chain_id) override;

  struct LayerStatus {
    std::string digest;
    uint64_t bytes = 0;       // of the device image
    uint64_t present = 0;     // of those, on this node
    uint64_t fetched = 0;     // over the network, compressed; without what boot blobs brought
    uint64_t borrowed = 0;    // taken from other layers of this node, plain
    uint64_t page_cache = 0;  // of the cache's file, in the kernel's memory: add_page_cache()
    bool complete = false;
    // How mounts have it: through this process, or as a plain file that needs nobody.
    enum class Mounted : uint8_t { kNo, kServed, kPlain } mounted = Mounted::kNo;
    uint64_t failed_reads = 0;
    uint64_t corrupt_chunks = 0;  // arrivals whose bytes were wrong
    std::string last_error;       // empty when there was none
  };
  struct ImageStatus {
    std::string name;
    Verdict verdict;
    bool preparing = false;
    bool streamed = false;
    std::vector<std::string> chain_ids;  // empty until the configuration was read
    // The rest of it can be read until then: it hangs on a token that nobody can renew.
    std::optional<WallTime> readable_until;
    uint64_t boot_bytes = 0;  // fetched for head, tables and hot pack
    std::vector<LayerStatus> layers;
  };
  // Waits for no disk (Cache::mutex_, which it takes for each layer, is never held over one), and
  // holds no lock that a read or a pull needs for longer than a copy takes.
  std::vector<ImageStatus> status() const;
  // Measures what the kernel has in memory of those layers: half a second, and the walk over one
  // layer's pages.
  void add_page_cache(std::vector<ImageStatus>& statuses);
  // The layers below and with a chain ID, of any image that streams and has it; empty for others.
  // `mounted` is what the engine says of all layers.
  std::vector<LayerStatus> layers_of(const std::string& chain_id,
                                     const engine::Engine::ServedLayers& mounted) const;

  // What was read first of the image since it was mounted, within 30 s of the first read. kNotFound
  // when no image of that reference streams. Layers that another image had brought to read before
  // are in it as far as they were read anew.
  Result<artifact::Profile> profile(const oci::Reference& reference) const;
  // The same, to be told as what a start reads. kInvalid when it has more than a boot blob may
  // bring, a quarter of the image's bytes: then somebody reads the image, a scanner or a copy of
  // it.
  Result<artifact::Profile> start_profile(const oci::Reference& reference) const;
  // The images that began to stream since this process runs, and whose registry makes boot blobs
  // out of profiles.
  std::vector<StartWatch::Start> starts() const;
  // What is known of the latest start of an image: HOST/REPOSITORY@DIGEST, or a reference with a
  // tag, which means the latest of that repository. `authority` says where a host is reached
  // ("127.0.0.1:5000"). Waits for the disk, and reads the whole tree of the image. kNotFound when
  // this node did not see it pulled.
  Result<timeline::Events> start_events(
      const oci::Reference& reference,
      const std::function<std::string(const std::string& host)>& authority) const;
  // Where such an image is from; kNotFound when it streams no more.
  Result<oci::Reference> reference_of(const oci::Digest& image) const;

 private:
  // One image that was asked about. Guarded by mutex_, but for `streamed`, which is immutable.
  struct Image {
    std::string host;
    std::string repository;
    oci::Digest subject;
    bool preparing = true;
    bool leaving = false;  // let_go() takes it away; nobody begins anew at the same paths before
    bool wanted_again = false;  // was seen meanwhile
    SteadyTime began{};         // the latest preparation
    Verdict verdict;
    SteadyTime decided{};                // and so mounted, when it streams
    oci::Manifest manifest;              // empty of one that an earlier worker brought
    std::vector<std::string> chain_ids;  // empty until the configuration was read
    std::shared_ptr<const StreamedImage> streamed;
    std::shared_ptr<BootDownload> boot_download;  // of `streamed`, when this process made it
    bool only_by_token = false;                   // when it was prepared

    std::string name() const { return place() + "@" + subject.to_string(); }
    std::string place() const { return host + "/" + repository; }
    WantedImage wanted() const {
      return {.host = host, .repository = repository, .manifest = subject};
    }
  };
  // An image and how many of its lowest layers a chain ID means.
  struct Place {
    std::shared_ptr<const StreamedImage> image;
    size_t layers = 0;
  };
  // While somebody mounts what he found: the image stays until the mount tells that it is used.
  class Mounting {
   public:
    // Under mutex_.
    Mounting(Images& images, std::string name);
    // Takes mutex_.
    ~Mounting();
    Mounting(const Mounting&) = delete;
    Mounting& operator=(const Mounting&) = delete;

   private:
    Images& images_;
    const std::string name_;
  };

  // An image that streamed until just now.
  struct Leaving {
    std::shared_ptr<Image> image;
    std::shared_ptr<const StreamedImage> streamed;
    std::shared_ptr<BootDownload> boot_download;
  };

  Images(Options options, ImageStore store, Registries& registries, engine::Engine& engine,
         const Clock& clock);

  Result<void> restore(const std::set<std::string>& held);
  std::vector<StreamedImage> attach_held(std::vector<StreamedImage> stored);
  bool attach_rest();
  void streams_again(StreamedImage stored);
  void unmount_left(const std::set<std::string>& damaged);
  enum class Which : uint8_t { kAny, kStreamed };
  // Of the images that a reference means (without a digest it means the repository's: a tag is not
  // kept) the one of which the verdict is newest, or that is being prepared. Null without any.
  std::shared_ptr<const Image> latest_locked(const oci::Reference& reference, Which which) const;
  // kAlways although all of it is unpacked.
  enum class Prepare : uint8_t { kWhenOfUse, kAlways };
  void begin_locked(const std::shared_ptr<Image>& image, Prepare when);
  void prepare(const std::shared_ptr<Image>& image, Prepare when);
  bool is_stopping() const;
  Verdict wait_for_verdict(const oci::Digest& manifest, const std::stop_token& stop,
                           std::unique_lock<std::mutex>& lock);
  bool all_unpacked(const Image& image) const;
  void check_access(const StreamedImage& image);
  void hurry(const StreamedImage& image);
  static ImageStatus status_of(const Image& image);
  void add_layers(const StreamedImage& image, bool only_by_token, bool disk_full,
                  const engine::Engine::ServedLayers& mounted, ImageStatus& status) const;
  std::vector<LayerStatus> layers_of(const StreamedImage& image, size_t count,
                                     const engine::Engine::ServedLayers& mounted) const;
  void leave_alone(const std::string& reference, const std::string& host);
  Result<void> read_config(const std::shared_ptr<Image>& image,
                           const remote::Repository& repository,
                           std::vector<oci::Digest>& diff_ids);
  void put_locked(const std::shared_ptr<Image>& image);
  void erase_locked(const oci::Digest& manifest);

  // images_chains.cc
  bool is_pulled_though_unpacked_locked(const Image& image) const;
  void prepare_after_all_locked(const std::string& chain_id, std::set<oci::Digest>& begun);
  bool knows_locked(const std::string& chain_id) const;
  std::string look_up_label_locked(const std::string& chain_id, const snapshot::Labels& labels);
  void look_up(const std::string& reference);
  bool has_failed_locked(const std::string& reference) const;
  std::optional<Place> find_locked(const std::string& chain_id) const;
  Result<Place> find(const std::string& chain_id) const;
  bool may_come_locked(const std::string& chain_id, const std::string& reference) const;
  TreeSources tree_sources(const StreamedImage& image, size_t layer,
                           fetch::Priority priority) const;
  Result<void> keep_trees(const StreamedImage& image) const;
  Result<std::string> prefix_metadata(const Place& place);

  // images_stream.cc
  // An image's artifacts while its registry is asked for them.
  using Artifacts = std::future<ArtifactLookups::Found>;
  using Layers = std::vector<std::shared_ptr<cache::Layer>>;  // by slot, from 1
  // An image that is mounted, and its hot pack, which may still be on its way.
  struct Mounted {
    std::shared_ptr<const StreamedImage> image;
    std::shared_ptr<BootDownload> boot_download;
  };
  // While an image is about to bring the layers of `artifact`, which outlives this.
  class Coming {
   public:
    Coming(Images& images, const artifact::Artifact& artifact);
    ~Coming();
    Coming(const Coming&) = delete;
    Coming& operator=(const Coming&) = delete;

    // Whether another image had brought one of them to this node, or was about to.
    bool known() const { return known_; }

   private:
    Images& images_;
    const artifact::Artifact& artifact_;
    bool known_ = false;
  };
  Result<Mounted> stream(Image& image, const std::vector<oci::Digest>& diff_ids,
                         Artifacts artifacts, Reason& if_denied);
  // A boot blob whose download may begin: head_size bytes of it come before the tables.
  struct BootBlob {
    oci::Descriptor descriptor;
    uint64_t head_size = 0;
  };
  static BootBlob boot_blob(const oci::Digest& digest, uint64_t size, uint64_t head_size);
  std::shared_ptr<BootDownload> begin_boot(const WantedImage& image, const BootBlob& blob,
                                           bool known,
                                           std::optional<Duration> patience = std::nullopt);
  std::shared_ptr<BootDownload> begin_early(const WantedImage& image,
                                            const artifact::BootHint& hint, bool known);
  void begin_boot_early(const WantedImage& image, const artifact::BootHint& hint);
  Result<Mounted> stream_with(const Image& image, const convert::FoundArtifact& found,
                              const std::vector<oci::Digest>& diff_ids);
  Result<void> check_agrees(const artifact::Artifact& artifact) const;
  bool is_promised(const StreamedImage& image) const;
  Result<void> mount_written(const std::shared_ptr<const StreamedImage>& image,
                             BootDownload& download);
  Result<Layers> attach(const StreamedImage& image);
  // What of an image could not be opened: the first error, and all of these layers.
  struct Lacking {
    Error error;
    std::set<oci::Digest> layers;
  };
  std::optional<Lacking> attach_each(const StreamedImage& image,
                                     const std::set<oci::Digest>& layers);
  Result<std::shared_ptr<cache::Layer>> attach_layer(const StreamedImage& image, size_t index);
  cache::Original original_of(const StreamedImage& image, size_t layer) const;

  // images_leaving.cc
  bool is_needed_locked(const Image& image) const;
  bool is_unused_locked(const Image& image) const;
  void forget_old_verdicts_locked();
  std::vector<oci::Digest> unused() const;
  void let_go(const std::vector<oci::Digest>& manifests);
  void leave(const Leaving& leaving);
  void give_up(std::shared_ptr<BootDownload> download);
  void give_up_locked(std::shared_ptr<BootDownload> download);
  void drop(const StreamedImage& image);
  void release_layers(const StreamedImage& image);
  void prepare_again_locked(const Image& gone);

  const Options options_;
  const ImageStore store_;
  Registries& registries_;
  engine::Engine& engine_;
  const Clock& clock_;

  PageCacheMeter page_cache_{clock_};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<oci::Digest, std::shared_ptr<Image>> images_;  // by manifest; see put_locked()
  ByChain<Image> by_chain_;                               // the same
  std::set<std::string> held_;                            // chain IDs with a snapshot
  ImageNeeds needs_{held_};                               // of those of images_ that stream
  std::multiset<std::string> mounting_;                   // names of mounts, by Mounting
  std::multiset<oci::Digest> waited_for_;                 // manifests, by prepare_now()
  std::multiset<oci::Digest> coming_;                     // layer blobs, by Coming
  // Cancelled ones that a registry keeps waiting: nobody else shall wait for that.
  std::vector<std::shared_ptr<BootDownload>> departed_;
  bool stopping_ = false;
  std::set<std::string> looking_up_;                   // references
  std::map<std::string, SteadyTime> failed_look_ups_;  // references, and when
  std::map<std::string, Verdict> left_alone_;          // references, never asked about
  std::map<oci::Digest, Lacking> lacking_;  // manifests of which this worker could not open all

  MergeTurn merge_turn_{clock_};
  TreeKeeper trees_{[this](const StreamedImage& image) { return keep_trees(image); }};
  ArtifactLookups lookups_;
  EarlyBoots early_boots_;
  LettingGo<oci::Digest> letting_go_;
  IdleMounts idle_mounts_;
  UntilDone opening_rest_{[this] { return attach_rest(); }};
  WorkerPool pool_{4};  // last: its tasks use all of the above
};

}  // namespace runnel::node
