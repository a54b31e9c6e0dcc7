// What the node keeps of each streamed image, so that a promise outlives a restart.
//
// One directory an image below ROOT/images, named by the hex of its manifest's digest:
//
//   image.json      which image it is (image_record.h); appears when all of the others are
//                   durable, and a directory without it is nothing
//   artifact.json   the artifact's manifest, as the registry had it
//   boot            the boot blob's head and tables
//   metadata.erofs  the merged EROFS image, as it is mounted
//   N.erofs         the merge of the image's lowest N layers, made when somebody asked for it
//
// Boot and metadata are verified again when an image is loaded.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/open_boot.h"
#include "base/error.h"
#include "node/image_record.h"
#include "oci/digest.h"

namespace runnel::node {

// An image that streams. Immutable once made.
struct StreamedImage : ImageRecord {
  artifact::Artifact artifact;
  artifact::Boot boot;
  std::string directory;

  std::string record_path() const { return directory + "/image.json"; }
  std::string metadata_path() const { return directory + "/metadata.erofs"; }
  std::string place() const { return host + "/" + repository; }
  std::string name() const { return place() + "@" + subject.to_string(); }
};

// What a mount of its lowest `layers` layers is called, be they all.
std::string mount_name(const StreamedImage& image, size_t layers);

// The blobs of the lowest `layers` layers that have content, in the order of their slots.
std::vector<oci::Digest> device_digests(const artifact::Boot& boot, size_t layers);

// Not thread-safe as to one image; different images may be handled at once.
class ImageStore {
 public:
  // Creates ROOT/images and removes what was written and not kept.
  static Result<ImageStore> open(const std::string& root);

  // Writes `image`, unpacks and checks its metadata, which may be mounted then, and sets its
  // directory. Waits for no disk. `artifact_manifest`, `head` and `tables` are the bytes that
  // `image` was parsed from.
  Result<void> write(StreamedImage& image, Bytes artifact_manifest, Bytes head, Bytes tables) const;
  // Makes what was written durable: the next open() finds it. What was not kept it removes.
  Result<void> keep(const StreamedImage& image) const;

  struct Loaded {
    std::vector<StreamedImage> images;
    std::vector<std::string> damaged;        // sentences; their directories are left as they are
    std::set<std::string> damaged_subjects;  // of those, in hex
  };
  // On several threads: all that is mounted waits for it.
  Result<Loaded> load_all() const;

  Result<void> remove(const StreamedImage& image) const;

 private:
  explicit ImageStore(std::string directory) : directory_(std::move(directory)) {}
  Result<StreamedImage> load(const std::string& directory) const;
  static Result<void> write_files(const StreamedImage& image, Bytes artifact_manifest, Bytes head,
                                  Bytes tables);

  std::string directory_;
};

}  // namespace runnel::node
