#include "node/materialize.h"

#include "fetch/read_through.h"
#include "net/url.h"
#include "node/containerd_image.h"
#include "oci/reference.h"
#include "snapshot/containerd_images.h"

namespace runnel::node {

namespace {

using snapshot::ContainerdImages;

// What containerd names the layers of a manifest, so that its garbage collector keeps them.
std::string reference_label(size_t layer) {
  return fmt::format("containerd.io/gc.ref.content.l.{}", layer);
}

// containerd names where content came from by host without port.
ContainerdImages::Labels labels_of(const oci::Reference& from, const oci::Digest& diff_id) {
  ContainerdImages::Labels labels{{"containerd.io/uncompressed", diff_id.to_string()}};
  if (const auto host = net::split_host_port(from.host)) {
    labels["containerd.io/distribution.source." + host->host] = from.repository;
  }
  return labels;
}

// One call of materialize().
class Materialization {
 public:
  Materialization(const ImageRequest& request, Registries& registries, const Clock& clock,
                  const std::function<void(const ImageProgress&)>& progress)
      : request_(request),
        registries_(registries),
        clock_(clock),
        tell_(progress),
        containerd_(request.address, request.name_space) {}

  Result<ImageProgress> run() {
    RUNNEL_TRY(reference_, oci::Reference::parse(request_.image));
    RUNNEL_TRY(const auto found, find_image(containerd_, request_.image));
    const auto& layers = found.manifest.layers;
    RUNNEL_TRY(auto lease, containerd_.lease());
    RUNNEL_TRY(const auto missing, find_missing(layers));
    for (const size_t i : missing) {
      if (auto brought = bring(layers[i], found.diff_ids[i]); !brought) {
        lease.leave();
        return std::unexpected(said(brought.error(), layers[i]));
      }
      ++progress_.layers_here;
      tell_(progress_);
    }
    RUNNEL_DO(refer(found, missing));
    return progress_;
  }

 private:
  Result<std::vector<size_t>> find_missing(const std::vector<oci::Descriptor>& layers) {
    std::vector<size_t> missing;
    progress_.layers = layers.size();
    for (size_t i = 0; i < layers.size(); ++i) {
      RUNNEL_TRY(const auto labels, containerd_.content_labels(layers[i].digest.to_string()));
      if (labels) {
        ++progress_.layers_here;
        continue;
      }
      missing.push_back(i);
      progress_.total += layers[i].size;
    }
    tell_(progress_);
    return missing;
  }

  Result<void> bring(const oci::Descriptor& layer, const oci::Digest& diff_id) {
    const auto source =
        registries_.source(reference_.host, reference_.repository, layer.digest, layer.size);
    const uint64_t before = progress_.done;
    const auto produce = [&](uint64_t offset,
                             const std::function<Result<void>(Bytes)>& piece) -> Result<void> {
      progress_.done = before + offset;
      const fetch::ReadThrough part{.priority = fetch::Priority::kPrefetch, .from = offset};
      return fetch::read_through(*source, clock_, part, [&](Bytes bytes) -> Result<void> {
        RUNNEL_DO(piece(bytes));
        progress_.done += bytes.size();
        tell_(progress_);
        return {};
      });
    };
    RUNNEL_DO(containerd_.write_content(layer.digest.to_string(), layer.size,
                                        labels_of(reference_, diff_id), produce));
    progress_.done = before + layer.size;
    return {};
  }

  // With what the person who asked can do.
  Error said(const Error& error, const oci::Descriptor& layer) const {
    auto where = error.in(fmt::format("layer {}", layer.digest));
    switch (error.code) {
      case Code::kDenied:
        return {error.code, fmt::format("{}; runnel login {}, or pull the image again",
                                        where.message, reference_.host)};
      case Code::kNotFound:
        return {error.code, fmt::format("{}; {} does not have it any more: push the image again",
                                        where.message, reference_.host)};
      default: return {error.code, where.message + "; what has come is kept for a day: try again"};
    }
  }

  // A pull has done so already, except where the configuration has containerd drop unpacked layers.
  Result<void> refer(const ContainerdImage& found, const std::vector<size_t>& missing) {
    if (missing.empty()) return {};
    ContainerdImages::Labels labels;
    for (const size_t i : missing) {
      labels[reference_label(i)] = found.manifest.layers[i].digest.to_string();
    }
    return containerd_.label_content(found.digest.to_string(), labels);
  }

  const ImageRequest& request_;
  Registries& registries_;
  const Clock& clock_;
  const std::function<void(const ImageProgress&)>& tell_;
  ContainerdImages containerd_;
  oci::Reference reference_;
  ImageProgress progress_;
};

}  // namespace

Result<ImageProgress> materialize(const ImageRequest& request, Registries& registries,
                                  const Clock& clock,
                                  const std::function<void(const ImageProgress&)>& progress) {
  return Materialization(request, registries, clock, progress).run();
}

}  // namespace runnel::node
